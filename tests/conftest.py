"""What every test may ask for. A test that needs the cluster gets it or fails; nothing is skipped."""

import gc
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent.parent

# Tests that share objects on the cluster (stored examples, a release, the node's GPUs): one worker runs all of each.
SHARED = ("tests/api/", "tests/chart/", "tests/e2e/test_scheduling.py")

# The tests of the rooms that decide: they alone must reach every branch of them (make test-pure).
PURE = ("tests/domain/", "tests/gateway/policy/", "tests/guard/", "tests/plan/", "tests/records/policy/")

settings.register_profile("understudy", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("understudy")


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Every test by itself on the next free worker, but for those that share something.

    The marker xdist_group would say the same; with this release of pytest it is not seen.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((shared for shared in SHARED if nodeid.startswith(shared)), nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays to the end: the garbage collector need not look for garbage in it, now or later.

    With the interpreter's own thresholds it took three quarters of the time of collecting, and a seventh of the tests'.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the rooms that decide; begin with what takes long: begun last it ends alone, with the other core idle."""
    for item in items:
        if item.nodeid.startswith(PURE):
            item.add_marker("pure")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)  # there is none without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return SideBySide(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Path of the kubeconfig of the running kind cluster, brought up when it is not there."""
    subprocess.run([sys.executable, "-m", "local", "cluster"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"
    path = cache / "kubeconfig"
    assert path.exists(), f"the cluster came up without writing {path}"
    return str(path)

"""What every test may ask for. A test that needs the cluster gets it or fails; nothing is skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# Suites whose tests share objects on the cluster: one worker runs all of each.
SHARED = ("api", "chart")

settings.register_profile("understudy", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("understudy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        suite = item.path.relative_to(ROOT / "tests").parts[0]
        if suite in SHARED and item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.xdist_group(suite))


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Path of the kubeconfig of the running kind cluster, brought up when it is not there."""
    subprocess.run([sys.executable, "-m", "local", "cluster"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"
    path = cache / "kubeconfig"
    assert path.exists(), f"the cluster came up without writing {path}"
    return str(path)

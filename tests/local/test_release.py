"""What Helm is told, and the quickstart's key: its hash goes to the cluster and a file, the key to the caller alone."""

import os
from pathlib import Path

import pytest

from local import cache, cluster, release, tools
from local.cli import main
from local.steps import StepFailed

MADE = """{"key": "us-the-key", "secret": {"kind": "Secret", "stringData": {"hash": "abc"}}}"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that does what the test writes into it, and a kubectl that keeps what it is given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cache.put(
        tools.path("kubectl"), f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/applied\n', executable=True
    )
    return tmp_path / "docker"


def says(docker: Path, script: str) -> None:
    cache.put(docker, f"#!/bin/sh\n{script}\n", executable=True)


def test_the_key_comes_back_and_only_the_manifest_is_applied(docker: Path) -> None:
    # What a daemon has to say on standard error is no part of the answer.
    says(docker, f"echo 'WARNING: an image for another platform, us-not-this' >&2; echo '{MADE}'")
    assert release.create_key() == "us-the-key"
    assert docker.with_name("applied").read_text() == '{"kind": "Secret", "stringData": {"hash": "abc"}}'
    written = [path for path in cache.root().rglob("*") if path.is_file() and "us-the-key" in path.read_text()]
    assert written == []


@pytest.mark.parametrize("script", ["echo 'no such image' >&2; exit 125", "echo nothing like JSON"])
def test_a_command_that_makes_no_key_is_a_failed_step(docker: Path, script: str) -> None:
    says(docker, script)
    with pytest.raises(StepFailed, match="make an access key"):
        release.create_key()
    assert not docker.with_name("applied").exists()


@pytest.mark.parametrize(
    ("words", "chart"), [((), release.CHART), (("--chart", "some/where"), "some/where")], ids=["todays", "another"]
)
def test_the_chart_that_is_named_is_installed(
    docker: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], chart: object
) -> None:
    told = docker.with_name("told")
    cache.put(tools.path("helm"), f'#!/bin/sh\necho "$@" > {told}\n', executable=True)
    monkeypatch.setattr(cluster, "way", lambda: "packages")
    assert main(["install", "--set", "a=b", *words]) == 0
    said = told.read_text().split()
    assert said[:4] == ["upgrade", "--install", "understudy", str(chart)]
    assert said[-2:] == ["--set", "a=b"]

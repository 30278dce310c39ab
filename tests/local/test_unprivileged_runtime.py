"""The runtime in front of runc takes one capability out of a container's request and leaves the rest as it was."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local import capability
from local.cache import REPOSITORY

WRAPPER = REPOSITORY / "images" / "node" / "runc-unprivileged.sh"
SETS = ("bounding", "effective", "permitted")


def run(tmp_path: Path, *arguments: str) -> list[str]:
    """The arguments that runc gets."""
    fake = tmp_path / "runc"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\n')
    fake.chmod(0o755)
    subprocess.run([WRAPPER, *arguments], check=True, env={**os.environ, "UNDERSTUDY_RUNC": str(fake)})
    return (tmp_path / "called").read_text().splitlines()


def request(names: list[str]) -> dict[str, Any]:
    return {
        "process": {"capabilities": dict.fromkeys(SETS, names), "args": ["sh", "-c", 'echo "x"']},
        "limit": 2**60 + 1,
    }


@pytest.mark.parametrize(
    "names",
    [
        ["CAP_SYS_RESOURCE"],
        ["CAP_SYS_RESOURCE", "CAP_CHOWN"],
        ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
        ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"],
        ["CAP_CHOWN"],
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("option", ["--bundle {}", "--bundle={}", "-b {}"])
def test_the_capability_leaves_a_bundle(tmp_path: Path, names: list[str], indent: int | None, option: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(request(names), indent=indent, separators=None if indent else (",", ":")))
    arguments = ["--root", "/run/x", "create", *option.format(tmp_path).split(), "name"]
    assert arguments == run(tmp_path, *arguments)
    assert request([name for name in names if name != "CAP_SYS_RESOURCE"]) == json.loads(file.read_text())


@pytest.mark.parametrize("option", ["--process {}", "--process={}", "-p {}"])
def test_the_capability_leaves_the_process_of_an_exec(tmp_path: Path, option: str) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"capabilities": {"bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"]}}))
    run(tmp_path, "exec", *option.format(file).split(), "name")
    assert json.loads(file.read_text()) == {"capabilities": {"bounding": ["CAP_KILL"]}}


def test_a_command_without_a_bundle_is_passed_on(tmp_path: Path) -> None:
    assert run(tmp_path, "delete", "--force", "name") == ["delete", "--force", "name"]


def test_an_argument_that_only_mentions_the_capability_stays(tmp_path: Path) -> None:
    config = {"args": ["sh", "-c", 'drop "CAP_SYS_RESOURCE" now']}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run(tmp_path, "create", "--bundle", str(tmp_path), "name")
    assert config == json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize(
    ("mask", "withheld"), [("000001fffeffffff", True), ("000001ffffffffff", False), ("0000000001000000", False)]
)
def test_the_bounding_set_says_whether_the_capability_is_withheld(mask: str, withheld: bool) -> None:
    assert withheld == capability.withheld(f"Name:\tsh\nCapEff:\t0000000000000000\nCapBnd:\t{mask}\nCapAmb:\t0\n")


def test_a_status_without_a_bounding_set_withholds_nothing() -> None:
    assert not capability.withheld("Name:\tsh\n")

"""Completion: what fits at the cursor, in the words that kubectl and the shells understand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, rolling, served_by
from tests.engine.fake_api import status_error
from understudy.cli.plugin import completion
from understudy.cli.plugin.main import COMMANDS
from understudy.kube.resources import NAMESPACE


def proposed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    """The proposals without their meanings, and the directive."""
    assert completion.main(words) == 0
    *lines, directive = capsys.readouterr().out.splitlines()
    return [line.partition("\t")[0] for line in lines], directive


def test_commands_come_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert proposed(capsys, "") == (sorted(command.name for command in COMMANDS), ":4")
    assert proposed(capsys)[0] == proposed(capsys, "")[0]
    completion.main(["abo"])
    assert capsys.readouterr().out == "abort\tgo back to what served before, at once\n:4\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "--wa"], ["--watch"]),
        (["--kube"], ["--kubeconfig"]),
        (["status", "-o", ""], ["json", "yaml"]),
        (["-n", "tales", "his"], ["history"]),
        (["--namespace=tales", "his"], ["history"]),
        (["completion", ""], ["bash", "zsh"]),
        (["keep", "story", "sta"], ["stable"]),
        (["abort", "story", ""], []),
        (["fly", "status", "--wat"], ["--watch"]),
        (["status", "--unknown", "-o", "js"], ["json"]),
    ],
)
def test_flags_values_and_positions(capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]) -> None:
    assert proposed(capsys, *words) == (expected, ":4")


@pytest.mark.parametrize("words", [["plan", "-f", ""], ["--kubeconfig", ""]])
def test_where_files_fit_the_shell_completes_them(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert proposed(capsys, *words) == ([], ":0")


def test_names_come_from_the_cluster(kubectl: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = rolling()
    served_by(kubectl.api, cluster)
    kubectl.api.put(NAMESPACE, {"metadata": {"name": "tales"}})
    assert proposed(capsys, "abort", "st") == ([NAME], ":4")
    assert proposed(capsys, "abort", "-n", "elsewhere", "st") == ([], ":4")
    assert proposed(capsys, "status", "-n", "")[0] == ["tales"]
    revisions = [cluster.revision(image) for image in ("v1", "v2")]
    assert proposed(capsys, "diff", NAME, "")[0] == sorted([*revisions, "candidate", "current", "previous", "stable"])
    assert kubectl.asked[0] == ("", "")


def test_contexts_come_from_the_kubeconfig(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("contexts: [{name: near}, {name: far}]")
    assert proposed(capsys, "--kubeconfig", str(path), "status", "--context", "")[0] == ["far", "near"]
    assert proposed(capsys, "--kubeconfig", f"{path}.none", "status", "--context", "")[0] == []


def test_a_cluster_that_does_not_help_proposes_nothing(kubectl: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.api.fail(status_error(403, "Forbidden"))
    assert proposed(capsys, "abort", "") == ([], ":4")


def test_a_cluster_that_hangs_proposes_nothing_soon(
    kubectl: Plugin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.api.latency = 60
    monkeypatch.setattr(completion, "_PATIENCE", 0.01)
    assert proposed(capsys, "abort", "") == ([], ":4")


def test_the_scripts_are_printed_without_a_cluster(kubectl: Plugin) -> None:
    assert "complete -F _kubectl_understudy kubectl-understudy" in kubectl.run("completion", "bash")[1]
    assert "compdef _kubectl_understudy kubectl-understudy" in kubectl.run("completion", "zsh")[1]
    assert kubectl.asked == []


@pytest.mark.slow
def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    tool = tmp_path / "kubectl_complete-understudy"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m understudy.cli.plugin.completion "$@"\n')
    tool.chmod(0o755)
    asks = 'COMP_WORDS=(kubectl-understudy status --w); COMP_CWORD=2; _kubectl_understudy; echo "${COMPREPLY[@]}"'
    bash = shutil.which("bash")
    assert bash is not None
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [bash, "-c", completion.script("bash") + asks],
        env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert run.stdout == "--watch\n"

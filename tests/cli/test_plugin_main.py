"""The plugin's command line as a whole: it teaches, it answers mistakes with a sentence, it ends quietly."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, rolling, served_by
from understudy.cli.plugin import main as plugin
from understudy.cli.plugin.main import COMMANDS, main
from understudy.kube import kubeconfig
from understudy.kube.aio import NoClusterError


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_without_a_command_it_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(command.name in shown for command in COMMANDS)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_of_every_command_teaches_by_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    shown = helped(capsys, command)
    assert f"usage: kubectl understudy {command}" in shown
    assert "  kubectl understudy " in shown or "  source <(kubectl-understudy" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_a_command_that_there_is_not_is_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["undo", "story"])
    assert ended.value.code == 2
    assert "invalid choice: 'undo' (choose from 'status', 'plan'" in capsys.readouterr().err


def test_no_cluster_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def connect(path: str, context: str) -> None:
        raise NoClusterError("no cluster is known here")

    monkeypatch.setattr(kubeconfig, "connect_as_user", connect)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "kubectl understudy: no cluster is known here\n"
    assert main(["diff", "story"]) == 2


def test_an_interrupted_command_ends_as_shells_expect(kubectl: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    served_by(kubectl.api, rolling())

    async def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plugin, "pause", interrupted)
    assert kubectl.run("abort", NAME)[0] == 130


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_failure() -> None:
    many = "print('\\n'.join('x' * 1000 for _ in range(10000)))"
    code = f"""\
import sys
from understudy.cli.plugin import completion, main
completion.script = lambda shell: {many[6:-1]}
sys.exit(main.main(["completion", "bash"]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=300), errors) == (0, "")


@pytest.mark.slow
def test_neither_kopf_nor_the_client_is_imported_for_help() -> None:
    asked = "try: main(['status', '--help'])\nexcept SystemExit: pass\n"
    code = f"import sys; from understudy.cli.plugin.main import main\n{asked}"
    check = "assert not {'kopf', 'kubernetes', 'uvloop'} & sys.modules.keys(), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code + check], check=True, stdout=subprocess.DEVNULL, timeout=300)

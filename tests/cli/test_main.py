"""The command line: it teaches, it starts one process, and it imports only that one."""

import argparse
import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from understudy.cli.main import SUBCOMMANDS, main


class Fake(ModuleType):
    """A subcommand's module."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.seen: argparse.Namespace | None = None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=1)

    def run(self, args: argparse.Namespace) -> int:
        self.seen = args
        return 7


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    module = Fake()
    monkeypatch.setitem(sys.modules, "understudy.cli.sim", module)
    return module


def test_a_subcommand_gets_its_arguments_and_gives_the_exit_status(fake: Fake) -> None:
    assert main(["sim", "--port", "9"]) == 7
    assert fake.seen is not None
    assert fake.seen.port == 9


def test_the_arguments_of_the_process_are_the_default(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["understudy", "sim"])
    assert main() == 7


def test_without_a_subcommand_it_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    for subcommand in SUBCOMMANDS:
        assert subcommand.name in shown
    assert "kubectl apply -f manifests/quickstart/" in shown


def test_help_of_a_subcommand_says_what_it_does(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sim", "--help"])
    assert ended.value.code == 0
    assert "Pretend to be an engine" in capsys.readouterr().out


def test_an_unknown_subcommand_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("understudy 0.")


@pytest.mark.parametrize(("words", "absent"), [(["--help"], "kopf"), (["sim", "--help"], "kubernetes")])
def test_what_is_not_asked_for_is_not_imported(words: list[str], absent: str) -> None:
    code = f"import sys; from understudy.cli.main import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
    check = f"assert {absent!r} not in sys.modules, sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code + check], check=True, stdout=subprocess.DEVNULL, timeout=300)


def test_every_subcommand_is_a_module_with_the_two_functions() -> None:
    for subcommand in SUBCOMMANDS:
        module = importlib.import_module(f"understudy.cli.{subcommand.name}")
        assert callable(module.add_arguments)
        assert callable(module.run)

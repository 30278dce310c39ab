"""A terminal in front of an API server in memory, for the commands of the kubectl plugin."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.engine.fake_api import FakeApi
from understudy.cli.plugin import main as plugin
from understudy.kube import kubeconfig
from understudy.kube.kubeconfig import Access


class Terminal(io.StringIO):
    """Standard output that may be a terminal."""

    tty = False

    def isatty(self) -> bool:
        return self.tty


class Server(FakeApi):
    """One that outlives the command that closes its client."""

    async def close(self) -> None:
        return


@dataclass
class Plugin:
    """`kubectl understudy …` as a function; `asked` are the kubeconfig and context of each run."""

    api: FakeApi
    out: Terminal
    errors: Callable[[], str]
    namespace: str = "tales"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        self.out.seek(0)
        self.out.truncate()
        status = plugin.main(words)
        return status, self.out.getvalue(), self.errors()


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plugin:
    out = Terminal()
    made = Plugin(Server(), out, lambda: capsys.readouterr().err)

    async def connect(path: str = "", context: str = "") -> Access:
        made.asked.append((path, context))
        return Access(made.api, "https://cluster.example", context or "kind", made.namespace)

    monkeypatch.setattr(kubeconfig, "connect_as_user", connect)
    monkeypatch.setattr(plugin, "stdout", lambda: out)
    return made

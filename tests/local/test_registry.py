"""The choice between released images and assembly from packages."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from local import registry

BOTH = ("first", "second")


def test_every_registry_must_answer() -> None:
    assert registry.choose("", lambda _: True, BOTH) == "registry"
    assert registry.choose("", lambda name: name == "first", BOTH) == "packages"
    assert registry.choose("", lambda _: False, BOTH) == "packages"


def test_after_one_no_the_other_registries_are_not_asked() -> None:
    asked: list[str] = []

    def answer_no(name: str) -> bool:
        asked.append(name)
        return False

    registry.choose("auto", answer_no, BOTH)
    assert asked == ["first"]


@pytest.mark.parametrize("word", ["registry", "packages"])
def test_a_configured_way_is_taken_without_asking(word: str) -> None:
    def never(_: str) -> bool:
        raise AssertionError("asked")

    assert word == registry.choose(word, never, BOTH)


def test_the_environment_configures_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WAY", "packages")
    assert registry.choose(reachable=lambda _: True) == "packages"


def test_an_unknown_word_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ValueError, match="registry, packages or auto"):
        registry.choose("online", lambda _: True, BOTH)


class Registry(BaseHTTPRequestHandler):
    """Answers as registries do: `/401` asks to log in, `/200` does not, anything else is no registry."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Registry) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(("status", "reachable"), [(200, True), (401, True), (403, False), (404, False), (503, False)])
def test_a_registry_is_what_answers_like_one(server: str, status: int, reachable: bool) -> None:
    assert reachable == registry.answers(f"{server}/{status}")


def test_nobody_listening_is_a_no() -> None:
    assert not registry.answers("http://127.0.0.1:9/v2/")

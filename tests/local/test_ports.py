"""Whoever starts a process gets a port that nobody else is about to take."""

import itertools
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import ports


@pytest.fixture(autouse=True)
def own_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))


def test_those_who_ask_at_the_same_time_get_different_ones() -> None:
    with ThreadPoolExecutor(8) as askers:
        found = list(itertools.chain(*askers.map(ports.free_ports, [1, 2, 3] * 20)))
    assert len(set(found)) == len(found) == 120
    assert all(port in ports.RANGE for port in found)


def test_one_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "RANGE", range(port, port + 20))
        assert ports.free_port() > port


def test_after_the_last_comes_the_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "RANGE", range(20000, 20005))
    monkeypatch.setattr(ports, "_free", lambda _: True)
    assert [ports.free_ports(2) for _ in range(3)] == [[20000, 20001], [20002, 20003], [20000, 20001]]


def test_where_nothing_is_free_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "RANGE", range(port, port + 1))
        with pytest.raises(OSError, match="no 1 free ports in a row"):
            ports.free_port()

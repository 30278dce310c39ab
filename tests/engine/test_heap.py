"""What was free in the heap is the system's again."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.engine.heap import give_back


@pytest.mark.parametrize("library", [SimpleNamespace(), SimpleNamespace(malloc_trim=lambda keep: asked.append(keep))])
def test_the_c_library_is_asked_to_keep_nothing_if_it_can_be(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    give_back()
    assert asked == [0] * hasattr(library, "malloc_trim")


def test_it_can_be_called_as_it_is() -> None:
    give_back()


asked: list[int] = []

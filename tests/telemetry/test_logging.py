"""Logs: one JSON object per line, or plain text for people."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from understudy.telemetry.logging import JsonFormatter, configure


@pytest.fixture
def restored() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def record(message: str = "wrote %s", *args: object, **extra: object) -> logging.LogRecord:
    found = logging.LogRecord("understudy.engine", logging.WARNING, __file__, 1, message, args, None)
    found.created = 1_800_000_000.125
    found.__dict__.update(extra)
    return found


def test_a_record_is_one_json_object() -> None:
    line = JsonFormatter().format(record("wrote %s\nand more", "a table"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.125+00:00",
        "level": "warning",
        "logger": "understudy.engine",
        "message": "wrote a table\nand more",
    }


def test_fields_are_merged_in() -> None:
    line = json.loads(JsonFormatter().format(record("x", fields={"key": "shop/talk", "odd": {1}})))
    assert line["key"] == "shop/talk"
    assert line["odd"] == "{1}"


def test_what_is_no_mapping_of_fields_is_left_out() -> None:
    assert "fields" not in json.loads(JsonFormatter().format(record("x", fields="text")))


def test_an_exception_comes_with_its_trace() -> None:
    failed = record("x")
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        failed.exc_info = sys.exc_info()
    assert "ZeroDivisionError: by zero" in json.loads(JsonFormatter().format(failed))["exception"]


def test_off_a_terminal_it_writes_json_to_standard_error(capsys: pytest.CaptureFixture[str], restored: None) -> None:
    configure("warning")
    logging.getLogger("a").warning("seen")
    logging.getLogger("a").info("not seen")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["seen"]


def test_on_a_terminal_it_writes_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure()
    logging.getLogger("a").info("seen")
    assert capsys.readouterr().err.endswith("INFO    a: seen\n")


def test_configuring_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str], restored: None) -> None:
    configure()
    configure()
    logging.getLogger("a").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1

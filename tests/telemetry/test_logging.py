"""Logs: one JSON object per line, or plain text for people."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from understudy.telemetry.logging import JsonFormatter, TextFormatter, configure


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


def traced(message: str) -> logging.LogRecord:
    """A record of an exception whose message is `message`."""
    failed = record("x")
    try:
        raise ValueError(message)
    except ValueError:
        failed.exc_info = sys.exc_info()
    return failed


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_comes_from_outside_is_cut_at_128_characters(formatter: logging.Formatter) -> None:
    for args in (("x" * 129,), ({"name": "x" * 129},), (ValueError("x" * 129),)):
        template = "said %(name)s" if isinstance(args[0], dict) else "said %s"
        line = formatter.format(record(template, *args))
        assert "x" * 127 in line
        assert "x" * 128 not in line
    assert "x" * 128 in formatter.format(record("said %s", "x" * 128))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_our_own_words_and_the_trace_of_an_exception_are_whole(formatter: logging.Formatter) -> None:
    assert "y" * 500 in formatter.format(record("y" * 500))
    assert "z" * 500 in formatter.format(traced("z" * 500))


def test_fields_are_cut_however_deep_they_lie() -> None:
    long = "x" * 129
    given = {"a": long, "b": [long, {"c": long}], "n": 10**200, "f": 0.5, "none": None, long: 1}
    line = json.loads(JsonFormatter().format(record("said", fields=given)))
    short = "x" * 127 + "…"
    assert (line["a"], line["b"], line["n"]) == (short, [short, {"c": short}], 10**200)
    assert (line["f"], line["none"], line[short]) == (0.5, None, 1)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_nobody_outside_forges_a_line_or_turns_its_text_around(formatter: logging.Formatter) -> None:
    line = formatter.format(record("model %s", "a\nb\rc\x1b[31md\x9b31me\u202ef\u2066g\u200f"))
    assert line.count("\n") == 0
    assert "abc[31md31mefg" in line


def test_numbers_keep_their_formats() -> None:
    line = json.loads(JsonFormatter().format(record("%d of %5.1f s, %s", 3, 2.25, True)))
    assert line["message"] == "3 of   2.2 s, True"

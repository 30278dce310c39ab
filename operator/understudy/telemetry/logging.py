"""Logs of every process in one shape: one line of JSON on standard error, or plain text on a terminal.

What comes from outside (names, messages of engines and of the API server) arrives as an argument or a field of
a record. It is cut and cleaned here, so that nobody can flood a log, forge a line of it or turn its text around.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

MAX_TEXT: Final = 128
# Control characters of C0 and C1, and those that change the direction of text.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class JsonFormatter(logging.Formatter):
    """One JSON object per record; fields given as `extra={"fields": {…}}` are merged in."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update({_cut(name): _field(value) for name, value in fields.items()})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line for people per record, and the trace of an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"{at} {record.levelname:<7} {record.name}: {message_of(record)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def message_of(record: logging.LogRecord) -> str:
    """The record's message; each argument has at most MAX_TEXT characters, all of them visible."""
    given = record.args
    if isinstance(given, Mapping):
        return str(record.msg) % {name: _argument(value) for name, value in given.items()}
    return str(record.msg) % tuple(_argument(value) for value in given) if given else str(record.msg)


def configure(level: str = "info") -> None:
    """Send every record of `level` (debug, info, warning, error) and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if sys.stderr.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _argument(value: Any) -> Any:
    return value if isinstance(value, int | float) else _cut(value)


def _field(value: Any) -> Any:
    """A value that JSON can hold, with every string in it cut."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {_cut(name): _field(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_field(item) for item in value]
    return _cut(value)


def _cut(value: Any) -> str:
    text = _UNSEEN.sub("", str(value))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"

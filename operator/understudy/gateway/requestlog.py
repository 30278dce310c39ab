"""The request log: a line of JSON for each request that a deployment was asked, or for a share of them.

It goes to a file for whoever collects it, to the outbox for `understudy records`, or to both.
"""

import time
from collections.abc import Callable
from typing import Any

import orjson

from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.segments import Kind
from understudy.gateway.policy.story import Story, is_kept
from understudy.gateway.spool import Spool


class RequestLog:
    """Writes stories down: `percent` in a hundred, and all that ended in a failure of ours."""

    def __init__(
        self,
        spool: Spool | None,
        percent: float,
        wall: Callable[[], float] = time.time,
        *,
        outbox: Outbox | None = None,
    ) -> None:
        self.spool = spool
        self.left_out = 0
        self._outbox = outbox
        self._percent = percent
        self._wall = wall

    def tell(
        self, story: Story, deployment: str, fallback: str, ended: tuple[int, str], now: float, lot: float
    ) -> None:
        """A request has ended, with `ended` as status and code; `lot` in [0, 1) decides whether it is kept."""
        if not is_kept(ended[0], lot, self._percent):
            self.left_out += 1
            return
        line = story.line(deployment, fallback, *ended, now, self._wall())
        if self.spool is not None:
            self.spool.put(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if self._outbox is not None:
            # What somebody said stays with the gateway: nobody can have it erased from the records.
            del line["text"]
            self._outbox.put("request", orjson.dumps(line))

    def found(self, kind: Kind, line: dict[str, Any]) -> None:
        """A Guardrail has found something: that goes to the records alone, and is never dropped for requests."""
        if self._outbox is not None:
            self._outbox.put(kind, orjson.dumps(line))

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall()

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of it, as `Plane.gauges`."""
        lines: dict[str, float] = {"left_out": self.left_out}
        if self.spool is not None:
            lines |= {"written": self.spool.written, "dropped": self.spool.dropped}
        return {"understudy_request_log_lines_total": ("Requests for the log, by what became of their line", lines)}

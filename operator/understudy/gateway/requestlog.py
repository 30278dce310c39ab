"""The request log: a line of JSON for each request that a deployment was asked, or for a share of them."""

import time
from collections.abc import Callable

import orjson

from understudy.gateway.policy.story import Story, is_kept
from understudy.gateway.spool import Spool


class RequestLog:
    """Writes stories to a spool: `percent` in a hundred, and all that ended in a failure of ours."""

    def __init__(self, spool: Spool, percent: float, wall: Callable[[], float] = time.time) -> None:
        self.spool = spool
        self.left_out = 0
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
        self.spool.put(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of it, as `Plane.gauges`."""
        spool = self.spool
        lines: dict[str, float] = {"written": spool.written, "dropped": spool.dropped, "left_out": self.left_out}
        return {"understudy_request_log_lines_total": ("Requests for the log, by what became of their line", lines)}

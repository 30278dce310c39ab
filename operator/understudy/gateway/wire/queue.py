"""Requests that wait for an endpoint: one line for each deployment and part of it, tried again when that may help.

Each part (stable, the candidate, who asks for the candidate by name) has a line of its own, so that nobody waits
behind somebody who waits for other pods.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from understudy.gateway.policy.queue import Line

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection
    from understudy.gateway.wire.exchange import Exchange


class Queue:
    """All lines of one worker. `isolated` runs an action for a client, whose mistakes are that client's alone."""

    __slots__ = ("_clock", "_due", "_isolated", "_lines", "_since")

    def __init__(
        self, isolated: Callable[[Callable[[], None], "Connection"], None], clock: Callable[[], float]
    ) -> None:
        self._isolated = isolated
        self._clock = clock
        self._since: dict[Exchange, float] = {}
        self._lines: dict[str, dict[str, Line[Exchange]]] = {}
        self._due: set[str] = set()

    def __len__(self) -> int:
        return sum(self.waiting().values())

    def waiting(self) -> dict[str, int]:
        """How many wait, by deployment; one for which nobody waits is not named."""
        return {key: sum(map(len, lines.values())) for key, lines in self._lines.items()}

    def holds(self, key: str, part: str) -> bool:
        """Whether somebody waits for this part of the deployment."""
        return part in self._lines.get(key, ())

    def enter(self, exchange: "Exchange", key: str, part: str, priority: int, most: int) -> bool:
        """Let a request wait where at most `most` may; False if it may not. Who has to leave for it is refused."""
        line = self._lines.get(key, {}).get(part) or Line()
        leaves = line.enter(exchange, exchange.client.holder(), priority, most)
        if leaves is exchange:
            return False
        self._lines.setdefault(key, {})[part] = line
        self._since[exchange] = self._clock()
        if leaves is not None:
            del self._since[leaves]
            self._isolated(leaves.crowded_out, leaves.client)
        return True

    def leave(self, exchange: "Exchange", key: str, part: str, *, served: bool) -> float:
        """Forget a request; how many seconds it waited. `served`: an endpoint takes it, which was its holder's turn."""
        lines = self._lines[key]
        lines[part].leave(exchange, served=served)
        if not lines[part]:
            del lines[part]
        if not lines:
            del self._lines[key]
        return self._clock() - self._since.pop(exchange)

    def freed(self, key: str) -> None:
        """A request of the deployment has ended somewhere: there may be room for the next one, soon."""
        if key in self._lines:
            if not self._due:
                asyncio.get_running_loop().call_soon(self._serve_due)
            self._due.add(key)

    def look(self) -> None:
        """Try the next one of every line: time may have brought an endpoint back."""
        for key in tuple(self._lines):
            self._serve(key)

    def rerouted(self) -> None:
        """The routes have changed: try everybody, who may be of another part by now."""
        for lines in tuple(self._lines.values()):
            for line in tuple(lines.values()):
                for exchange in line.order():
                    if exchange in line:
                        self._isolated(exchange.dispatch, exchange.client)

    def _serve_due(self) -> None:
        due, self._due = self._due, set()
        for key in due:
            self._serve(key)

    def _serve(self, key: str) -> None:
        """Try one after the other of each line, until one has to go on waiting."""
        for line in tuple(self._lines.get(key, {}).values()):
            while (exchange := line.first()) is not None:
                self._isolated(exchange.dispatch, exchange.client)
                if exchange in line:
                    break

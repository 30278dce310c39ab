"""Takes clients from a socket that several workers listen on, so that each gets its part of them.

The kernel wakes all of them for each client, and whoever comes first has it: mostly the one that is idle because it
has just taken the one before. Connections live long, so whoever takes the first ten carries them all.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

LOG: Final = logging.getLogger(__name__)
# How long a worker leaves a client to those with fewer; then it takes it, since they may be busy or gone.
_COURTESY_SECONDS: Final = 0.001
# No file descriptor is left, or no memory: to try again at once would take the time of those who are served.
_PAUSE_SECONDS: Final = 1.0


class Crowd:
    """How many connections each worker has, in memory that all of them see; -1 for one that takes none.

    `memory` has eight bytes for each of them.
    """

    def __init__(self, memory: memoryview, index: int) -> None:
        self._counts = memory.cast("q")
        self._index = index

    def tell(self, connections: int) -> None:
        """So many are here."""
        self._counts[self._index] = connections

    def leave(self) -> None:
        """This one takes none, and nobody need wait for it."""
        self._counts[self._index] = -1

    def nobody_has_fewer(self) -> bool:
        """Whether it is this one's turn."""
        mine = self._counts[self._index]
        return all(count < 0 or count >= mine for count in self._counts)


class Acceptor:
    """Takes one client after the other from `listener`; `connected` is how many there are."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        crowd: Crowd,
        connected: Callable[[], int],
    ) -> None:
        self._listener = listener
        self._make = make
        self._crowd = crowd
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        crowd.tell(connected())
        self._listen()

    def close(self) -> None:
        """Take nobody any more."""
        self._crowd.leave()
        if self._waiting is not None:
            self._waiting.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    def _listen(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listener, self._come)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, then)

    def _come(self) -> None:
        """Somebody is there."""
        self._crowd.tell(self._connected() + len(self._arriving))
        if self._crowd.nobody_has_fewer():
            self._take()
        else:
            self._wait(_COURTESY_SECONDS, self._take_after_all)

    def _take_after_all(self) -> None:
        self._listen()
        self._take()

    def _take(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # Another worker was faster, or the client did not wait.
        except OSError as error:
            LOG.warning("no client can be taken for the moment: %s", error)
            self._wait(_PAUSE_SECONDS, self._listen)
            return
        task = self._loop.create_task(self._connect(client))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _connect(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.connect_accepted_socket(self._make, client)

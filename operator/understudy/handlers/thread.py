"""Kopf in a thread and an event loop of its own.

In our loop it would replace the SIGTERM handler, cancel every task born after it at exit, and block
the reconcile loop with its own work.
"""

import logging
import threading
from collections.abc import Callable, Sequence

import uvloop

from understudy.engine.wake import Enqueue

log = logging.getLogger(__name__)

_LOG_LEVELS = {
    "kopf": logging.WARNING,
    "kopf.objects": logging.WARNING,
    # Each retry of a watch is an error to Kopf; it retries for ever, and the reflector tells of the same outage.
    "kopf._cogs.clients": logging.CRITICAL,
    # It warns that it leaves signals to the main thread: that is what the thread is for.
    "kopf._core.reactor.running": logging.ERROR,
}


class KopfThread:
    """Runs from `start`, if there is one, to `stop`; if it ends in between, `on_death` is called, from its thread."""

    def __init__(self, enqueue: Enqueue, namespaces: Sequence[str], on_death: Callable[[str], None]) -> None:
        self._enqueue = enqueue
        self._namespaces = namespaces
        self._on_death = on_death
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        for name, level in _LOG_LEVELS.items():
            logging.getLogger(name).setLevel(level)
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Ask it to end and wait for at most `seconds`; it is a daemon thread, so it cannot keep the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        # Kopf and what it imports are a fifth of what the process takes to begin, and are needed last of all.
        import kopf

        from understudy.handlers.wiring import operator_arguments, registry

        try:
            uvloop.run(
                kopf.operator(
                    registry=registry(self._enqueue),
                    standalone=True,
                    # Named here, or Kopf looks up the user's name, which a pod's uid need not have.
                    identity="understudy",  # type: ignore[arg-type]  # its type, a str, is private
                    stop_flag=self._stop,
                    **operator_arguments(self._namespaces),
                )
            )
            reason = "Kopf ended by itself"
        except Exception as error:  # noqa: BLE001 - whatever it is, the process must end and say so
            reason = f"Kopf failed: {error!r}"
        if not self._stop.is_set():
            log.error(reason)
            self._on_death(reason)

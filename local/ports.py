"""Ports of loopback for a process that is about to be started."""

import random
import socket

# Below those that the kernel gives to connections: one of these could be taken before the process listens, and who
# tries one until it answers could, by chance, be given it for his own end and speak to himself.
RANGE = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """So many in a row that nobody listens on now; two who look at the same time seldom find the same ones.

    Raises:
        OSError: nothing is free.
    """
    for first in random.sample(RANGE[: -count + 1 or None : count], 100):
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return list(range(first, first + count))
    msg = f"no {count} free ports in a row between {RANGE.start} and {RANGE.stop}"
    raise OSError(msg)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]

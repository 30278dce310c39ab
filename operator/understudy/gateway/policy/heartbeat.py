"""What a client hears of its stream before an engine has said anything: that it is alive, and later whose it became.

Proxies and clients end connections on which nothing comes. Once the head has gone out for that, it cannot tell any
more which revision answers: the first event does.
"""

from typing import Final

import orjson

# A comment: readers of event streams pass it over.
HEARTBEAT: Final = b": waiting\n\n"


def introduced(events: bytes, revision: str, track: str, fallback: str) -> bytes:
    """The first events of a stream, the first of them with the member `understudy`, which says who answers.

    `fallback` is the served name that took the request, empty if its own did. `events` are written by this gateway:
    each ends with an empty line, and JSON holds none.
    """
    first, end, rest = events.partition(b"}\n\n")
    if not end:
        # An end mark alone: there is no object to say it in.
        return events
    who = {"revision": revision, "track": track}
    if fallback:
        who["fallback"] = fallback
    return b'%b,"understudy":%b%b%b' % (first, orjson.dumps(who), end, rest)

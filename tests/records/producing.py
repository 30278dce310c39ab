"""A process that issues records as a gateway does, as fast as it can, to be killed in the middle of it.

`python -m tests.records.producing FOLDER BYTES URL FIRST LAST EVERY COUNTS`: records FIRST to LAST, each known by its
number. It ends when all are sent, or, if LAST is not the last of all, goes on sending until it is killed. COUNTS is a
file of three numbers: the one that is being issued, the last one that was, and how many there are in all.
"""

import asyncio
import mmap
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from tests.gateway.gateways import until
from understudy.gateway import ship
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.outbox import Outbox
from understudy.gateway.players import Players
from understudy.gateway.policy.keeping import Keeping
from understudy.gateway.policy.players import Who
from understudy.gateway.policy.segments import Kind
from understudy.gateway.policy.story import Story
from understudy.gateway.policy.verdicts import Noted
from understudy.gateway.policy.violations import About, violation
from understudy.gateway.ship import Shipper
from understudy.guard.actions import decision
from understudy.guard.engagement.events import Event
from understudy.guard.findings import Finding
from understudy.guard.gate import Judged

COUNTS = struct.Struct("<qqq")
KINDS: Final[Sequence[Kind]] = ("request", "engagement", "violation", "crisis", "sign")
# Of what must not be lost: of so many records each has one.
KEPT: Final[Sequence[Kind]] = ("violation", "crisis", "sign")
PLAYERS: Final = 40


def kind_of(number: int, every: int) -> Kind:
    """What the record of this number is: in `every` there is one of each kind that must not be lost, and of the others
    one in twenty tells of a player.
    """
    at = number % every
    if at < len(KEPT):
        return KEPT[at]
    return "engagement" if number % 20 == 19 else "request"


def share(counts: Path) -> mmap.mmap:
    """The numbers, as memory that outlives the process."""
    with counts.open("r+b") as file:
        return mmap.mmap(file.fileno(), COUNTS.size)


def put(kind: Kind, number: int, outbox: Outbox, players: Players) -> None:
    """Issue a record as what a gateway does would."""
    if kind == "request":
        story = Story(str(number), "storyteller", "/v1/chat/completions", "f" * 64, 0.0, stream=False)
        outbox.put(kind, orjson.dumps(story.line("default/story", "", 200, "", 0.5, time.time())))
    elif kind == "engagement":
        who = Who("games", f"player-{number % PLAYERS}", "")
        players.tell(who, Event(str(number), "turn", time.time(), "gateway", name="user"))
    elif kind == "sign":
        # Each of a tenant of its own: of one there is room for some in a second.
        players.tell(Who(f"games-{number}", "anna", ""), Event(str(number), "crisis_sign", time.time(), "client"))
    else:
        finding = Finding("calm/words", "darn", "rude", 4, None, 3, 7, 7, 3)
        judged = Judged(finding, decision(["CrisisFlow" if kind == "crisis" else "Block"]))
        about = About(
            str(number), "default/story", "f" * 8, b"k" * 32, "games", f"player-{number % PLAYERS}", "evening"
        )
        noted = Noted(str(number), "content", 0, judged, 4, "darn")
        said, line = violation(noted, about, "output", "c" * 64, 0, Keeping(), time.time())
        outbox.put(said, orjson.dumps(line))


async def main(folder: str, most: str, url: str, first: str, last: str, every: str, counts: str) -> None:
    """Issue them, then send what is left, and end."""
    shared = share(Path(counts))
    # Records that were away for seconds are there again long before a gateway would ask.
    ship._LONGEST_PAUSE = 2.0  # type: ignore[misc]
    outbox = Outbox(Path(folder), int(most))
    shipper = Shipper(outbox, ApiServer(url))
    players = Players(ApiServer(url), outbox)
    running = asyncio.ensure_future(shipper.run())
    whole = COUNTS.unpack(shared[:])[2]
    for number in range(int(first), int(last) + 1):
        COUNTS.pack_into(shared, 0, number, number - 1, whole)
        put(kind_of(number, int(every)), number, outbox, players)
        COUNTS.pack_into(shared, 0, number, number, whole)
        if number % 50 == 0:
            await asyncio.sleep(0.005)
    await until(lambda: outbox.next() is None and int(last) == whole)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

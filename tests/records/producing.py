"""A process that issues records as a gateway does, as fast as it can, to be killed in the middle of it.

`python -m tests.records.producing FOLDER BYTES URL FIRST LAST COUNTS`: records FIRST to LAST, with that number as their
request's. COUNTS is a file of two numbers: the one that is being issued, and the last one that was.
"""

import asyncio
import mmap
import struct
import sys
import time
from pathlib import Path

import orjson

from tests.gateway.gateways import until
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.story import Story
from understudy.gateway.ship import Shipper

COUNTS = struct.Struct("<qq")


def share(counts: Path) -> mmap.mmap:
    """The two numbers, as memory that outlives the process."""
    with counts.open("r+b") as file:
        return mmap.mmap(file.fileno(), COUNTS.size)


async def main(folder: str, most: str, url: str, first: str, last: str, counts: str) -> None:
    """Issue them, then send what is left, and end."""
    shared = share(Path(counts))
    shipper = Shipper(Outbox(Path(folder), int(most)), ApiServer(url))
    running = asyncio.ensure_future(shipper.run())
    for number in range(int(first), int(last) + 1):
        COUNTS.pack_into(shared, 0, number, number - 1)
        story = Story(str(number), "storyteller", "/v1/chat/completions", "f" * 64, 0.0, stream=False)
        record = orjson.dumps(story.line("default/story", "", 200, "", 0.5, time.time()))
        shipper.outbox.put("request", record)
        COUNTS.pack_into(shared, 0, number, number)
        if number % 50 == 0:
            await asyncio.sleep(0.005)
    await until(lambda: shipper.outbox.next() is None)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Reading an answer from something that may be broken: never more of it than expected."""

import aiohttp


async def read_bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; ValueError if it is longer than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise ValueError(f"the answer is longer than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)

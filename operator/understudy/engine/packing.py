"""How the cache keeps an object: as JSON, told by its difference from the first one of its kind.

Children of thousands of deployments say nearly the same in nearly the same words. Compressed with one of their own
kind as the dictionary they take a tenth of their JSON, for microseconds each way.
"""

from typing import Any, Final

import orjson
from zstandard import DICT_TYPE_RAWCONTENT, ZstdCompressionDict, ZstdCompressor, ZstdDecompressor

from understudy.kube.client import Object

_LEVEL: Final = 1
# What is shorter would save less than it costs.
_WORTHWHILE: Final = 256


class Packing:
    """Packs objects of one kind; only what it has packed itself can it unpack. For one thread."""

    def __init__(self) -> None:
        self._packer: ZstdCompressor | None = None
        self._unpacker = ZstdDecompressor()

    def pack(self, obj: Object) -> bytes:
        """The object in few bytes."""
        plain = orjson.dumps(obj)
        if len(plain) < _WORTHWHILE:
            return _fitting(plain)
        if self._packer is None:
            model = ZstdCompressionDict(plain, dict_type=DICT_TYPE_RAWCONTENT)
            model.precompute_compress(level=_LEVEL)
            self._packer = ZstdCompressor(level=_LEVEL, dict_data=model, write_dict_id=False)
            self._unpacker = ZstdDecompressor(dict_data=model)
        return _fitting(self._packer.compress(plain))

    def unpack(self, packed: bytes) -> Object:
        """The object, made anew: what becomes of it does not reach what is packed."""
        # No compressed frame begins as a JSON object does: it begins with a number of its own.
        found: dict[str, Any] = orjson.loads(packed if packed[:1] == b"{" else self._unpacker.decompress(packed))
        return found


def _fitting(made: bytes) -> bytes:
    """A copy: what orjson and zstandard give keeps the buffer that it was written into, several times as large."""
    return memoryview(made).tobytes()

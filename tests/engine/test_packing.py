"""How objects are kept: small, and never other than they were."""

import sys
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.objects import made
from understudy.engine.packing import Packing
from understudy.kube.resources import DEPLOYMENT

# Long enough to be packed, often enough, and of letters that JSON escapes.
OBJECTS = st.dictionaries(st.text(max_size=4), st.text('ab"\\\0é𝄞', max_size=60) | st.integers(0, 9), max_size=6)


def pool(number: int, **fields: Any) -> dict[str, Any]:
    args = [f"--option-{index}=value-{index}" for index in range(40)]
    container = {"name": "engine", "image": f"engine:{number}", "args": args}
    spec = {"replicas": number, "template": {"spec": {"containers": [container]}}}
    return made(DEPLOYMENT, f"pool-{number}", number, spec=spec, **fields)


@settings(max_examples=50)
@given(st.lists(OBJECTS, max_size=4))
def test_whatever_is_packed_comes_back_as_it_was(objects: list[dict[str, Any]]) -> None:
    packing = Packing()
    packed = [packing.pack(obj) for obj in objects]
    assert [packing.unpack(item) for item in packed] == objects


def test_what_says_nearly_the_same_as_the_first_takes_a_fraction_of_its_json() -> None:
    packing = Packing()
    packing.pack(pool(1))
    packed = packing.pack(pool(2))
    assert packing.unpack(packed) == pool(2)
    assert sys.getsizeof(packed) < len(orjson.dumps(pool(2))) / 5


def test_what_is_short_takes_no_more_than_its_json() -> None:
    short = made(DEPLOYMENT, "pool")
    # What orjson gives takes the buffer that it was written into: up to three times as much.
    assert sys.getsizeof(Packing().pack(short)) <= len(orjson.dumps(short)) + 64


def test_a_first_object_longer_than_the_window_is_as_good_as_any() -> None:
    packing = Packing()
    long = pool(1, status={"message": "".join(f"{number:x}" for number in range(20_000))})
    packed = [packing.pack(obj) for obj in (long, pool(2), long)]
    assert [packing.unpack(item) for item in packed] == [long, pool(2), long]


def test_each_reader_gets_an_object_of_its_own() -> None:
    packing = Packing()
    packed = packing.pack(pool(1))
    found: Any = packing.unpack(packed)
    found["spec"]["replicas"] = 7
    assert packing.unpack(packed) == pool(1)

"""A story may say more: where a key's own word that it is one counts, and only there."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway.clients import Answer, chat, client
from tests.gateway.engines import answers_well, engine
from tests.gateway.gateways import gateway
from tests.gateway.guardrails import guarded, load
from tests.gateway.worlds import STABLE, access_key
from understudy.gateway.outbox import Outbox
from understudy.gateway.requestlog import RequestLog

FICTION: dict[str, Any] = {"assertsFiction": "true"}


def spec(category: str = "violence", **more: Any) -> dict[str, Any]:
    """A Guardrail that blocks the word `stab` from medium on, but a level less in a story."""
    pattern = {"name": "stab", "literal": "stab", "category": category, "severity": "medium"}
    words = {"name": "words", "type": "patterns", "patterns": [pattern]}
    lenient = {"category": category, "actions": {"low": ["Log"], "medium": ["Block"]}, "fictionAllowance": 1}
    return {"detectors": [words], "rules": [lenient], **more}


async def said(says: str | None, *specs: dict[str, Any], answer: str = "stab", body: Any = None, **key: Any) -> Answer:
    """What is answered under these Guardrails to a request that says so of its session."""
    async with engine(answers_well(answer)) as e:
        world = {**guarded(e.port, *specs), "keys": [access_key(**key)]}
        async with gateway(world) as g, client(g.port) as c:
            await load(g)
            fields = {} if says is None else {"x_understudy_fiction": says}
            return await c.ask(body or chat(), **fields)


@pytest.mark.parametrize(
    ("says", "audience", "passes"),
    [
        (None, "adults", False),
        ("true", "adults", True),
        ("adult", "adults", True),
        # Who plays may be a minor: it has to be known that this one is none.
        ("true", "mixed", False),
        ("adult", "mixed", True),
        ("adult", "minors", False),
        ("adult", None, True),
        ("true", None, False),
    ],
)
async def test_a_finding_is_less_grave_in_fiction_for_whom_the_guardrail_has_it_so(
    says: str | None, audience: str | None, passes: bool
) -> None:
    answer = await said(says, spec(**({} if audience is None else {"audience": audience})), **FICTION)
    assert (answer.status == 200) is passes
    assert passes or answer.code == "content_filter"


async def test_the_word_of_another_key_counts_for_nothing() -> None:
    for says in ("true", "adult", "perhaps"):
        assert (await said(says, spec(audience="adults"))).code == "content_filter"
        assert (await said(says, spec(audience="adults"), assertsPlayers="true")).code == "content_filter"


@pytest.mark.parametrize("category", ["self_harm", "sexual_minors"])
async def test_no_story_makes_what_is_always_grave_less_so(category: str) -> None:
    assert (await said("adult", spec(category, audience="adults"), **FICTION)).code == "content_filter"


async def test_of_several_guardrails_each_has_its_own_word() -> None:
    strict = spec(audience="minors")
    assert (await said("adult", spec(), spec(audience="adults"), **FICTION)).status == 200
    assert (await said("adult", spec(), strict, **FICTION)).code == "content_filter"


async def test_what_is_asked_and_what_is_parsed_is_judged_so_too() -> None:
    for says, status in (("adult", 200), (None, 400)):
        assert (await said(says, spec(), answer="ok", body=chat("stab them"), **FICTION)).status == status
        shaped = chat(response_format={"type": "json_object"})
        answer = await said(says, spec(), answer='["stab"]', body=shaped, **FICTION)
        assert (b"stab" in answer.body) is (status == 200)


async def test_a_word_that_nobody_understands_is_refused() -> None:
    answer = await said("perhaps", spec(), **FICTION)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "x-understudy-fiction: want true" in answer.json["error"]["message"]


async def test_it_is_recorded_and_counted_as_grave_as_it_is_judged(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", 1 << 20)
    async with engine(answers_well("stab")) as e:
        world = {**guarded(e.port, spec()), "keys": [access_key(**FICTION)]}
        async with gateway(world) as g, client(g.port) as c:
            await load(g)
            g.plane.log = RequestLog(None, 100.0, outbox=outbox)
            for says in ("adult", ""):
                await c.ask(chat(), x_understudy_fiction=says)
            await g.quiet()
            (segment,) = outbox._segments["kept"]
            lines = [orjson.loads(line) for line in segment.path.read_bytes().splitlines()]
            assert [(line["severity"], line["action"]) for line in lines] == [(2, "log"), (4, "block")]
            judged = g.state(STABLE).guard
            assert judged is not None
            assert (judged.turns, judged.acted) == (2, 1)
    outbox.close()

"""The candidate asked by name: `x-understudy-variant: candidate`, for keys that may, before it has any share."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.gateway.clients import ask, chat
from tests.gateway.engines import answers_status, engine
from tests.gateway.gateways import gateway
from tests.gateway.worlds import CANARY, STABLE, access_key, endpoints, snapshot, table
from understudy.gateway.snapshot import dump

WAITING = {STABLE: 100, CANARY: 0}


def document(
    ports: Mapping[str, int], weights: Mapping[str, int] = WAITING, *, chooses: bool = True, **more: Any
) -> dict[str, Any]:
    slices = [endpoints(revision, [port]) for revision, port in ports.items()]
    return snapshot([table(weights, **more)], slices, [access_key(chooses=chooses)])


async def test_a_candidate_without_a_share_answers_who_asks_for_it_and_nobody_else() -> None:
    async with engine() as old, engine() as new, gateway(document({STABLE: old.port, CANARY: new.port})) as g:
        for number in range(5):
            answer = await ask(g.port, chat(stream=bool(number % 2)), x_understudy_variant="candidate")
            assert answer.status == 200
            assert (answer.fields["x-understudy-revision"], answer.fields["x-understudy-track"]) == (CANARY, "canary")
            assert (await ask(g.port)).fields["x-understudy-revision"] == STABLE
        assert (len(new.asked), len(old.asked)) == (5, 5)
        # What it did there counts for it.
        assert g.state(CANARY).attempts == 5


async def test_a_key_without_the_right_is_told_so() -> None:
    async with engine() as e, gateway(document({STABLE: e.port, CANARY: e.port}, chooses=False)) as g:
        answer = await ask(g.port, x_understudy_variant="candidate")
        assert (answer.status, answer.code) == (403, "variant_not_allowed")
        assert answer.fields["x-should-retry"] == "false"
        assert e.asked == []


async def test_a_failing_candidate_is_not_covered_by_stable() -> None:
    async with (
        engine(answers_status(500)) as bad,
        engine() as good,
        gateway(document({STABLE: good.port, CANARY: bad.port}, queue={"deadlineSeconds": 0.1})) as g,
    ):
        answer = await ask(g.port, x_understudy_variant="candidate", x_session_id="tester")
        assert answer.status in (502, 504)
        assert good.asked == []
        # Nor does it cost the conversation anything: nobody is pinned.
        assert g.plane.failovers == 0


async def test_without_a_candidate_there_is_nobody_to_ask() -> None:
    async with engine() as e, gateway(document({STABLE: e.port}, {STABLE: 100})) as g:
        answer = await ask(g.port, x_understudy_variant="candidate")
        assert (answer.status, answer.code) == (404, "no_candidate")
        assert e.asked == []


async def test_a_candidate_that_is_withdrawn_while_it_is_waited_for_is_not_replaced_by_stable() -> None:
    async with engine() as e, gateway(document({STABLE: e.port})) as g:
        asking = asyncio.ensure_future(ask(g.port, x_understudy_variant="candidate"))
        await g.waits()
        g.change(document({STABLE: e.port}, {STABLE: 100}, generation=2))
        answer = await asking
        assert (answer.status, answer.code) == (404, "no_candidate")


async def test_two_such_headers_are_no_request() -> None:
    async with engine() as e, gateway(document({STABLE: e.port, CANARY: e.port})) as g:
        answer = await ask(g.port, x_understudy_variant="candidate\r\nx-understudy-variant: candidate")
        assert answer.status == 400
        assert e.asked == []


async def test_the_right_outlives_a_restart_of_the_gateway() -> None:
    async with gateway(document({})) as g:
        assert [(key["choosesVariant"], key["priority"]) for key in dump(g.world)["keys"]] == [(True, 5)]

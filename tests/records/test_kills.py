"""Records through random SIGKILLs of whoever issues, stores and keeps them: each is stored once, or counted as lost.

Records issued = records stored + records that made way, to the last one; and what must not be lost makes no way.
"""

import asyncio
import functools
import json
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from tests.gateway.clients import chat, client
from tests.gateway.engines import answers_well, engine
from tests.gateway.gateways import until
from tests.gateway.guardrails import guarded, policy_spec
from tests.gateway.processes import Process as Gateway
from tests.gateway.processes import process as gateway_process
from tests.gateway.test_players import EVENTS, now
from tests.gateway.worlds import access_key
from tests.records.kills import Course, Keeping, run
from tests.records.postgres import Server
from tests.records.serving import process as records_process

# Room for all that may have to wait, and for a part of it: what must not be lost fits into its quarter.
ROOMY = Course(2000, every=20, room=8 * 1024 * 1024, late=False)
FULL = Course(4000, every=200, room=256 * 1024, late=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_with_room_for_all_records_of_all_kinds_are_stored_once(
    tmp_path: Path, url: str, request: pytest.FixtureRequest
) -> None:
    books = await run(tmp_path, Keeping(url, tmp_path), ROOMY, 1, _server(url, request))
    books.hold()
    assert books.made_way <= sum(books.unsure.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_where_there_is_little_room_only_what_may_makes_way_and_is_counted(
    tmp_path: Path, url: str, request: pytest.FixtureRequest
) -> None:
    books = await run(tmp_path, Keeping(url, tmp_path), FULL, 2, _server(url, request))
    books.hold()
    assert books.made_way > 0


def _server(url: str, request: pytest.FixtureRequest) -> Server | None:
    """The server to be killed, where the database has one."""
    found: Server | None = request.getfixturevalue("postgres") if url.startswith("postgresql") else None
    return found


async def _ready(gateway: Gateway) -> bool:
    return (await gateway.get("/readyz"))[0] == 200


def _stored(keeping: Keeping) -> tuple[list[str], list[str], list[str]]:
    """Ids of requests, of the requests in whose answers something was found, and of events."""
    try:
        requests, found, events = keeping.asked(
            "SELECT request_id FROM requests", "SELECT request_id FROM violations", "SELECT event_id FROM engagement"
        )
    except OperationalError:
        # The tables are not there yet.
        return [], [], []
    return requests, found, events


@pytest.mark.slow
async def test_each_answer_finding_and_sign_of_a_gateway_that_is_killed_is_recorded(
    tmp_path: Path, file_url: str
) -> None:
    keeping = Keeping(file_url, tmp_path)
    answered: list[str] = []
    told: list[str] = []
    asked = 0
    async with engine(answers_well("darn", " it")) as e:
        file = tmp_path / "world.json"
        keys = [access_key(tenant="games", assertsPlayers="true")]
        file.write_text(json.dumps({**guarded(e.port, policy_spec("Log")), "keys": keys}))
        flags = (f"--snapshot={file}", f"--records={keeping.base}", f"--records-dir={tmp_path}/records", "--grace=0s")

        async def talk(port: int) -> None:
            nonlocal asked
            while True:
                asked += 1
                event = {"event_id": f"e{asked}", "kind": "crisis_sign", "at": now()}
                try:
                    async with client(port) as c:
                        answer = await c.ask(chat())
                        sign = await c.ask({"player": f"anna-{asked}", "events": [event]}, path=EVENTS)
                except OSError:
                    return
                if answer.complete:
                    answered.append(answer.fields["x-request-id"])
                if sign.complete and sign.status == 202:
                    told.append(event["event_id"])
                if not sign.complete:
                    return

        for workers in (2, 1, 2):
            async with gateway_process(*flags, f"--workers={workers}") as g:
                await until(functools.partial(_ready, g))
                enough, signs = len(answered) + 50, len(told) + 10
                talking = [asyncio.ensure_future(talk(g.port)) for _ in range(4)]
                await until(lambda enough=enough, signs=signs: len(answered) >= enough and len(told) >= signs)  # type: ignore[misc]
                g.child.kill()
                await g.child.communicate()
                await asyncio.gather(*talking)

        def all_stored() -> bool:
            requests, found, events = _stored(keeping)
            return set(answered) <= set(requests) & set(found) and set(told) <= set(events)

        flag = f"--subject-keys={tmp_path}/subject-keys"
        async with (
            records_process(file_url, "--auth=none", flag, port=keeping.port),
            gateway_process(*flags) as g,
        ):
            await until(all_stored)
            g.child.terminate()
            await g.child.communicate()
    for ids in _stored(keeping):
        assert len(ids) == len(set(ids)), "none is doubled"
    requests, _, _ = _stored(keeping)
    assert len(answered) <= len(requests) <= asked
    # Nothing of it is left over but what is known of players.
    left = {path.name for path in (tmp_path / "records").rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith("players")} == {"lock"}

"""What clients and engines say stays out of everything that a gateway writes for others to read."""

import asyncio
import signal
from pathlib import Path

import orjson
import pytest

from tests.gateway.clients import CHAT, Answer, chat, client, exchange, request
from tests.gateway.engines import Asked, completion, engine
from tests.gateway.fakeapi import REVIEWS, SECRETS, SLICES, TABLES, fake_api, key_secret, slice_object, table_object
from tests.gateway.gateways import until
from tests.gateway.processes import Process, process
from tests.gateway.test_follow import HASH
from tests.gateway.worlds import CANARY, KEY, STABLE, endpoints, shadowed_table

PLANT = "planted-"
READER = "system:serviceaccount:monitoring:prometheus"
TOKEN = f"{PLANT}reader-token"


async def engine_that_says_too_much(asked: Asked) -> None:
    """Words of its own in every place that an engine has: an answer, a refusal, its headers, a broken stream."""
    fields = f"x-engine: {PLANT}engine-header\r\n"
    text = str(asked.body["messages"][-1]["content"])
    if "refuse" in text:
        await asked.answer(400, {"error": {"message": f"{PLANT}engine-refusal", "code": f"{PLANT}code"}}, fields)
    elif "fail" in text:
        await asked.answer(500, f"{PLANT}engine-failure".encode(), fields)
    elif asked.body.get("stream"):
        await asked.begin_stream(fields)
        await asked.say(f"{PLANT}streamed")
        await asked.event(f"{PLANT}no-json".encode())
    else:
        await asked.answer(200, {**completion(asked.model, f"{PLANT}answer"), "id": f"{PLANT}id"}, fields)


def requests() -> list[bytes]:
    """Secrets in every place that a client has."""
    spoken = chat(
        f"{PLANT}prompt",
        metadata={"session": f"{PLANT}session"},
        prompt_cache_key=f"{PLANT}cache-key",
        user=f"{PLANT}player",
    )
    fields = {
        "x_session_id": f"{PLANT}session-header",
        "x_request_id": f"{PLANT}request-id",
        "cookie": f"c={PLANT}cookie",
        "x_api_key": f"{PLANT}api-key",
        "user_agent": f"{PLANT}agent",
        "baggage": f"a={PLANT}baggage",
        "tracestate": f"a={PLANT}tracestate",
        "forwarded": f"for={PLANT}forwarded",
        f"x-{PLANT}name": f"{PLANT}value",
    }
    turned = f"{PLANT}\u202emodel\x1b[31m\n"
    return [
        request(spoken, **fields),
        request({**spoken, "stream": True}, **fields),
        request(chat(f"refuse {PLANT}prompt"), **fields),
        request(chat(f"fail {PLANT}prompt"), **fields),
        request(spoken, authorization=f"Bearer us-{PLANT}wrong-key"),
        request(spoken, authorization=f"Basic {PLANT}password"),
        request({**spoken, "model": turned}),
        request({**spoken, "model": f"{PLANT}namespace/{KEY}"}),
        request({**spoken, f"{PLANT}field": f"{PLANT}field-value"}),
        request({**spoken, "temperature": f"{PLANT}type"}),
        request(f'{{"model": "{PLANT}cut'.encode()),
        request(spoken, content_encoding=f"{PLANT}encoding"),
        request(spoken, x_understudy_variant=f"{PLANT}variant"),
        request(spoken, f"/v1/{PLANT}path"),
        request(spoken, f"{CHAT}?key={PLANT}query"),
        request(spoken, method=f"{PLANT}METHOD".upper()),
        request(spoken, transfer_encoding=f"{PLANT}coding"),
        request(spoken, host=f"{PLANT}host", expect=f"{PLANT}expectation"),
        f"{PLANT}nonsense\r\n\r\n".encode(),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holds(text: bytes, secret: str) -> bool:
    """Whether `secret` is in there, in whatever case."""
    return secret.encode().lower() in text.lower()


async def read_by(p: Process, path: str, token: str) -> Answer:
    """What the admin port tells whoever shows `token`."""
    async with client(p.admin) as c:
        await c.send(request(b"", path, "GET", authorization=f"Bearer {token}", content_type="", content_length=""))
        return await c.answer()


@pytest.mark.slow
async def test_nothing_that_clients_and_engines_say_is_in_logs_metrics_state_or_files(tmp_path: Path) -> None:
    async with engine(engine_that_says_too_much) as e, engine(engine_that_says_too_much) as shadow, fake_api() as api:
        api.put(TABLES, table_object(shadowed_table()))
        api.put(SLICES, slice_object(endpoints(STABLE, [e.port])))
        api.put(SLICES, slice_object(endpoints(CANARY, [shadow.port])))
        api.put(SECRETS, key_secret("key", HASH))
        api.users[TOKEN] = READER
        records = ("--records=http://127.0.0.1:9", f"--records-dir={tmp_path}/records")
        kept = (f"--state-dir={tmp_path}", f"--pairs-dir={tmp_path}", f"--requests-dir={tmp_path}", *records)
        flags = (f"--api-server={api.url}", *kept, "--grace=0s")
        admin = ("--admin-auth=token", f"--admin-subject={READER}")
        async with process(*flags, *admin, "--log-level=debug", "--shutdown-timeout=1s") as p:

            async def ready() -> bool:
                return (await p.get("/readyz"))[0] == 200

            await until(ready)
            statuses = [(await exchange(p.port, raw))[0].status for raw in requests()]
            assert statuses[0] == 200
            assert {400, 401, 404, 415} <= set(statuses)
            await shadow.request()
            state, metrics = await read_by(p, "/state", TOKEN), await read_by(p, "/metrics", TOKEN)
            assert (state.status, metrics.status) == (200, 200)
            assert (await read_by(p, "/state", f"{PLANT}nobody")).status == 403
            api.fail[REVIEWS] = 500
            assert (await read_by(p, f"/metrics?{PLANT}query", f"{PLANT}unknown")).status == 503
            await until((tmp_path / "world.json").exists)
            p.child.send_signal(signal.SIGTERM)
            said, errors = await asyncio.wait_for(p.child.communicate(), 60)
    written = contents(tmp_path)
    outputs = {"stdout": said, "log": errors, "state": bytes(state.body), "metrics": bytes(metrics.body), **written}
    # All of them were told of these requests, and there is something in them to search.
    assert f"{PLANT}prompt" in str(e.asked[0].body)
    assert b"token review" in errors
    assert orjson.loads(state.body)["deployments"]["default/story"]["revisions"][STABLE]["attempts"] >= 3
    assert b"understudy_refused_total" in outputs["metrics"]
    assert HASH.encode() in written["world.json"]
    assert {"world.json", "pairs.jsonl", "requests.jsonl"} <= set(written)
    logged = [orjson.loads(line) for line in written["requests.jsonl"].splitlines()]
    assert {line["status"] for line in logged} >= {200, 400, 502}
    assert {line["key"] for line in logged} == {HASH[:8]}
    assert HASH.encode() not in written["requests.jsonl"]
    found = [(name, secret) for name, text in outputs.items() for secret in (PLANT, KEY) if holds(text, secret)]
    assert found == []

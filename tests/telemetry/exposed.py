"""What `/metrics` really shows: of a gateway that has been through everything that it counts, and of an operator."""

import asyncio
import shutil
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.engine import virtual
from tests.engine.cluster import Operator, stage
from tests.gateway.certificates import NAME, certify, issue
from tests.gateway.clients import CHAT, chat
from tests.gateway.engines import engine
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, fake_api, key_secret, slice_object, table_object
from tests.gateway.gateways import until
from tests.gateway.guardrails import guard, policy_spec
from tests.gateway.processes import process
from tests.gateway.test_follow import HASH
from tests.gateway.worlds import CANARY, KEY, STABLE, endpoints, shadowed_table, table
from understudy.telemetry.records import RecordsMetrics

# Labels of single values of histograms.
OF_BUCKETS = {"le"}


@dataclass(frozen=True)
class Family:
    """One metric as queries know it: what its samples are called, its type, its labels."""

    name: str
    kind: str
    labels: frozenset[str]
    samples: frozenset[str]


def families(text: str) -> dict[str, Family]:
    """Everything of ours in an exposition, by name; each must have samples to tell its labels by."""
    found = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("process_"):
            assert family.samples, f"{family.name} shows nothing: the scenario must make it"
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Family(name, family.type, _labels([family]), frozenset(s.name for s in family.samples))
    return found


def _labels(of: Iterable[Metric]) -> frozenset[str]:
    return frozenset(label for family in of for sample in family.samples for label in sample.labels) - OF_BUCKETS


async def gateway_metrics(folder: Path) -> str:
    """The metrics of a gateway of two workers: TLS both ways, an API server, texts of a shadow, a name without pods,
    a Guardrail.
    """
    trust = certify(folder, "story")
    authority, engines = folder / "authority", folder / "engines"
    authority.mkdir()
    certify(authority, "authority")
    issue(engines, authority, "engines", "subjectAltName=DNS:*.default.svc")
    shutil.copy(authority / "tls.crt", engines / "ca.crt")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(engines / "tls.crt", engines / "tls.key")
    async with engine(tls=tls) as stable, engine(tls=tls) as shadow, fake_api() as api:
        routes = shadowed_table(text=True)
        for variant in routes["spec"]["variants"]:
            variant["tls"] = True
        said, parts = guard(policy_spec("Redact"), "calm")
        routes["spec"]["guards"] = [said]
        for part in parts:
            api.single[f"/api/v1/namespaces/default/configmaps/{part['name']}"] = {
                "binaryData": {"policy": part["data"]}
            }
        api.put(TABLES, table_object(routes))
        api.put(TABLES, table_object(table(name="empty", names=("nobody",), queue={"deadlineSeconds": 0.05})))
        api.put(SLICES, slice_object(endpoints(STABLE, [stable.port])))
        api.put(SLICES, slice_object(endpoints(CANARY, [shadow.port])))
        api.put(SECRETS, key_secret("key", HASH))
        folders = (f"--tls-dir={folder}", f"--engine-tls-dir={engines}")
        records = ("--records=http://127.0.0.1:9", f"--records-dir={folder}/records")
        kept = (f"--pairs-dir={folder}", f"--requests-dir={folder}", *records)
        async with process(f"--api-server={api.url}", *folders, *kept, "--grace=0s", "--workers=2") as p:

            async def ready() -> bool:
                return (await p.get("/readyz"))[0] == 200

            async def compared() -> bool:
                # Of requests workers tell four times a second, of pairs at once.
                text = (await p.get("/metrics"))[1]
                return all(f"understudy_{name}_total{{" in text for name in ("shadow_pairs", "requests")) and (
                    'understudy_guard_held_seconds_count{deployment="default/story",kind="last"}' in text
                )

            await until(ready)
            assert await _ask(p.port, trust, "storyteller", stream=True) == 200
            assert await _ask(p.port, trust, "nobody") == 504
            assert await _ask(p.port, trust, "unknown") == 404
            await until(compared)
            return (await p.get("/metrics"))[1]


def records_metrics() -> str:
    """The metrics of records that granted a lease, stored and lost a record, judged a player, and failed once."""
    metrics = RecordsMetrics()
    metrics.answers.labels("granted").inc()
    metrics.failures.labels("disk_full").inc()
    metrics.stored.labels("request").inc()
    metrics.lost.labels("request").inc()
    metrics.refusals.labels("disk_full").inc()
    metrics.players.labels("L0").set(1)
    metrics.interventions.labels("Remind").inc()
    return metrics.render(behind=0.0, lapsed=0).decode()


async def _ask(port: int, trust: ssl.SSLContext, model: str, *, stream: bool = False) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        session.post(
            f"https://127.0.0.1:{port}{CHAT}",
            json=chat(model=model, stream=stream),
            headers={"authorization": f"Bearer {KEY}"},
            server_hostname=NAME,
        ) as answer,
    ):
        await answer.read()
        return answer.status


def operator_metrics() -> str:
    """The metrics of an operator that has led, rolled out, and taken back."""

    async def rolled_back() -> str:
        async with stage() as cluster:
            operator = Operator(cluster)
            cluster.deployment()
            await cluster.until("Stable")
            cluster.deployment(engine={"args": ["--text=bad"]})
            await cluster.until("Canary")
            cluster.failing.add(cluster.status()["candidate"])
            await cluster.until("RolledBack")
            await asyncio.sleep(1)
            text = operator.process.metrics.render().decode()
            await operator.kill()
            return text

    texts: list[str] = []

    async def main() -> None:
        texts.append(await rolled_back())

    virtual.run(main())
    return texts[0]

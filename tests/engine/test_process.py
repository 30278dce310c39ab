"""Whole operators on a cluster in memory: they start, lead, stop, die and take over."""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.cluster import SHOP, SYSTEM, Cluster, Operator, stage
from tests.engine.fake_api import status_error
from understudy.domain.conditions import find
from understudy.domain.names import API_VERSION, MASTER_KEY_SECRET, engine_key, master_id
from understudy.engine import jury, policies, replayer
from understudy.engine.options import Options
from understudy.engine.process import scopes
from understudy.engine.startup import CannotStartError
from understudy.engine.wake import Work
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    LEASE,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    NODE,
    POD,
    ROUTING_TABLE,
    SECRET,
)


def on_a_cluster(test: Callable[[Cluster], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test on a fresh cluster in virtual time."""

    def wrapped() -> None:
        async def main() -> None:
            async with stage() as cluster:
                await test(cluster)

        virtual.run(main())

    wrapped.__name__ = test.__name__
    return wrapped


def holder(cluster: Cluster) -> str:
    lease = cluster.api.read(LEASE, SYSTEM, "understudy-operator")
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


@on_a_cluster
async def test_a_model_deployment_comes_to_serve(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    status = cluster.status()
    assert status["stable"] == status["target"]["revision"]
    table = cluster.api.read(ROUTING_TABLE, SHOP, "talk")
    assert table is not None
    assert [(v["revision"], v["weight"]) for v in table["spec"]["variants"]] == [(status["stable"], 100)]
    await operator.kill()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies are compiled in the loop: virtual time does not wait for threads."""

    async def here(work: Callable[..., object], *given: object) -> object:
        return work(*given)

    for module in (jury, policies, replayer):
        monkeypatch.setattr(module, "aside", here)


@pytest.mark.usefixtures("at_once")
def test_a_guarded_deployment_comes_to_serve_when_gateways_guard_it() -> None:
    async def main() -> None:
        async with stage() as cluster:
            operator = Operator(cluster)
            cluster.refuses = "not yet"
            rule = {"category": "pii", "actions": {"high": ["Block"]}}
            spec = {"selector": {}, "detectors": [{"name": "pii", "type": "pii"}], "rules": [rule]}
            cluster.api.put(GUARDRAIL, {"metadata": {"name": "safe", "namespace": SHOP}, "spec": spec})
            cluster.deployment()
            await asyncio.sleep(60)
            assert cluster.status()["phase"] == "Preparing"
            assert condition(cluster.status(), "Reconciling") == ("True", "GuardrailNotEnforced")
            assert condition(guardrail(cluster), "Enforcing") == ("False", "NotLoaded")
            cluster.refuses = ""
            await cluster.until("Stable")
            await asyncio.sleep(40)
            assert condition(guardrail(cluster), "Enforcing") == ("True", "Enforced")
            assert condition(cluster.status(), "GuardrailsEnforced") == ("True", "Enforced")
            assert "counters" not in guardrail(cluster)
            cluster.found = {"safe/pii/6": 3}
            await asyncio.sleep(70)
            assert guardrail(cluster)["counters"] == {"pii": 6}, "of two gateways"
            written = len(cluster.api.writes())
            await asyncio.sleep(120)
            assert guardrail(cluster)["counters"] == {"pii": 6}
            assert not [call for call in cluster.api.writes()[written:] if call.resource == GUARDRAIL]
            await operator.kill()

    virtual.run(main())


@pytest.mark.usefixtures("at_once")
def test_a_candidate_that_fails_a_probe_set_is_heard_by_nobody() -> None:
    async def main() -> None:
        async with stage() as cluster:
            operator = Operator(cluster)
            pattern = {"name": "knave", "literal": "knave", "category": "insult"}
            spec = {
                "selector": {},
                "detectors": [{"name": "words", "type": "patterns", "patterns": [pattern]}],
                "rules": [{"category": "insult", "actions": {"high": ["Block"]}}],
                "probeSet": {"configMapRef": {"name": "prompts"}},
            }
            prompts = "\n".join(f'{{"id": "greeting-{n}", "prompt": "Greet me."}}' for n in range(3))
            cluster.api.put(CONFIG_MAP, {"metadata": {"name": "prompts", "namespace": SHOP}, "data": {"p": prompts}})
            cluster.api.put(GUARDRAIL, {"metadata": {"name": "safe", "namespace": SHOP}, "spec": spec})
            cluster.deployment()
            await cluster.until("Stable")
            cluster.says = lambda model: "Hail, knave!" if not model.endswith(cluster.status()["stable"]) else "Hail!"
            cluster.deployment(engine={"image": "understudy:2"})
            await cluster.until("RolledBack")
            (failure,) = cluster.status()["failed"]
            assert failure["reason"] == "ProbeSetFailed"
            assert failure["message"] == (
                "Guardrail safe: 3 of 3 answers have findings from severity 4 on, 0 of stable's, at most 0 more are "
                "borne: greeting-0 (insult), greeting-1 (insult), greeting-2 (insult)"
            )
            tables = [call.body for call in cluster.api.writes() if call.resource == ROUTING_TABLE]
            assert tables
            assert not [table for table in tables if failure["revision"] in str(table["spec"]["variants"])]
            await operator.kill()

    virtual.run(main())


def guardrail(cluster: Cluster) -> Mapping[str, Any]:
    return (cluster.api.read(GUARDRAIL, SHOP, "safe") or {}).get("status") or {}


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    found = find(status.get("conditions") or (), kind) or {}
    return found.get("status", ""), found.get("reason", "")


@on_a_cluster
async def test_an_edit_goes_by_steps_to_the_new_revision_and_the_old_one_goes(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    first = cluster.status()["stable"]
    cluster.deployment(engine={"args": ["--text=other"]})
    await cluster.until("Canary")
    await cluster.until("Stable")
    assert cluster.status()["stable"] != first
    await asyncio.sleep(60)
    assert cluster.api.read(DEPLOYMENT, SHOP, f"talk-{first}") is None
    assert cluster.api.read(MODEL_SNAPSHOT, SHOP, f"talk-{first}") is not None
    await operator.kill()


@on_a_cluster
async def test_a_revision_that_fails_its_clients_goes_back_by_itself(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    first = cluster.status()["stable"]
    cluster.deployment(engine={"args": ["--text=bad"]})
    await cluster.until("Canary")
    cluster.failing.add(cluster.status()["candidate"])
    await cluster.until("RolledBack")
    assert cluster.status()["stable"] == first
    await operator.kill()


@on_a_cluster
async def test_two_deployments_that_swap_their_names_leave_none_unserved(cluster: Cluster) -> None:
    operator = Operator(cluster)

    def serving() -> dict[str, set[str]]:
        tables = {name: cluster.api.read(ROUTING_TABLE, SHOP, name) for name in ("talk", "walk")}
        return {name: set(table["spec"]["servedNames"]) for name, table in tables.items() if table is not None}

    cluster.deployment("talk", servedNames=["a"])
    cluster.deployment("walk", servedNames=["b"])
    await cluster.until("Stable", "talk")
    await cluster.until("Stable", "walk")
    assert serving() == {"talk": {"a", "shop/talk"}, "walk": {"b", "shop/walk"}}
    cluster.deployment("talk", servedNames=["b"])
    cluster.deployment("walk", servedNames=["a"])
    for _ in range(240):
        assert {"a", "b"} <= set().union(*serving().values())
        await asyncio.sleep(0.25)
    assert serving() == {"talk": {"b", "shop/talk"}, "walk": {"a", "shop/walk"}}
    for name in ("talk", "walk"):
        assert {c["type"]: c["status"] for c in cluster.status(name)["conditions"]}["Ready"] == "True"
    await operator.kill()


@on_a_cluster
async def test_at_rest_nothing_is_written(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    await asyncio.sleep(60)
    cluster.api.calls.clear()
    await asyncio.sleep(400)  # one resync, a dozen looks
    assert [(c.verb, c.resource.kind, c.name) for c in cluster.api.writes()] == []
    await operator.kill()


@pytest.mark.slow
@on_a_cluster
async def test_the_resync_does_not_put_everything_before_what_has_just_changed(cluster: Cluster) -> None:
    for number in range(30):
        cluster.deployment(f"talk-{number}")
    operator = Operator(cluster, resync=30.0)
    await cluster.until("Stable", "talk-29")
    await asyncio.sleep(60)
    added: list[float] = []
    add = operator.process.queue.add

    def noted(key: Work) -> None:
        added.append(virtual.now())
        add(key)

    operator.process.queue.add = noted  # type: ignore[method-assign]
    began = virtual.now()
    await asyncio.sleep(35)
    resynced = [at for at in added if at - began <= 30]
    assert len(resynced) >= 25
    assert max(Counter(round(at) for at in resynced).values()) < 10
    await operator.kill()


@on_a_cluster
async def test_with_nothing_there_a_resync_waits(cluster: Cluster) -> None:
    cluster.api.remove(MODEL, SHOP, "storyteller")
    operator = Operator(cluster, resync=5.0)
    await operator.lead()
    await asyncio.sleep(20)
    cluster.model()
    cluster.deployment()
    await cluster.until("Stable")
    await operator.kill()


@on_a_cluster
async def test_a_restart_over_what_is_unchanged_writes_nothing(cluster: Cluster) -> None:
    first = Operator(cluster, "op-1")
    for name in ("talk", "walk"):
        cluster.deployment(name)
        await cluster.until("Stable", name)
    await asyncio.sleep(60)
    first.process.stop()
    assert await first.task == 0
    cluster.api.calls.clear()
    second = Operator(cluster, "op-2")
    await second.lead()
    await asyncio.sleep(120)
    assert [(c.verb, c.resource.kind, c.name) for c in cluster.api.writes()] == []
    assert cluster.status()["phase"] == "Stable"
    await second.kill()


@pytest.mark.slow
@on_a_cluster
async def test_kopf_begins_when_every_deployment_has_been_looked_at_once(cluster: Cluster) -> None:
    for number in range(40):
        cluster.deployment(f"talk-{number}")
    operator = Operator(cluster, workers=4)
    await operator.lead()
    assert operator.source.began_after == []
    await cluster.until("Stable", "talk-39")
    (passes,) = operator.source.began_after
    assert passes >= 40 - 4
    await operator.kill()


@pytest.mark.slow
@on_a_cluster
async def test_a_new_leader_looks_at_each_deployment_once_before_all_else(cluster: Cluster) -> None:
    first = Operator(cluster, "op-1")
    for number in range(20):
        cluster.deployment(f"talk-{number}")
    await cluster.until("Stable", "talk-19")
    await asyncio.sleep(60)
    first.process.stop()
    assert await first.task == 0
    second = Operator(cluster, "op-2", workers=4)
    await second.lead()
    await asyncio.sleep(1)
    (passes,) = second.source.began_after
    assert 20 - 4 <= passes <= 20
    await second.kill()


@on_a_cluster
async def test_a_standby_needs_no_kopf(cluster: Cluster) -> None:
    leader = Operator(cluster, "op-1")
    await leader.lead()
    standby = Operator(cluster, "op-2")
    await asyncio.sleep(30)
    assert (leader.source.began_after, standby.source.began_after) == ([0.0], [])
    standby.process.stop()
    assert await standby.task == 0
    await leader.kill()


def secret_data(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    found = cluster.api.read(SECRET, namespace, name)
    assert found is not None
    return {field: base64.b64decode(value).decode(errors="replace") for field, value in found["data"].items()}


def change_master_key(cluster: Cluster) -> None:
    """Somebody puts another master key in the place of the old one."""
    data = {"master": base64.b64encode(b"n" * 32).decode()}
    cluster.api.remove(SECRET, SYSTEM, MASTER_KEY_SECRET)
    cluster.api.put(SECRET, {"metadata": {"name": MASTER_KEY_SECRET, "namespace": SYSTEM}, "data": data})


def said(cluster: Cluster, kind: str) -> tuple[str, str] | None:
    conditions = cluster.status()["conditions"]
    return next(((c["reason"], c["message"]) for c in conditions if c["type"] == kind), None)


@pytest.mark.slow
@on_a_cluster
async def test_under_another_master_key_revisions_keep_their_keys_and_new_ones_get_new_keys(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    first = cluster.status()["stable"]
    key = secret_data(cluster, SHOP, f"talk-{first}-key")["api-key"]
    pods = {obj["metadata"]["uid"] for obj in cluster.pods()}
    change_master_key(cluster)
    # The process notices, ends, and is started again.
    assert await operator.task == 1
    second = Operator(cluster, "op-2")
    await second.lead()
    await asyncio.sleep(30)
    assert secret_data(cluster, SYSTEM, MASTER_KEY_SECRET) == {
        "master": "n" * 32,
        "kept-for": master_id(b"n" * 32),
        f"{SHOP}.talk-{first}": key,
    }
    assert secret_data(cluster, SHOP, f"talk-{first}-key")["api-key"] == key
    assert {obj["metadata"]["uid"] for obj in cluster.pods()} == pods
    assert said(cluster, "Stalled") == ("Progressing", "")
    what = f"the master key has changed; {first} keeps the engine key that its pods have; the next one gets a new one"
    assert said(cluster, "EngineKeyKept") == ("MasterKeyChanged", what)
    # It is asked with the key that it has.
    assert {probe.key for probe in cluster.asked_with[-5:]} == {key}
    cluster.deployment(engine={"args": ["--text=other"]})
    await cluster.until("Canary")
    await cluster.until("Stable")
    latest = cluster.status()["stable"]
    assert latest != first
    assert secret_data(cluster, SHOP, f"talk-{latest}-key")["api-key"] == engine_key(b"n" * 32, SHOP, "talk", latest)
    await asyncio.sleep(60)
    assert said(cluster, "EngineKeyKept") is None
    await second.kill()
    # The next leader has nothing to keep any more.
    third = Operator(cluster, "op-3")
    await third.lead()
    await asyncio.sleep(10)
    assert f"{SHOP}.talk-{first}" not in secret_data(cluster, SYSTEM, MASTER_KEY_SECRET)
    await third.kill()


@on_a_cluster
async def test_a_kept_key_secret_that_is_deleted_comes_back_with_the_kept_key(cluster: Cluster) -> None:
    first = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    name = f"talk-{cluster.status()['stable']}-key"
    key = secret_data(cluster, SHOP, name)
    await first.kill()
    change_master_key(cluster)
    second = Operator(cluster, "op-2")
    await second.lead()
    await asyncio.sleep(10)
    cluster.api.remove(SECRET, SHOP, name)
    await asyncio.sleep(10)
    assert secret_data(cluster, SHOP, name) == key
    await second.kill()


@on_a_cluster
async def test_a_master_key_that_is_deleted_is_put_back_as_it_was(cluster: Cluster) -> None:
    operator = Operator(cluster)
    await operator.lead()
    await asyncio.sleep(1)
    before = secret_data(cluster, SYSTEM, MASTER_KEY_SECRET)
    cluster.api.remove(SECRET, SYSTEM, MASTER_KEY_SECRET)
    await asyncio.sleep(11)
    assert secret_data(cluster, SYSTEM, MASTER_KEY_SECRET) == before
    assert operator.leads
    await operator.kill()


@on_a_cluster
async def test_engine_keys_that_cannot_be_seen_to_end_the_term(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.api.fail(status_error(422, "Invalid", "no"), verb="apply", kind="Secret")
    assert await operator.task == 1


@on_a_cluster
async def test_asked_to_stop_it_releases_the_lease_and_ends_well(cluster: Cluster) -> None:
    operator = Operator(cluster)
    await operator.lead()
    assert holder(cluster) == "op-1"
    operator.process.stop()
    assert await operator.task == 0
    assert holder(cluster) == ""


@on_a_cluster
async def test_asked_to_stop_while_standing_by_it_ends_well_and_leaves_the_lease_alone(cluster: Cluster) -> None:
    one = Operator(cluster, "op-1")
    await one.lead()
    two = Operator(cluster, "op-2")
    await asyncio.sleep(5)
    two.process.stop()
    assert await two.task == 0
    assert holder(cluster) == "op-1"
    await one.kill()


@on_a_cluster
async def test_asked_to_stop_before_it_has_listed_anything_it_ends_well(cluster: Cluster) -> None:
    operator = Operator(cluster)
    await asyncio.sleep(0.015)
    operator.process.stop()
    assert await operator.task == 0


@on_a_cluster
async def test_started_while_the_api_server_is_away_it_waits_and_then_works(cluster: Cluster) -> None:
    cluster.api.stop()
    operator = Operator(cluster)
    await asyncio.sleep(60)
    assert not operator.task.done()
    cluster.api.stop(False)
    await operator.lead()
    await operator.kill()


@on_a_cluster
async def test_asked_to_stop_while_the_api_server_is_away_it_does_not_wait_for_it(cluster: Cluster) -> None:
    cluster.api.stop()
    operator = Operator(cluster)
    await asyncio.sleep(5)
    asked_at = virtual.now()
    operator.process.stop()
    assert await operator.task == 0
    assert virtual.now() - asked_at < 10


@pytest.mark.slow
@on_a_cluster
async def test_of_two_one_works_and_after_a_kill_the_other_takes_over(cluster: Cluster) -> None:
    one, two = Operator(cluster, "op-1"), Operator(cluster, "op-2")
    cluster.deployment()
    await cluster.until("Stable")
    leader, standby = (one, two) if one.leads else (two, one)
    assert not standby.leads
    cluster.deployment(engine={"args": ["--text=other"]})
    await cluster.until("Canary")
    await leader.kill()
    killed_at = virtual.now()
    await standby.lead()
    assert virtual.now() - killed_at <= 15
    await cluster.until("Stable")
    assert cluster.status()["stable"] == cluster.status()["target"]["revision"]
    await standby.kill()


@on_a_cluster
async def test_a_leader_that_is_cut_off_stops_and_ends_while_the_other_goes_on(cluster: Cluster) -> None:
    one = Operator(cluster, "op-1")
    await one.lead()
    cluster.deployment()
    await cluster.until("Preparing")
    cluster.api.stop()
    assert await one.task == 1
    wrote = len(cluster.api.writes())
    await asyncio.sleep(30)
    assert len(cluster.api.writes()) == wrote
    cluster.api.stop(False)
    two = Operator(cluster, "op-2")
    await cluster.until("Stable")
    await two.kill()


@on_a_cluster
async def test_a_lease_that_another_took_ends_the_process(cluster: Cluster) -> None:
    operator = Operator(cluster)
    await operator.lead()
    cluster.api.patch(
        LEASE, SYSTEM, "understudy-operator", lambda lease: lease["spec"].update(holderIdentity="usurper")
    )
    assert await operator.task == 1
    assert holder(cluster) == "usurper"


@on_a_cluster
async def test_a_part_that_dies_ends_the_process(cluster: Cluster) -> None:
    operator = Operator(cluster)
    await operator.lead()
    operator.deaths[0]("Kopf ended by itself")
    assert await operator.task == 1


@on_a_cluster
async def test_a_defect_in_a_part_ends_the_process(cluster: Cluster) -> None:
    def broken(_obj: object) -> None:
        raise ZeroDivisionError

    operator = Operator(cluster)
    await operator.lead()
    operator.process.cache.upsert = broken  # type: ignore[assignment,method-assign]
    cluster.deployment()
    assert await operator.task == 1


@on_a_cluster
async def test_without_crds_it_says_what_to_do(cluster: Cluster) -> None:
    cluster.api.groups[API_VERSION] = frozenset()
    with pytest.raises(CannotStartError, match="install the CRDs first"):
        await Operator(cluster).task


@on_a_cluster
async def test_a_new_terms_epoch_is_above_that_of_any_table(cluster: Cluster) -> None:
    spec = {"epoch": 41, "servedNames": [], "variants": []}
    cluster.api.put(ROUTING_TABLE, {"metadata": {"name": "old", "namespace": SHOP}, "spec": spec})
    operator = Operator(cluster)
    await operator.lead()
    assert operator.process.elector.epoch == 42
    await operator.kill()


@on_a_cluster
async def test_a_child_that_is_deleted_by_hand_comes_back(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    name = f"talk-{cluster.status()['stable']}"
    cluster.api.remove(DEPLOYMENT, SHOP, name)
    await asyncio.sleep(1)
    assert cluster.api.read(DEPLOYMENT, SHOP, name) is not None
    await operator.kill()


@on_a_cluster
async def test_what_was_deleted_while_nobody_watched_is_noticed(cluster: Cluster) -> None:
    one = Operator(cluster, "op-1")
    cluster.deployment()
    await cluster.until("Stable")
    name = f"talk-{cluster.status()['stable']}"
    await asyncio.sleep(3)
    cluster.api.silence()
    cluster.api.remove(DEPLOYMENT, SHOP, name)
    cluster.api.compact()
    cluster.api.silence(False)
    cluster.api.cut_watches()
    await asyncio.sleep(10)
    assert cluster.api.read(DEPLOYMENT, SHOP, name) is not None
    await one.kill()


@pytest.mark.slow
@on_a_cluster
async def test_the_api_server_away_for_half_a_minute_in_mid_rollout_changes_nothing_about_its_end(
    cluster: Cluster,
) -> None:
    operators = [Operator(cluster, "op-1"), Operator(cluster, "op-2")]
    cluster.deployment()
    await cluster.until("Stable")
    cluster.deployment(engine={"args": ["--text=other"]})
    await cluster.until("Canary")
    cluster.api.stop()
    await asyncio.sleep(30)
    cluster.api.stop(False)
    for number, operator in enumerate(list(operators)):
        if operator.task.done():  # as the kubelet does
            operators[number] = Operator(cluster, f"op-{number}-again")
    await cluster.until("Stable")
    assert cluster.status()["stable"] == cluster.status()["target"]["revision"]
    for operator in operators:
        await operator.kill()


def test_the_whole_cluster_is_watched_or_only_some_namespaces() -> None:
    everywhere = scopes(Options(namespace=SYSTEM, identity="me"))
    assert {scope.namespace for scope in everywhere if scope.resource == MODEL_DEPLOYMENT} == {""}
    assert NODE in {scope.resource for scope in everywhere}
    narrow = scopes(Options(namespace=SYSTEM, identity="me", watch_namespaces=("a", "b")))
    assert {scope.namespace for scope in narrow} == {"a", "b", SYSTEM}
    assert NODE not in {scope.resource for scope in narrow}
    assert [s.label_selector for s in narrow if s.resource == POD and s.namespace == SYSTEM] == [
        "app.kubernetes.io/component=gateway"
    ]

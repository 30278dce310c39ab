"""What a plan gets to see."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.objects import SPACE, child, deployment, made, scope
from tests.engine.test_gateways import Fleet
from tests.engine.test_prober import Pod
from understudy.domain.key import Key
from understudy.engine.cache import Cache
from understudy.engine.clock import Clock
from understudy.engine.gateways import GatewayPoller
from understudy.engine.observe import Carried, Sources, observe
from understudy.engine.prober import Prober
from understudy.engine.wake import Waker
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    NETWORK_POLICY,
    NODE,
    POD,
    ROUTING_TABLE,
    SECRET,
    SERVICE,
    Resource,
)
from understudy.kube.trim import CONTENT_HASH
from understudy.plan.memory import Memory
from understudy.plan.observed import Observed, Settings
from understudy.telemetry.operator import OperatorMetrics

TALK = Key(SPACE, "talk")
SETTINGS = Settings(system_namespace="system", gateway_url="http://gateway")


class Stage:
    def __init__(self) -> None:
        metrics = OperatorMetrics()
        self.cache = Cache(metrics, lambda: 0.0)
        waker = Waker(self.cache)
        self.cache.listen(waker.changed)
        poller = GatewayPoller(
            self.cache, "system", Fleet(), interval=1, monotonic=lambda: 0.0, metrics=metrics, wake=_nobody
        )
        prober = Prober(Pod(), monotonic=lambda: 0.0, metrics=metrics, wake=lambda _key: None)
        clock = Clock(wall=lambda: 1000.0, monotonic=lambda: 5.0, process="me")
        self.sources = Sources(self.cache, waker, poller, prober, clock, SETTINGS)

    def put(self, resource: Resource, *objects: dict[str, Any]) -> None:
        for obj in objects:
            self.cache.upsert(scope(resource), obj)

    def observe(self, key: Key = TALK, **carried: Any) -> Observed:
        return observe(self.sources, key, 7, {}, Carried(**carried))

    def holders(self, name: str) -> dict[str, str]:
        found = self.observe(Key(SPACE, name)).name_holders
        return {served: holder.name for served, holder in found.items()}


def _nobody(_keys: Iterable[Key]) -> None:
    return None


def content(value: str) -> dict[str, Any]:
    return {CONTENT_HASH: value}


def test_a_deployment_comes_with_all_that_is_its_own() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment())
    stage.put(MODEL, made(MODEL, "storyteller"), made(MODEL, "other"))
    stage.put(MODEL_SNAPSHOT, child(MODEL_SNAPSHOT, "talk-11111111", "talk", "11111111"))
    stage.put(ROUTING_TABLE, child(ROUTING_TABLE, "talk", "talk"))
    stage.put(DEPLOYMENT, child(DEPLOYMENT, "talk-11111111", "talk", "11111111"), child(DEPLOYMENT, "x", "walk", "2"))
    stage.put(SERVICE, child(SERVICE, "talk-11111111", "talk", "11111111"))
    stage.put(SECRET, child(SECRET, "talk-11111111-key", "talk", "11111111", **content("k")))
    stage.put(POD, child(POD, "p1", "talk", spec={}, status={}), child(POD, "p2", "walk", spec={}, status={}))
    stage.put(NETWORK_POLICY, child(NETWORK_POLICY, "talk-gateways-only", "talk"))
    stage.put(NODE, made(NODE, "n1"))
    stage.put(GUARDRAIL, made(GUARDRAIL, "safe"), made(GUARDRAIL, "far", namespace="far"))
    seen = stage.observe()
    assert (seen.key, seen.epoch, seen.settings) == (TALK, 7, SETTINGS)
    assert (seen.now.wall, seen.now.monotonic, seen.now.process) == (1000.0, 5.0, "me")
    assert seen.deployment is not None
    assert seen.model is not None
    assert seen.model["metadata"]["name"] == "storyteller"
    assert [s["metadata"]["name"] for s in seen.snapshots] == ["talk-11111111"]
    assert seen.table is not None
    assert seen.policy is not None
    assert set(seen.pools) == set(seen.services) == set(seen.engine_keys) == {"11111111"}
    assert [p["metadata"]["name"] for p in seen.pods] == ["p1"]
    assert [n["metadata"]["name"] for n in seen.nodes] == ["n1"]
    assert [g["metadata"]["name"] for g in seen.guardrails] == ["safe"]


def test_a_child_without_a_revision_belongs_to_none() -> None:
    stage = Stage()
    stage.put(DEPLOYMENT, child(DEPLOYMENT, "odd", "talk"))
    assert stage.observe().pools == {}


def test_of_a_deleted_deployment_what_it_left_is_still_seen() -> None:
    stage = Stage()
    stage.put(MODEL_SNAPSHOT, child(MODEL_SNAPSHOT, "talk-1", "talk", "1"))
    seen = stage.observe()
    assert seen.deployment is None
    assert seen.model is None
    assert len(seen.snapshots) == 1
    assert seen.name_holders == {}


def test_references_of_spec_model_and_snapshots_carry_their_hash_or_none() -> None:
    stage = Stage()
    spec = {"engine": {"envFrom": [{"configMapRef": {"name": "tuning"}}, {"secretRef": {"name": "absent"}}]}}
    stage.put(MODEL_DEPLOYMENT, deployment(spec=spec))
    source = {"huggingFace": {"tokenSecretRef": {"name": "hf"}}}
    stage.put(MODEL, made(MODEL, "storyteller", spec={"source": source}))
    template = {"volumes": [{"configMap": {"name": "old"}}]}
    stage.put(MODEL_SNAPSHOT, child(MODEL_SNAPSHOT, "talk-1", "talk", "1", spec={"podTemplate": template}))
    stage.put(CONFIG_MAP, made(CONFIG_MAP, "tuning", **content("aa")), made(CONFIG_MAP, "old", **content("bb")))
    stage.put(SECRET, made(SECRET, "hf", **content("cc")))
    assert stage.observe().references == {
        ("ConfigMap", "tuning"): "aa",
        ("Secret", "absent"): None,
        ("ConfigMap", "old"): "bb",
        ("Secret", "hf"): "cc",
    }


def test_config_maps_are_the_copies_by_label_and_those_that_were_read() -> None:
    stage = Stage()
    stage.put(CONFIG_MAP, child(CONFIG_MAP, "talk-1-tuning", "talk", **content("x")))
    read = {"tuning": {"metadata": {"name": "tuning"}, "data": {"a": "1"}}}
    seen = observe(stage.sources, TALK, 1, read)
    assert set(seen.configmaps) == {"talk-1-tuning", "tuning"}
    assert seen.configmaps["tuning"]["data"] == {"a": "1"}


def test_what_the_last_pass_left_is_handed_on() -> None:
    memory = Memory(process="me", monotonic=1.0)
    seen = Stage().observe(memory=memory, refused="spec.x: no")
    assert (seen.memory, seen.refused) == (memory, "spec.x: no")


def claims(name: str, *served: str, born: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return deployment(name, {"servedNames": list(served)}, creationTimestamp=born)


def serves(name: str, *served: str) -> dict[str, Any]:
    return child(ROUTING_TABLE, name, name, spec={"servedNames": list(served)})


def test_a_name_that_nobody_else_wants_has_no_other_holder() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("talk", "tales"))
    assert stage.holders("talk") == {}


def test_who_serves_a_name_and_still_claims_it_holds_it_however_young() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("old", "tales", born="2025-01-01T00:00:00Z"), claims("young", "tales"))
    stage.put(ROUTING_TABLE, serves("young", "tales"))
    assert stage.holders("old") == {"tales": "young"}
    assert stage.holders("young") == {}


def test_while_nobody_serves_a_name_the_oldest_claim_holds_it() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("b", "tales", born="2025-01-01T00:00:00Z"), claims("a", "tales"))
    assert stage.holders("a") == {"tales": "b"}
    assert stage.holders("b") == {}


def test_of_equally_old_claims_the_first_by_name_holds() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("b", "tales"), claims("a", "tales"))
    assert stage.holders("b") == {"tales": "a"}
    assert stage.holders("a") == {}


def test_a_dropped_name_is_free_to_its_claimant_though_it_is_served_still() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("drops", "other"), claims("wants", "tales"))
    stage.put(ROUTING_TABLE, serves("drops", "tales", "other"))
    assert stage.holders("wants") == {}
    assert stage.holders("drops") == {}, "nobody else serves it yet"


def test_who_dropped_a_name_learns_when_its_claimant_serves_it() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("drops", "other"), claims("wants", "tales"))
    stage.put(ROUTING_TABLE, serves("drops", "tales", "other"), serves("wants", "tales"))
    assert stage.holders("drops") == {"tales": "wants"}


@pytest.mark.parametrize("how", ["deleted", "retired"])
def test_a_holder_that_is_gone_holds_nothing(how: str) -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("wants", "tales", born="2026-05-01T00:00:00Z"))
    if how == "retired":
        stage.put(MODEL_DEPLOYMENT, claims("gone", "tales", born="2026-06-01T00:00:00Z"))
        retired = child(ROUTING_TABLE, "gone", "gone", spec={"servedNames": ["tales"], "retired": True})
        stage.put(ROUTING_TABLE, retired)
    else:
        stage.put(ROUTING_TABLE, serves("gone", "tales"))
    assert stage.holders("wants") == {}


def test_the_same_name_in_two_namespaces_is_one_name() -> None:
    stage = Stage()
    far = deployment("talk", {"servedNames": ["tales"]}, namespace="far", creationTimestamp="2020-01-01T00:00:00Z")
    stage.put(MODEL_DEPLOYMENT, far, claims("talk", "tales"))
    assert stage.observe().name_holders == {"tales": Key("far", "talk")}


def test_the_full_name_of_a_deployment_is_its_own_however_old_another_claim() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, claims("squats", f"{SPACE}/talk", "org/model", born="2020-01-01T00:00:00Z"))
    stage.put(ROUTING_TABLE, serves("squats", f"{SPACE}/talk", f"{SPACE}/squats"))
    assert stage.holders("squats") == {}, "there is no such deployment yet"
    stage.put(MODEL_DEPLOYMENT, claims("talk", f"{SPACE}/talk"))
    stage.put(ROUTING_TABLE, serves("talk", f"{SPACE}/talk"))
    assert stage.holders("squats") == {f"{SPACE}/talk": "talk"}
    assert stage.holders("talk") == {}


def test_gateways_and_probes_are_seen_through_their_pollers() -> None:
    async def main() -> None:
        stage = Stage()
        seen = stage.observe()
        assert (seen.gateways, seen.probes) == ((), {})

    virtual.run(main())

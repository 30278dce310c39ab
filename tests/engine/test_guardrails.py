"""Guardrails as the operator works on them: texts, parts, status, and what is swept away."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.objects import SPACE, child, deployment, made
from tests.engine.test_reconcile import Stage
from understudy.domain.conditions import find
from understudy.domain.state import DetectorState, GatewayState, policy_key
from understudy.engine import policies
from understudy.engine.guardrails import configmaps_of, texts
from understudy.guard.policy import compile_policy
from understudy.guard.shards import unpack
from understudy.kube.client import Object
from understudy.kube.resources import CONFIG_MAP, GUARDRAIL, MODEL_DEPLOYMENT, ROUTING_TABLE
from understudy.plan.actions import Plan
from understudy.plan.guardrail import LINGER
from understudy.plan.observed import GatewayPod

RULES = [{"category": "words", "actions": {"high": ["Block"]}}]
SPEC: dict[str, Any] = {
    "detectors": [{"name": "words", "type": "lexicon", "configMapRef": {"name": "list"}}],
    "rules": RULES,
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time does not wait for threads."""

    async def here(work: Callable[..., Any], *given: Any) -> Any:
        return work(*given)

    monkeypatch.setattr(policies, "aside", here)


def words(text: str) -> dict[str, Any]:
    return {"metadata": {"name": "list", "namespace": SPACE}, "data": {"text": text}}


def rail(**spec: Any) -> dict[str, Any]:
    return made(GUARDRAIL, "safe", spec={**SPEC, **spec}, metadata={"generation": 1})


def status(stage: Stage) -> dict[str, Any]:
    return dict((stage.api.read(GUARDRAIL, SPACE, "safe") or {}).get("status") or {})


def said(stage: Stage, kind: str) -> tuple[str, str]:
    found = find(status(stage).get("conditions") or (), kind) or {}
    return found.get("status", ""), found.get("reason", "")


def parts(stage: Stage) -> dict[str, Object]:
    stored = (obj for name, obj in stage.api._objects.items() if name[0] == CONFIG_MAP)
    return {o["metadata"]["name"]: o for o in stored if o["metadata"]["name"].startswith("understudy-guard-")}


def new_stage() -> Stage:
    return Stage(lambda _: Plan((), {}))


def ruled_stage() -> Stage:
    """One with the Guardrail, and the list of words that it names."""
    stage = new_stage()
    stage.api.put(CONFIG_MAP, words("knave"))
    stage.api.put(GUARDRAIL, rail())
    return stage


def test_a_policy_is_written_in_parts_that_compile_to_it() -> None:
    async def main() -> None:
        stage = ruled_stage()
        async with stage.running():
            await asyncio.sleep(3)
            assert said(stage, "Ready") == ("True", "Compiled")
            (part,) = parts(stage).values()
            assert part["immutable"] is True
            arrived = compile_policy(*unpack([base64.b64decode(part["binaryData"]["policy"])]))
            assert (arrived.name, arrived.hash) == ("safe", status(stage)["policyHash"])
            assert status(stage)["shards"] == [part["metadata"]["name"]]
            assert status(stage)["guarantees"] == {"words": "exact"}

    virtual.run(main())


def test_a_text_that_is_edited_is_another_policy_and_one_that_is_wrong_leaves_the_last() -> None:
    async def main() -> None:
        stage = new_stage()
        stage.api.put(GUARDRAIL, rail())
        async with stage.running():
            await asyncio.sleep(3)
            assert said(stage, "Reconciling") == ("True", "ConfigMapNotFound")
            stage.api.put(CONFIG_MAP, words("knave"))
            await asyncio.sleep(3)
            first = status(stage)["policyHash"]
            stage.api.put(CONFIG_MAP, words("knave\nvarlet"))
            await asyncio.sleep(3)
            second = status(stage)["policyHash"]
            assert first != second
            stage.api.put(CONFIG_MAP, words("[No]"))
            await asyncio.sleep(3)
            assert said(stage, "Stalled") == ("True", "InvalidSpec")
            assert status(stage)["policyHash"] == second
            stage.api.put(CONFIG_MAP, words("knave"))
            await asyncio.sleep(3)
            assert (said(stage, "Ready")[0], status(stage)["policyHash"]) == ("True", first)
            assert len(parts(stage)) == 2, "the second may still be loaded by somebody"

    virtual.run(main())


PROMPTS = {"metadata": {"name": "prompts", "namespace": SPACE}, "data": {"set": '{"id": "a", "prompt": "Hello"}'}}


def test_a_probe_set_is_read_and_none_of_it_is_part_of_the_policy() -> None:
    async def main() -> None:
        stage = ruled_stage()
        async with stage.running():
            await asyncio.sleep(3)
            policy = status(stage)["policyHash"]
            stage.api.put(GUARDRAIL, rail(probeSet={"configMapRef": {"name": "prompts"}}))
            await asyncio.sleep(3)
            assert said(stage, "Reconciling") == ("True", "ConfigMapNotFound")
            assert "probeSet" not in status(stage)
            stage.api.put(CONFIG_MAP, PROMPTS)
            await asyncio.sleep(3)
            assert said(stage, "Ready") == ("True", "Compiled")
            first = status(stage)["probeSet"]
            assert (first["key"], first["prompts"]) == ("set", 1)
            assert status(stage)["policyHash"] == policy
            stage.api.put(CONFIG_MAP, {**PROMPTS, "data": {"set": '{"id": "a"}'}})
            await asyncio.sleep(3)
            assert said(stage, "Stalled") == ("True", "InvalidSpec")
            message = (find(status(stage)["conditions"], "Stalled") or {})["message"]
            assert message.startswith("probeSet.configMapRef: ConfigMap prompts, key set: line 1: write either prompt")
            assert status(stage)["policyHash"] == policy
            stage.api.put(CONFIG_MAP, {**PROMPTS, "data": {"set": '{"id": "b", "prompt": "Hello"}'}})
            await asyncio.sleep(3)
            assert status(stage)["probeSet"]["hash"] != first["hash"]

    virtual.run(main())


def test_a_restart_writes_and_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        stage = ruled_stage()
        async with stage.running():
            await asyncio.sleep(3)
        again = new_stage()
        again.api._objects, again.api._log = stage.api._objects, stage.api._log

        def compiled(*_of: object) -> None:
            raise AssertionError("it need not be compiled")

        monkeypatch.setattr(policies, "compiled", compiled)
        async with again.running():
            await asyncio.sleep(3)
        assert again.writes() == []

    virtual.run(main())


def test_a_part_that_somebody_deletes_is_made_again() -> None:
    async def main() -> None:
        stage = ruled_stage()
        async with stage.running():
            await asyncio.sleep(3)
            (name,) = parts(stage)
            stage.api.remove(CONFIG_MAP, SPACE, name)
            await asyncio.sleep(3)
            assert list(parts(stage)) == [name]

    virtual.run(main())


def test_deployments_for_which_it_holds_must_be_served_by_tables_that_name_it() -> None:
    async def main() -> None:
        stage = new_stage()
        stage.api.put(CONFIG_MAP, words("knave"))
        stage.api.put(MODEL_DEPLOYMENT, deployment("talk", {"guardrailRefs": [{"name": "safe"}]}))
        stage.api.put(MODEL_DEPLOYMENT, deployment("walk"))
        stage.api.put(GUARDRAIL, rail())
        async with stage.running():
            await asyncio.sleep(3)
            assert said(stage, "Enforcing") == ("False", "NoGateway")
            stage.api.remove(MODEL_DEPLOYMENT, SPACE, "talk")
            await asyncio.sleep(3)
            assert said(stage, "Enforcing") == ("False", "NotUsed")

    virtual.run(main())


def test_a_model_that_a_ladder_switches_to_must_be_served_by_its_own_name_or_another() -> None:
    async def main() -> None:
        stage = new_stage()
        stage.api.put(CONFIG_MAP, words("knave"))
        stage.api.put(MODEL_DEPLOYMENT, deployment("talk", {"guardrailRefs": [{"name": "safe"}]}))
        rungs = [
            {"per": "player", "count": 3, "within": "10m", "action": "SwitchModel", "to": name}
            for name in ("walk", "stroll")
        ]
        stage.api.put(GUARDRAIL, rail(ladder=rungs))
        async with stage.running():
            await asyncio.sleep(3)
            assert said(stage, "Enforcing") == ("False", "TargetNotFound")
            stage.api.put(MODEL_DEPLOYMENT, deployment("walk", {"servedNames": ["stroll"]}))
            await asyncio.sleep(3)
            assert said(stage, "Enforcing") == ("False", "NoGateway")

    virtual.run(main())


def test_how_its_detectors_do_is_said_and_since_when_that_is_so() -> None:
    async def main() -> None:
        stage = new_stage()
        served = {"name": "guard", "type": "moderations", "url": "https://guard.example", "timeout": "1s"}
        hate = {"category": "hate", "actions": {"high": ["Block"]}}
        stage.api.put(GUARDRAIL, rail(detectors=[served], rules=[hate]))
        stage.api.put(MODEL_DEPLOYMENT, deployment("talk", {"guardrailRefs": [{"name": "safe"}]}))
        told = DetectorState("no answer to the canary: status 500", 1_700_000_000.0)
        async with stage.running():
            await asyncio.sleep(3)
            assert said(stage, "DetectorsHealthy") == ("Unknown", "NoGateway")
            key = f"{policy_key(SPACE, 'safe', status(stage)['policyHash'])}/guard"
            pods = [GatewayPod("g", "g", GatewayState("s", 9.0, detectors={key: told}), 1.0)]
            stage.poller.observed = lambda: tuple(pods)  # type: ignore[method-assign]
            await asyncio.sleep(40)
            assert said(stage, "DetectorsHealthy") == ("False", "Unwell")
            began = find(status(stage)["conditions"], "DetectorsHealthy")
            pods[0] = GatewayPod("g", "g", GatewayState("s", 9.0, detectors={key: replace(told, why="slow")}), 1.0)
            await asyncio.sleep(40)
            now = find(status(stage)["conditions"], "DetectorsHealthy")
            assert began is not None
            assert now is not None
            assert now["message"].endswith(": slow")
            assert now["lastTransitionTime"] == began["lastTransitionTime"]

    virtual.run(main())


def test_parts_that_no_table_names_are_swept_away_after_an_hour_also_when_the_guardrail_is_gone() -> None:
    async def main() -> None:
        stage = ruled_stage()
        async with stage.running():
            await asyncio.sleep(3)
            (name,) = parts(stage)
            named = {"name": "safe", "policy": status(stage)["policyHash"], "shards": [name]}
            stage.api.put(ROUTING_TABLE, child(ROUTING_TABLE, "talk", "talk", spec={"epoch": 1, "guards": [named]}))
            stage.api.remove(GUARDRAIL, SPACE, "safe")
            await asyncio.sleep(2 * LINGER)
            assert list(parts(stage)) == [name]
            stage.api.put(ROUTING_TABLE, child(ROUTING_TABLE, "talk", "talk", spec={"epoch": 1}))
            await asyncio.sleep(LINGER - 5)
            assert list(parts(stage)) == [name]
            await asyncio.sleep(10)
            assert parts(stage) == {}

    virtual.run(main())


def detector(**reference: Any) -> dict[str, Any]:
    return {"detectors": [{"name": "words", "type": "lexicon", "configMapRef": {"name": "list", **reference}}]}


@pytest.mark.parametrize(
    ("spec", "held", "text"),
    [
        (detector(), {"data": {"a": "knave"}}, "knave"),
        (detector(key="b"), {"data": {"a": "knave", "b": ""}}, ""),
    ],
)
def test_the_text_of_a_detector_is_the_one_key_that_there_is_or_that_is_named(
    spec: dict[str, Any], held: dict[str, Any], text: str
) -> None:
    assert texts(spec, SPACE, {"list": held}) == ({"words": text}, "")


def test_the_text_of_a_detector_at_an_address_is_its_certificate_authority() -> None:
    remote = {"name": "remote", "type": "moderations", "url": "https://x", "caRef": {"name": "ca", "key": "ca.crt"}}
    spec = {"detectors": [remote]}
    assert configmaps_of(spec) == {("ConfigMap", "ca")}
    assert texts(spec, SPACE, {"ca": {"data": {"ca.crt": "PEM", "other": ""}}}) == ({"remote": "PEM"}, "")
    assert texts(spec, SPACE, {})[1] == (
        "detectors[remote].caRef: ConfigMap ca does not exist in namespace shop: make it"
    )


def test_a_detector_without_a_config_map_has_no_text() -> None:
    assert texts({"detectors": [{"name": "pii", "type": "pii"}]}, SPACE, {}) == ({}, "")
    assert texts({}, SPACE, {}) == ({}, "")


WHERE = "detectors[words].configMapRef: ConfigMap list"


@pytest.mark.parametrize(
    ("spec", "found", "says"),
    [
        (detector(), {}, f"{WHERE} does not exist in namespace shop: make it"),
        (detector(key="c"), {"list": {"data": {"a": "x"}}}, f"{WHERE} has no text under key c: write it there"),
        (detector(), {"list": {"data": {"b": "x", "a": "y"}}}, f"{WHERE} has texts under a, b: write which one as key"),
        (detector(), {"list": {"binaryData": {"a": "eA=="}}}, f"{WHERE} has no text: write one"),
    ],
)
def test_a_text_that_is_missing_is_named_with_what_to_write(
    spec: dict[str, Any], found: dict[str, Any], says: str
) -> None:
    assert texts(spec, SPACE, found) == ({}, says)


def test_all_that_is_missing_is_said_at_once() -> None:
    spec = {"detectors": [*detector()["detectors"], {"name": "more", "configMapRef": {"name": "other"}}]}
    assert texts(spec, SPACE, {})[1].count("does not exist") == 2

"""The revision moves with everything that shapes the pod, and with nothing else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.desired.specs import HASH, SETTINGS, Manifest, deployment, model, render
from understudy.domain.revision import revision_hash
from understudy.plan.desired.children import snapshot_manifest
from understudy.plan.observed import Settings

REFERENCES: Any = {("ConfigMap", "cm"): HASH, ("Secret", "s"): HASH}
FULL = deployment(
    engine={
        "image": "engine:1",
        "args": ["--max-model-len=512", "--seed=1"],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "cm"}}],
        "startupTimeout": "10m",
        "shutdownTimeout": "60s",
    },
    accelerator={"resource": "nvidia.com/gpu", "count": 2, "products": ["B", "A"], "minMemory": "24Gi"},
    resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    podTemplate={"nodeSelector": {"zone": "a"}, "labels": {"team": "x"}},
    replicas=2,
    servedNames=["one"],
    probes={"interval": "5s"},
    rollout={"watch": "5m"},
    guardrailRefs=[{"name": "g"}],
    snapshots={"keep": 5},
    timeouts={"whole": "1m"},
    pricing={"inputPerMillion": "1", "outputPerMillion": "2"},
)
WEIGHTS = model(
    {"huggingFace": {"repo": "a/b", "revision": "r1", "tokenSecretRef": {"name": "hf", "key": "t"}}},
    tasks=["chat"],
    contextLength=512,
    adapters=[{"name": "l", "source": {"huggingFace": {"repo": "a/l", "revision": "r1"}}}],
)


def edited(manifest: Manifest, path: str, value: Any) -> Manifest:
    """A copy with one field set; path parts that are numbers are indices."""
    whole = copy.deepcopy(manifest)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = whole["spec"]
    for part in parents:
        target = target[part]
    target[last] = value
    return whole


def revision(of: Manifest = FULL, weights: Manifest = WEIGHTS, references: Any = REFERENCES) -> str:
    return render(of, weights, references).hash


def test_the_hash_of_a_full_spec_is_pinned() -> None:
    # If this changes, every engine of every installation restarts at the next upgrade.
    assert revision() == "d85d7a089ecbc6f9c08243f6010e989e2743da9346bb8d76f4e8c1c7d7f6be9c"
    assert render(deployment()).hash == "be7b4b46ca09f5acba7c5735c6c9029d6a3ebcdd28336fa062a9678442488661"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("engine.type", "sim"),
        ("engine.image", "engine:2"),
        ("engine.args", ["--seed=1", "--max-model-len=512"]),
        ("engine.args.0", "--max-model-len=256"),
        ("engine.env.0.value", "2"),
        ("engine.env.0.name", "Z"),
        ("engine.env.1.valueFrom.configMapKeyRef.key", "other"),
        ("engine.envFrom", []),
        ("engine.startupTimeout", "11m"),
        ("engine.shutdownTimeout", "61s"),
        ("accelerator.resource", "nvidia.com/mig-1g.10gb"),
        ("accelerator.count", 3),
        ("accelerator.products", ["A"]),
        ("accelerator.minMemory", "25Gi"),
        ("accelerator", {"claimTemplateName": "c"}),
        ("accelerator", None),
        ("resources.requests.cpu", "2"),
        ("resources.limits.memory", "3Gi"),
        ("podTemplate.nodeSelector.zone", "b"),
        ("podTemplate.labels.team", "y"),
    ],
)
def test_moves_with_each_field_that_shapes_the_pod(path: str, value: Any) -> None:
    assert revision(edited(FULL, path, value)) != revision()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.huggingFace.revision", "r2"),
        ("source.huggingFace.repo", "a/c"),
        ("source", {"enginePath": "/m"}),
        ("contextLength", 256),
        ("adapters", []),
        ("adapters.0.name", "m"),
        ("adapters.0.source.huggingFace.revision", "r2"),
    ],
)
def test_moves_with_what_the_model_resolves_to(path: str, value: Any) -> None:
    assert revision(weights=edited(WEIGHTS, path, value)) != revision()


@pytest.mark.parametrize("key", list(REFERENCES))
def test_moves_with_the_content_of_what_the_pod_consumes(key: tuple[str, str]) -> None:
    assert revision(references={**REFERENCES, key: "cd" * 32}) != revision()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 9),
        ("servedNames", ["two"]),
        ("probes", {"interval": "7s", "prompts": [{"name": "p", "messages": [{"role": "user", "content": "x"}]}]}),
        ("rollout", {"strategy": "Immediate"}),
        ("guardrailRefs", []),
        ("snapshots", {"keep": 9}),
        ("timeouts", {"whole": "9m"}),
        ("pricing", None),
        ("session", {"fromUser": True}),
        ("queue", {"max": 1}),
        ("fallback", [{"name": "f"}]),
        ("api", {"extraFields": ["top_k"]}),
        ("logging", {"text": "raw"}),
        ("modelRef.name", "renamed"),
    ],
)
def test_does_not_move_with_what_starts_no_pod(path: str, value: Any) -> None:
    assert revision(edited(FULL, path, value)) == revision()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tasks", ["story"]),
        ("source.huggingFace.tokenSecretRef", {"name": "other", "key": "t"}),
        ("source.huggingFace.tokenSecretRef", None),
    ],
)
def test_does_not_move_with_tasks_or_credentials_for_downloads(path: str, value: Any) -> None:
    assert revision(weights=edited(WEIGHTS, path, value)) == revision()


def test_does_not_move_with_credentials_for_a_bucket() -> None:
    bucket = {"uri": "s3://bucket/a"}
    with_secret = model({"s3": {**bucket, "secretRef": {"name": "s3"}}})
    assert revision(weights=with_secret) == revision(weights=model({"s3": bucket}))


@pytest.mark.parametrize(
    "other",
    [
        Settings(sim_image="other", master_key=b"x", prestop_seconds=17, system_namespace="elsewhere"),
        Settings(privileged_namespaces=("stories",), gateway_url="https://x", poll_interval=9.0),
    ],
)
def test_does_not_move_with_the_installation(other: Settings) -> None:
    assert render(FULL, WEIGHTS, REFERENCES, other).hash == revision()


def test_neither_empty_fields_nor_the_order_of_sets_count() -> None:
    plain = render(deployment()).hash
    empty = deployment({}, engine={"args": [], "env": [], "envFrom": []}, resources={"requests": {}}, accelerator=None)
    assert render(empty).hash == plain
    assert revision(edited(FULL, "accelerator.products", ["A", "B"])) == revision()


def test_defaults_of_the_contract_count_as_if_written() -> None:
    one = deployment(accelerator={"resource": "nvidia.com/gpu"})
    assert render(one).hash == render(deployment(accelerator={"resource": "nvidia.com/gpu", "count": 1})).hash
    untyped = deployment()
    del untyped["spec"]["engine"]["type"]
    assert render(untyped).hash == render(deployment()).hash


TEXT = st.text("abc", min_size=1, max_size=3)


@given(
    selector=st.dictionaries(TEXT, TEXT, max_size=4),
    requests=st.dictionaries(st.sampled_from(["cpu", "memory", "x/y"]), st.integers(1, 9), max_size=3),
)
def test_the_order_of_maps_does_not_matter(selector: dict[str, str], requests: dict[str, int]) -> None:
    def of(backwards: bool) -> str:
        turn: Any = reversed if backwards else iter
        return render(
            deployment(
                {"nodeSelector": {k: selector[k] for k in turn(list(selector))}},
                resources={"requests": {k: requests[k] for k in turn(list(requests))}},
            )
        ).hash

    assert of(backwards=True) == of(backwards=False)


@given(st.lists(st.builds("--{}={}".format, TEXT, TEXT).map(lambda a: "--x" + a[2:]), max_size=4), st.data())
def test_any_change_of_arguments_moves_it(args: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(args)))
    more = [*args[:at], "--xtra", *args[at:]]
    assert render(deployment(engine={"args": args})).hash != render(deployment(engine={"args": more})).hash


def test_a_revision_keeps_its_name_under_a_new_hash_version() -> None:
    old = render(FULL, WEIGHTS, REFERENCES)
    known = snapshot_manifest(old)
    newer = Settings(hash_version=2)
    again = render(FULL, WEIGHTS, REFERENCES, newer, snapshots=[known])
    assert (again.revision, again.hash, again.hash_version) == (old.revision, old.hash, 1)
    fresh = render(edited(FULL, "engine.image", "engine:2"), WEIGHTS, REFERENCES, newer, snapshots=[known])
    assert fresh.hash_version == 2
    assert fresh.hash == revision_hash(fresh.intent, 2)
    assert render(FULL, WEIGHTS, REFERENCES, newer).revision != old.revision


def test_the_story_is_recorded_beside_the_hash() -> None:
    told = render(FULL, WEIGHTS, REFERENCES)
    assert told.recorded["replicas"] == 2
    assert told.recorded["probes"] == {"interval": "5s"}
    assert "engine" not in told.recorded
    assert told.model_spec["tasks"] == ["chat"]
    assert SETTINGS.master_key.decode() not in str(told)

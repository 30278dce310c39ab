"""What each engine's adapter makes of arguments, sources and accelerators."""

import json
from typing import Any

import pytest

from tests.plan.desired.specs import deployment, engine, env, model, pod, refuse, render

GPU = {"resource": "nvidia.com/gpu"}


def args(*given: str, weights: dict[str, Any] | None = None, **spec: Any) -> list[str]:
    """Arguments of the rendered vLLM container."""
    return list(engine(render(deployment(engine={"args": list(given)}, **spec), weights))["args"])


def test_vllm_serves_the_internal_name_on_the_engine_port() -> None:
    revision = render(deployment(engine={"args": ["--enforce-eager"]}))
    assert engine(revision)["command"] == ["vllm", "serve", "/models/tiny"]
    assert engine(revision)["args"] == [
        "--enforce-eager",
        f"--served-model-name=teller-{revision.revision}",
        "--host=0.0.0.0",
        "--port=8000",
        "--shutdown-timeout=120",
    ]
    assert (revision.identity.model_id, revision.identity.root) == (f"teller-{revision.revision}", "/models/tiny")
    assert env(engine(revision))["HF_HUB_OFFLINE"] == "1"


def test_the_simulator_claims_the_models_path_and_needs_nothing_of_it() -> None:
    revision = render(deployment(type="sim", engine={"args": ["--text=hi"]}), model({"pvc": {"claimName": "c"}}))
    assert engine(revision)["command"] == ["understudy", "sim"]
    assert engine(revision)["args"] == [
        "--text=hi",
        f"--model-id=teller-{revision.revision}",
        "--root=/weights",
        "--port=8000",
        "--shutdown-timeout=120",
        "--max-model-len=8192",
    ]
    assert [volume["name"] for volume in pod(revision)["volumes"]] == ["shm", "home"]
    assert env(engine(revision))["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert revision.identity.max_model_len == 8192


@pytest.mark.parametrize("kind", ["vllm", "sim"])
@pytest.mark.parametrize(
    ("given", "length"),
    [
        (["--max-model-len=256"], 256),
        (["--max-model-len", "256"], 256),
        (["--max_model_len=2k"], 2000),
        (["--max-model-len=2K"], 2048),
        (["--max-model-len=1.5k"], 1500),
        (["--max-model-len=auto"], 0),
        (["--max-model-len", "-1"], 0),
        (["--max-model-len=256", "--max-model-len=512"], 512),
    ],
)
def test_the_context_that_is_asked_for_is_expected(kind: str, given: list[str], length: int) -> None:
    revision = render(deployment(type=kind, engine={"args": given}), model(contextLength=99))
    assert revision.identity.max_model_len == length
    assert sum(arg.replace("_", "-").startswith("--max-model-len") for arg in engine(revision)["args"]) == sum(
        arg.replace("_", "-").startswith("--max-model-len") for arg in given
    )


@pytest.mark.parametrize("kind", ["vllm", "sim"])
def test_the_models_context_is_told_to_the_engine(kind: str) -> None:
    revision = render(deployment(type=kind), model(contextLength=99))
    assert "--max-model-len=99" in engine(revision)["args"]
    assert revision.identity.max_model_len == 99


def test_any_context_will_do_when_nobody_named_one() -> None:
    assert render(deployment()).identity.max_model_len == 0


@pytest.mark.parametrize("kind", ["vllm", "sim"])
@pytest.mark.parametrize("given", [["--max-model-len=lots"], ["--max-model-len"], ["--max-model-len", "--seed=1"]])
def test_a_context_that_is_no_number_is_refused(kind: str, given: list[str]) -> None:
    refusal = refuse(deployment(type=kind, engine={"args": given}))
    assert refusal.path == "spec.engine.args"
    assert "--max-model-len" in refusal.message


@pytest.mark.parametrize(
    "arg",
    [
        "--model",
        "--model=x",
        "--mod=x",
        "--served-model-name=x",
        "--served_model_name=x",
        "--served",
        "--host=1.2.3.4",
        "--ho=1.2.3.4",
        "--port=9",
        "--po",
        "--api-key=x",
        "--api_key",
        "--shutdown-timeout=1",
        "--config=/x.yaml",
        "--ssl-keyfile=x",
        "--uds=/x",
        "--lora-modules",
        "--",
        "-p",
        "-p=1",
        "-p9000",
        "-m",
        "-h",
    ],
)
def test_arguments_that_are_understudys_are_refused_in_every_spelling(arg: str) -> None:
    refusal = refuse(deployment(engine={"args": ["--seed=1", arg]}))
    assert refusal.path == "spec.engine.args[1]"
    assert repr(arg) in refusal.problem
    assert refusal.instead


@pytest.mark.parametrize("arg", ["--model-id=x", "--root=/x", "--ro=/x", "--port=1", "--model=x", "--set={}"])
def test_the_simulators_own_arguments_are_refused_too(arg: str) -> None:
    assert refuse(deployment(type="sim", engine={"args": [arg]})).path == "spec.engine.args[0]"


@pytest.mark.parametrize(
    "arg", ["--model-impl=auto", "--max-num-seqs=4", "-tp=2", "-O3", "--seed", "-q", "-pp=2", "--limit-mm-per-prompt"]
)
def test_other_arguments_pass_as_they_are(arg: str) -> None:
    assert args(arg)[0] == arg


def test_arguments_are_never_joined_or_split() -> None:
    tricky = ["--x=a b; rm -rf / $(HOME) `id` \"'"]
    assert args(*tricky)[0] == tricky[0]


def test_weights_on_a_claim_are_mounted_read_only() -> None:
    revision = render(deployment(), model({"pvc": {"claimName": "disk", "path": "models/a/"}}))
    assert {
        "name": "weights",
        "persistentVolumeClaim": {"claimName": "disk", "readOnly": True},
    } in pod(revision)["volumes"]
    assert {"name": "weights", "mountPath": "/weights", "readOnly": True} in engine(revision)["volumeMounts"]
    assert revision.identity.root == "/weights/models/a"


def test_weights_in_an_image_are_a_volume() -> None:
    revision = render(deployment(), model({"image": {"reference": "r/m:1", "path": "/data"}}))
    assert {"name": "weights", "image": {"reference": "r/m:1", "pullPolicy": "IfNotPresent"}} in pod(revision)[
        "volumes"
    ]
    assert revision.identity.root == "/weights/data"


def test_weights_from_the_hub_are_downloaded_first_in_the_engines_environment() -> None:
    hub = {"huggingFace": {"repo": "a/b", "revision": "abc", "tokenSecretRef": {"name": "hf", "key": "token"}}}
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    revision = render(deployment(engine={"env": [proxy]}), model(hub))
    (fetch,) = pod(revision)["initContainers"]
    assert fetch["command"] == ["hf", "download", "a/b", "--revision", "abc", "--local-dir", "/weights"]
    assert env(fetch)["HF_TOKEN"] == {"secretKeyRef": {"name": "hf", "key": "token"}}
    assert env(fetch)["HTTPS_PROXY"] == "http://proxy:3128"
    assert env(fetch)["HOME"] == "/home/understudy"
    assert {"name": "weights", "mountPath": "/weights"} in fetch["volumeMounts"]
    assert env(engine(revision))["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in env(engine(revision)), "the engine needs no credentials"
    assert "HF_HUB_OFFLINE" not in env(fetch)
    assert revision.references == (), "download credentials are not consumed"


def test_weights_in_a_bucket_are_streamed_by_the_engine() -> None:
    bucket = {"s3": {"uri": "s3://bucket/m", "endpoint": "https://s3", "secretRef": {"name": "s3"}}}
    revision = render(deployment(), model(bucket))
    assert "--load-format=runai_streamer" in engine(revision)["args"]
    variables = env(engine(revision))
    assert variables["AWS_ENDPOINT_URL"] == "https://s3"
    assert variables["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "s3", "key": "AWS_ACCESS_KEY_ID"}}
    assert "HF_HUB_OFFLINE" not in variables
    assert revision.identity.root == "s3://bucket/m"
    own = args("--load-format=dummy", weights=model({"s3": {"uri": "s3://bucket/m"}}))
    assert "--load-format=runai_streamer" not in own


@pytest.mark.parametrize("source", [{}, {"enginePath": "/a", "pvc": {"claimName": "c"}}])
@pytest.mark.parametrize("kind", ["vllm", "sim"])
def test_a_model_names_exactly_one_place(source: dict[str, object], kind: str) -> None:
    broken = model()
    broken["spec"]["source"] = source
    assert refuse(deployment(type=kind), broken).path == "Model spec.source"


def test_adapters_are_loaded_under_the_internal_name() -> None:
    adapters = [
        {"name": "gentle", "source": {"huggingFace": {"repo": "a/g", "revision": "1"}}},
        {"name": "stern", "source": {"pvc": {"claimName": "c", "path": "stern"}}},
    ]
    revision = render(deployment(), model(adapters=adapters))
    given = engine(revision)["args"]
    at = given.index("--lora-modules")
    name = f"teller-{revision.revision}"
    assert given[at - 1] == "--enable-lora"
    assert [json.loads(text) for text in given[at + 1 :]] == [
        {"name": f"{name}:gentle", "path": "/adapters/0"},
        {"name": f"{name}:stern", "path": "/adapters/1/stern"},
    ]
    assert [volume["name"] for volume in pod(revision)["volumes"]][2:] == ["adapter-0", "adapter-1"]
    assert "--enable-lora" not in args("--enable-lora", weights=model(adapters=adapters))[1:]


@pytest.mark.parametrize("source", [{"s3": {"uri": "s3://bucket/x"}}, {}])
def test_an_adapter_that_cannot_be_loaded_is_refused(source: dict[str, object]) -> None:
    refusal = refuse(deployment(), model(adapters=[{"name": "a", "source": source}]))
    assert refusal.path == "Model spec.adapters[0].source"


def test_accelerators_are_asked_for_and_used() -> None:
    revision = render(deployment(accelerator={**GPU, "count": 4}, resources={"limits": {"memory": "9Gi"}}))
    assert engine(revision)["resources"] == {
        "requests": {"nvidia.com/gpu": "4"},
        "limits": {"memory": "9Gi", "nvidia.com/gpu": "4"},
    }
    assert "--tensor-parallel-size=4" in engine(revision)["args"]
    assert "affinity" not in pod(revision)


@pytest.mark.parametrize("given", ["--tensor-parallel-size=1", "--tensor_parallel_size=1", "-tp=1", "-tp"])
def test_the_users_parallelism_wins(given: str) -> None:
    assert "--tensor-parallel-size=4" not in args(given, accelerator={**GPU, "count": 4})


def test_one_accelerator_needs_no_parallelism() -> None:
    assert not any("tensor-parallel" in arg for arg in args(accelerator=GPU))


def test_product_and_memory_are_node_requirements() -> None:
    revision = render(deployment(accelerator={**GPU, "products": ["B", "A"], "minMemory": "24Gi"}))
    required = pod(revision)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A", "B"]},
                {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["24575"]},
            ]
        }
    ]


@pytest.mark.parametrize(("amount", "beyond"), [("1Mi", "0"), ("1", "0"), ("25G", "23841"), (1048577, "1")])
def test_memory_is_rounded_up_to_the_labels_unit(amount: object, beyond: str) -> None:
    revision = render(deployment(accelerator={**GPU, "minMemory": amount}))
    required = pod(revision)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [beyond]


def test_a_claim_is_passed_to_the_engine() -> None:
    revision = render(deployment(accelerator={"claimTemplateName": "one-gpu"}))
    assert pod(revision)["resourceClaims"] == [{"name": "accelerator", "resourceClaimTemplateName": "one-gpu"}]
    assert engine(revision)["resources"] == {"claims": [{"name": "accelerator"}]}


@pytest.mark.parametrize(
    ("accelerator", "path"),
    [
        ({}, "spec.accelerator"),
        ({"resource": "amd.com/gpu", "products": ["MI300X"]}, "spec.accelerator"),
        ({"resource": "amd.com/gpu", "minMemory": "1Gi"}, "spec.accelerator"),
        ({**GPU, "minMemory": "much"}, "spec.accelerator.minMemory"),
    ],
)
def test_an_accelerator_that_cannot_be_scheduled_is_refused(accelerator: dict[str, object], path: str) -> None:
    assert refuse(deployment(accelerator=accelerator)).path == path

"""What every engine pod gets, whatever its spec says."""

from typing import Any

import pytest

from tests.plan.desired.specs import HASH, SETTINGS, attempt, deployment, engine, env, model, pod, refuse, render
from understudy.plan.desired.pod import ending
from understudy.plan.desired.refusal import Missing
from understudy.plan.observed import Settings


def test_service_links_are_off_and_no_token_is_mounted() -> None:
    spec = pod(render(deployment()))
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False


def test_shared_memory_grows_with_accelerators() -> None:
    def size(count: int) -> str:
        spec = pod(render(deployment(accelerator={"resource": "nvidia.com/gpu", "count": count})))
        return str(spec["volumes"][0]["emptyDir"]["sizeLimit"])

    spec = pod(render(deployment()))
    assert spec["volumes"][0] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert spec["containers"][0]["volumeMounts"][0] == {"name": "shm", "mountPath": "/dev/shm"}
    assert (size(1), size(4)) == ("2Gi", "8Gi")


def test_probes_give_the_start_its_time() -> None:
    revision = render(deployment(engine={"startupTimeout": "90s"}))
    startup = engine(revision)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 90
    assert revision.start_deadline == 150
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert engine(revision)[name]["httpGet"] == {"path": "/health", "port": "http"}


def test_a_stopping_pod_has_time_for_prestop_and_its_streams() -> None:
    revision = render(deployment(engine={"shutdownTimeout": "1m30s"}))
    assert engine(revision)["lifecycle"] == {"preStop": {"sleep": {"seconds": SETTINGS.prestop_seconds}}}
    assert "--shutdown-timeout=90" in engine(revision)["args"]
    assert pod(revision)["terminationGracePeriodSeconds"] >= SETTINGS.prestop_seconds + 90
    without = render(deployment(), settings=Settings(prestop_seconds=0))
    assert "lifecycle" not in engine(without)


def test_an_unknown_user_has_a_home_a_name_and_caches() -> None:
    revision = render(deployment(engine={"env": [{"name": "HF_HOME", "value": "/elsewhere"}]}))
    variables = env(engine(revision))
    assert pod(revision)["securityContext"]["runAsUser"] == 2000
    assert variables["USER"] == variables["LOGNAME"] == "understudy"
    assert {"name": "home", "mountPath": variables["HOME"]} in engine(revision)["volumeMounts"]
    assert variables["XDG_CACHE_HOME"].startswith(variables["HOME"])
    assert variables["HF_HOME"] == "/elsewhere", "the user's own value wins"


def test_the_engine_key_comes_from_the_revisions_secret() -> None:
    revision = render(deployment())
    secret = {"secretKeyRef": {"name": f"teller-{revision.revision}-key", "key": "api-key"}}
    assert env(engine(revision))["VLLM_API_KEY"] == secret
    refusal = refuse(deployment(engine={"env": [{"name": "VLLM_API_KEY", "value": "mine"}]}))
    assert refusal.path == "spec.engine.env"


def test_the_floor_is_under_every_container() -> None:
    revision = render(deployment(), model({"huggingFace": {"repo": "a/b", "revision": "r"}}))
    security = pod(revision)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod(revision)["initContainers"], engine(revision)):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_labels_lead_to_the_parent_and_the_revision() -> None:
    revision = render(deployment())
    assert revision.template["metadata"] == {
        "labels": {
            "understudy.dev/deployment": "teller",
            "understudy.dev/revision": revision.revision,
            "app.kubernetes.io/managed-by": "understudy",
            "app.kubernetes.io/name": "understudy-engine",
            "app.kubernetes.io/instance": "teller",
        }
    }


def test_resources_are_the_users() -> None:
    asked = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert engine(render(deployment(resources=asked)))["resources"] == asked
    assert engine(render(deployment()))["resources"] == {}


def test_configmaps_are_consumed_from_the_revisions_own_copies() -> None:
    spec = deployment(
        {
            "volumes": [
                {"name": "a", "configMap": {"name": "cm"}},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "cm"}}, {"secret": {"name": "t"}}]}},
                {"name": "d", "configMap": {"items": []}},
            ],
            "initContainers": [
                {"name": "i", "image": "i", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "u"}}}]}
            ],
        },
        engine={
            "env": [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}],
        },
    )
    names = [("ConfigMap", "cm"), ("Secret", "s"), ("Secret", "u"), ("Secret", "t")]
    revision = render(spec, references=dict.fromkeys(names, HASH))
    copy = f"teller-{revision.revision}-cm"
    assert env(engine(revision))["B"] == {"configMapKeyRef": {"name": copy, "key": "k"}}
    assert engine(revision)["envFrom"] == [{"configMapRef": {"name": copy}}, {"secretRef": {"name": "s"}}]
    volumes = {volume["name"]: volume for volume in pod(revision)["volumes"]}
    assert volumes["a"]["configMap"] == {"name": copy}
    assert volumes["b"]["secret"] == {"secretName": "s"}
    assert volumes["c"]["projected"]["sources"] == [{"configMap": {"name": copy}}, {"secret": {"name": "t"}}]
    assert [(r.kind, r.name, r.copy) for r in revision.references] == [
        ("ConfigMap", "cm", copy),
        ("Secret", "s", ""),
        ("Secret", "t", ""),
        ("Secret", "u", ""),
    ]


def test_a_copy_of_a_long_name_fits_and_stays_unique() -> None:
    long = ["c" * 252 + "a", "c" * 252 + "b"]
    volumes = [{"name": f"v{i}", "configMap": {"name": name}} for i, name in enumerate(long)]
    revision = render(deployment({"volumes": volumes}), references={("ConfigMap", name): HASH for name in long})
    copies = [reference.copy for reference in revision.references]
    assert len(set(copies)) == 2
    assert all(len(name) <= 253 for name in copies)


def test_what_does_not_exist_is_named_unless_it_is_optional() -> None:
    needed = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}
    optional = {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "l", "optional": True}}}
    both = attempt(deployment(engine={"env": [needed, optional]}))
    assert both == Missing((("ConfigMap", "cm"),))
    assert both.message == "does not exist in this namespace: ConfigMap cm"
    revision = render(deployment(engine={"env": [optional]}))
    assert [(r.name, r.hash) for r in revision.references] == [("cm", "")]


def test_the_simulated_engine_has_an_image_of_its_own() -> None:
    spec = deployment(type="sim", engine={"args": ["--text=hi"]})
    assert engine(render(spec))["image"] == "engine:1"
    del spec["spec"]["engine"]["image"]
    assert engine(render(spec))["image"] == SETTINGS.sim_image
    spec["spec"]["engine"]["type"] = "vllm"
    assert refuse(spec).path == "spec.engine.image"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"engine": {"type": "tgi"}}, "spec.engine.type"),
        ({"engine": {"args": "--a"}}, "spec.engine.args"),
        ({"engine": {"startupTimeout": "soon"}}, "spec.engine.startupTimeout"),
        ({"engine": {"env": [{"value": "1"}]}}, "spec.engine.env[0].name"),
        ({"accelerator": {"resource": "nvidia.com/gpu", "count": 0}}, "spec.accelerator.count"),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused_by_path(spec: dict[str, Any], path: str) -> None:
    refusal = refuse(deployment(**spec))
    assert refusal.path == path
    assert refusal.message.startswith(path)


def test_a_model_that_cannot_be_read_is_refused() -> None:
    broken = model({"huggingFace": {"repo": "a/b"}})
    assert refuse(deployment(), broken).path == "Model spec.source.huggingFace.revision"


@pytest.mark.parametrize(
    ("containers", "seconds"),
    [
        ([{"name": "engine", "args": ["--shutdown-timeout=120"]}], 120.0),
        (
            [
                {"name": "proxy", "args": ["--shutdown-timeout-of=7", "x --shutdown-timeout=7"]},
                {
                    "name": "engine",
                    "args": ["--port=1", "--shutdown-timeout=120"],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                },
            ],
            125.0,
        ),
        ([{"name": "engine", "args": ["--shutdown-timeout=soon"]}, {"name": "other"}], None),
    ],
)
def test_requests_have_as_long_as_the_hook_and_the_engine_give_them(
    containers: list[dict[str, object]], seconds: float | None
) -> None:
    assert ending({"spec": {"containers": containers}}) == seconds

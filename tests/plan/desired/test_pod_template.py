"""A user's podTemplate: merged by name, refused by path, never below the floor."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.desired.specs import SETTINGS, attempt, deployment, engine, env, model, pod, refuse, render
from understudy.plan.desired.refusal import Refusal
from understudy.plan.desired.revision import Revision
from understudy.plan.observed import Settings

PRIVILEGED = Settings(sim_image="understudy:dev", privileged_namespaces=("stories",))


def test_fields_that_understudy_does_not_set_are_taken_as_they_are() -> None:
    template: dict[str, Any] = {
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "stories",
        "schedulerName": "other",
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    }
    spec = pod(render(deployment(template)))
    assert {name: spec[name] for name in template} == template


def test_labels_and_annotations_are_added() -> None:
    revision = render(deployment({"labels": {"team": "x"}, "annotations": {"a": "b"}}))
    assert revision.template["metadata"]["labels"]["team"] == "x"
    assert revision.template["metadata"]["labels"]["app.kubernetes.io/instance"] == "teller"
    assert revision.template["metadata"]["annotations"] == {"a": "b"}


def test_volumes_are_merged_by_name_and_mounts_by_path() -> None:
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "32Gi"}}
    cache = {"name": "cache", "persistentVolumeClaim": {"claimName": "c"}}
    mounts = [{"name": "cache", "mountPath": "/home/understudy"}, {"name": "cache", "mountPath": "/cache"}]
    revision = render(deployment({"volumes": [cache, shm], "volumeMounts": mounts}))
    assert pod(revision)["volumes"] == [shm, {"name": "home", "emptyDir": {}}, cache]
    assert engine(revision)["volumeMounts"] == [
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "cache", "mountPath": "/home/understudy"},
        {"name": "cache", "mountPath": "/cache"},
    ]


def test_init_containers_are_merged_by_name_and_get_the_floor() -> None:
    template = {
        "initContainers": [
            {"name": "weights", "image": "mirror/hf:1"},
            {
                "name": "warm",
                "image": "w:1",
                "ports": [{"containerPort": 1}],
                "securityContext": {"runAsUser": 3000, "capabilities": {"drop": ["X"]}},
            },
        ]
    }
    revision = render(deployment(template), model({"huggingFace": {"repo": "a/b", "revision": "r"}}))
    fetch, warm = pod(revision)["initContainers"]
    assert (fetch["image"], fetch["command"][0]) == ("mirror/hf:1", "hf")
    assert env(fetch)["HOME"]
    assert warm["securityContext"] == {
        "runAsUser": 3000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_node_terms_of_the_user_are_narrowed_by_the_accelerator() -> None:
    theirs = {"key": "zone", "operator": "In", "values": ["a"]}
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [],
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [theirs]}, {"matchFields": []}]
            },
        },
        "podAffinity": {},
    }
    accelerator = {"resource": "nvidia.com/gpu", "products": ["A"]}
    merged = pod(render(deployment({"affinity": affinity}, accelerator=accelerator)))["affinity"]
    ours = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A"]}
    assert merged["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [theirs, ours]},
        {"matchFields": [], "matchExpressions": [ours]},
    ]
    assert merged["podAffinity"] == {}


def test_the_pods_security_may_change_above_the_floor() -> None:
    security = pod(render(deployment({"securityContext": {"runAsUser": 1234, "supplementalGroups": [5]}})))[
        "securityContext"
    ]
    assert (security["runAsUser"], security["supplementalGroups"]) == (1234, [5])
    assert security["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volumes[0].hostPath"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext"),
        ({"securityContext": {"runAsNonRoot": False}}, "securityContext"),
        ({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}, "securityContext.sysctls"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "securityContext.seccompProfile"),
        (
            {"annotations": {"container.apparmor.security.beta.kubernetes.io/engine": "unconfined"}},
            "annotations[container.apparmor.security.beta.kubernetes.io/engine]",
        ),
        (
            {"initContainers": [{"name": "a", "securityContext": {"privileged": True}}]},
            "initContainers[0].securityContext.privileged",
        ),
        (
            {"initContainers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": True}}]},
            "initContainers[0].securityContext.allowPrivilegeEscalation",
        ),
        (
            {"initContainers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
            "initContainers[0].securityContext.capabilities.add",
        ),
        (
            {"initContainers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]},
            "initContainers[0].securityContext.procMount",
        ),
        ({"initContainers": [{"name": "a", "securityContext": "x"}]}, "initContainers[0].securityContext"),
        ({"initContainers": [{"name": "a", "ports": [{"hostPort": 80}]}]}, "initContainers[0].ports[0].hostPort"),
    ],
)
def test_below_the_floor_needs_a_privileged_namespace(template: dict[str, Any], path: str) -> None:
    refusal = refuse(deployment(template))
    assert refusal.path == f"spec.podTemplate.{path}"
    assert "privilegedNamespaces" in refusal.instead
    if "x" not in str(template.get("initContainers", "")):
        render(deployment(template), settings=PRIVILEGED)


def test_in_a_privileged_namespace_the_users_word_is_last() -> None:
    template = {
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
        "initContainers": [{"name": "a", "image": "i", "securityContext": {"privileged": True}}],
        "volumes": [{"name": "v", "hostPath": {"path": "/dev"}}],
        "hostNetwork": True,
    }
    revision = render(deployment(template), settings=PRIVILEGED)
    assert pod(revision)["securityContext"]["runAsUser"] == 0
    assert pod(revision)["initContainers"][0]["securityContext"]["privileged"] is True
    assert engine(revision)["securityContext"]["allowPrivilegeEscalation"] is False, "the default stays"


@pytest.mark.parametrize("settings", [SETTINGS, PRIVILEGED])
@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"labels": {"understudy.dev/revision": "x"}}, "labels[understudy.dev/revision]"),
        ({"labels": {"app.kubernetes.io/instance": "x"}}, "labels[app.kubernetes.io/instance]"),
        ({"labels": {"app.kubernetes.io/component": "gateway"}}, "labels[app.kubernetes.io/component]"),
        ({"annotations": {"understudy.dev/x": "y"}}, "annotations[understudy.dev/x]"),
        ({"labels": {"a": 1}}, "labels[a]"),
        ({"labels": ["a"]}, "labels"),
        ({"nodeSelector": {"a": True}}, "nodeSelector[a]"),
        ({"containers": []}, "containers"),
        ({"spec": {}}, "spec"),
        ({"nodeselector": {}}, "nodeselector"),
        ({"hostNetwork": "yes"}, "hostNetwork"),
        ({"terminationGracePeriodSeconds": True}, "terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": 10}, "terminationGracePeriodSeconds"),
        ({"priorityClassName": 3}, "priorityClassName"),
        ({"tolerations": {}}, "tolerations"),
        ({"tolerations": "all"}, "tolerations"),
        ({"tolerations": ["all"]}, "tolerations[0]"),
        ({"volumes": [{"emptyDir": {}}]}, "volumes[0]"),
        ({"volumes": [{"name": ""}]}, "volumes[0]"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "volumes[1].name"),
        ({"volumeMounts": [{"name": "a"}]}, "volumeMounts[0]"),
        ({"affinity": {"nodeAffinity": [1]}}, "affinity.nodeAffinity"),
        ({"affinity": {"nodeAffinity": "x"}}, "affinity.nodeAffinity"),
        (
            {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": "x"}}},
            "affinity.nodeAffinity",
        ),
    ],
)
def test_mistakes_are_refused_by_path_everywhere(template: dict[str, Any], path: str, settings: Settings) -> None:
    refusal = refuse(deployment(template), settings=settings)
    assert refusal.path == f"spec.podTemplate.{path}"
    assert refusal.instead


def test_a_longer_grace_period_is_taken() -> None:
    assert pod(render(deployment({"terminationGracePeriodSeconds": 900})))["terminationGracePeriodSeconds"] == 900


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "Unconfined", "unconfined"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("name", "mountPath", "env", "valueFrom", "configMap", "configMapKeyRef", "securityContext"),
                    *("ports", "hostPort", "capabilities", "add", "nodeAffinity", "hostPath", "sources", "projected"),
                    *("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", "matchExpressions"),
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *("affinity", "annotations", "containers", "dnsConfig", "hostAliases", "hostNetwork", "imagePullSecrets"),
        *("initContainers", "labels", "nodeSelector", "securityContext", "terminationGracePeriodSeconds"),
        *("tolerations", "volumeMounts", "volumes"),
    ]
)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ({"hostUsers": "no"}, "is 'no' write true or false"),
        ({"terminationGracePeriodSeconds": "90"}, "is '90' write a whole number"),
        ({"schedulerName": 7}, "is 7 write a string"),
    ],
)
def test_a_field_of_another_type_is_refused_with_the_type_to_write(template: dict[str, Any], says: str) -> None:
    done = attempt(deployment(template))
    assert isinstance(done, Refusal)
    assert done.path == f"spec.podTemplate.{next(iter(template))}"
    assert f"{done.problem} {done.instead}" == says


@given(st.dictionaries(FIELDS, ANY, max_size=4), st.booleans())
def test_whatever_is_written_becomes_a_pod_or_a_refusal(template: dict[str, Any], gpu: bool) -> None:
    accelerator = {"resource": "nvidia.com/gpu", "products": ["A"]} if gpu else None
    done = attempt(deployment(template, accelerator=accelerator), references={("ConfigMap", "a"): "00" * 32})
    if isinstance(done, Revision):
        spec = pod(done)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert not spec.get("hostNetwork")
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    elif isinstance(done, Refusal):
        assert done.path.startswith("spec.")

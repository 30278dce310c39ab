"""The chart of the past that the upgrade test begins with still renders, still fits today's commands, and is the past.

No request but dry runs goes to the cluster: what the two charts do to each other there is tests/e2e/test_upgrade.py.
"""

import itertools

import pytest

from tests.api.server import Server
from tests.chart.helm import Helm, Object, component_args, of_kind, only
from tests.e2e.installation import FIXTURE

pytestmark = pytest.mark.cluster
VALUES = {"image": {"tag": "previous"}, "gateway": {"service": {"type": "NodePort", "nodePort": 31234}}}


def keyed(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Objects by kind and name."""
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def test_lint_is_content(helm: Helm) -> None:
    done = helm.run("lint", str(FIXTURE), "--strict", values=VALUES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_server_takes_every_object(helm: Helm, cluster: Server) -> None:
    for obj in helm.render(VALUES, FIXTURE):
        answer = cluster.apply(obj, "understudy-chart-tests", dryRun="All", fieldValidation="Strict")
        assert answer.ok, (obj["kind"], obj["metadata"]["name"], answer.message)


def test_its_operator_has_other_defaults_and_another_hash_version(helm: Helm) -> None:
    past, today = (
        component_args(only(objects, "Deployment", "understudy-operator"))
        for objects in (helm.render(VALUES, FIXTURE), helm.render({}))
    )
    assert past.hash_version != today.hash_version
    assert past.prestop_seconds != today.prestop_seconds


def test_its_gateway_fits_todays_command(helm: Helm) -> None:
    args = component_args(only(helm.render(VALUES, FIXTURE), "Deployment", "understudy-gateway"))
    assert args.admin_subject == component_args(only(helm.render({}), "Deployment", "understudy-gateway")).admin_subject


Right = tuple[str, str, str]


def rights(objects: list[Object], component: str) -> tuple[set[Right], set[Right]]:
    """What one component may do everywhere, and in the system namespace: group, resource, verb."""
    found: dict[str, set[Right]] = {"ClusterRole": set(), "Role": set()}
    for role in of_kind(objects, *found):
        # The roles that are added to admin, edit and view name no component.
        if component in role["metadata"]["name"]:
            for rule in role["rules"]:
                found[role["kind"]] |= set(itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]))
    return found["ClusterRole"], found["ClusterRole"] | found["Role"]


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_its_roles_allow_what_todays_code_needs(helm: Helm, component: str) -> None:
    # Its image is today's: a right that came later has to be added to the fixture as well.
    past, today = rights(helm.render(VALUES, FIXTURE), component), rights(helm.render({}), component)
    assert today[0]
    for had, wanted in zip(past, today, strict=True):
        assert wanted - had == set()


def test_its_crds_are_todays_kinds_without_a_schema_and_stay(helm: Helm) -> None:
    past = {obj["metadata"]["name"]: obj for obj in of_kind(helm.render(VALUES, FIXTURE), "CustomResourceDefinition")}
    today = {obj["metadata"]["name"]: obj for obj in of_kind(helm.render({}), "CustomResourceDefinition")}
    assert past.keys() == today.keys()
    for name, crd in past.items():
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        (old,), (new,) = (c["spec"].pop("versions") for c in (crd, today[name]))
        assert crd["spec"] == today[name]["spec"]
        assert old.get("subresources") == new.get("subresources")
        # Anything narrower would drop fields that newer objects on the same cluster hold.
        assert old["schema"]["openAPIV3Schema"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_todays_chart_changes_nothing_of_it_that_the_api_server_keeps_for_ever(helm: Helm) -> None:
    past, today = keyed(helm.render(VALUES, FIXTURE)), keyed(helm.render({}))
    both = past.keys() & today.keys()
    assert {kind for kind, _ in both} >= {"Deployment", "Service", "RoleBinding", "ClusterRoleBinding"}
    for key in both:
        for field in ("roleRef", "type"):
            assert past[key].get(field) == today[key].get(field), (key, field)
        if key[0] == "Deployment":
            assert past[key]["spec"]["selector"] == today[key]["spec"]["selector"]

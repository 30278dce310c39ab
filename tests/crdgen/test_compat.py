"""A change that stored objects would not survive is found, against the CRDs of this tree."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.crdgen.compat import breaking
from understudy.crdgen.crd import schema
from understudy.crdgen.kinds import KINDS

CRDS = Path(__file__).parents[2] / "crds"


def committed(plural: str) -> dict[str, Any]:
    """The schema as it lies in crds/."""
    crd = yaml.safe_load((CRDS / f"{plural}.understudy.dev.yaml").read_text())
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_models_take_all_that_the_committed_crds_take(kind: Any) -> None:
    assert list(breaking(committed(kind.plural), schema(kind))) == []


CHANGES: list[tuple[str, Any, str]] = [
    ("spec.properties.replicas", {}, ".spec.replicas: removed"),
    ("spec.properties.replicas", {"type": "string"}, ".spec.replicas: type was 'integer', is 'string'"),
    ("spec.properties.replicas", {"type": "integer", "maximum": 5}, ".spec.replicas: maximum falls from 1000 to 5"),
    ("spec.properties.replicas", {"type": "integer", "minimum": 1}, ".spec.replicas: minimum rises from 0 to 1"),
    ("spec.properties.replicas", {"type": "integer", "default": 2}, ".spec.replicas: another default"),
    ("spec.properties.replicas", {"type": "integer"}, ".spec.replicas: another default"),
    (
        "spec.properties.rollout.properties.strategy",
        {"type": "string", "enum": ["Canary", "BlueGreen"]},
        ".spec.rollout.strategy: 'Immediate' is no longer allowed",
    ),
    (
        "spec.properties.engine.properties.image",
        {"type": "string", "maxLength": 512, "enum": ["x"]},
        ".spec.engine.image: 'anything else' is no longer allowed",
    ),
    (
        "spec.properties.engine.properties.image",
        {"type": "string", "maxLength": 512, "pattern": "^x"},
        ".spec.engine.image: another pattern",
    ),
    ("spec.required", ["modelRef", "engine", "accelerator"], ".spec.accelerator: is now required"),
    (
        "spec.properties.servedNames.x-kubernetes-list-type",
        "atomic",
        ".spec.servedNames: x-kubernetes-list-type was 'set', is 'atomic'",
    ),
    ("spec.properties.servedNames.items.maxLength", 9, ".spec.servedNames[*]: maxLength falls from 128 to 9"),
    (
        "spec.properties.resources.properties.limits.additionalProperties.maxLength",
        9,
        ".spec.resources.limits[*]: maxLength falls from 32 to 9",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "sentence"), CHANGES, ids=lambda value: str(value)[:40])
def test_an_incompatible_change_is_named(path: str, value: Any, sentence: str) -> None:
    old = committed("modeldeployments")
    new = copy.deepcopy(old)
    *parents, last = path.split(".")
    target = new["properties"]
    for part in parents:
        target = target[part]
    if value == {}:
        del target[last]
    else:
        target[last] = value
    assert sentence in list(breaking(old, new))


def test_a_new_optional_field_and_wider_bounds_are_fine() -> None:
    old = committed("modeldeployments")
    new = copy.deepcopy(old)
    spec = new["properties"]["spec"]["properties"]
    spec["novelty"] = {"type": "string", "maxLength": 9}
    spec["replicas"]["maximum"] = 9999
    spec["rollout"]["properties"]["strategy"]["enum"].append("Shadow")
    del spec["engine"]["properties"]["image"]["pattern"]
    assert list(breaking(old, new)) == []

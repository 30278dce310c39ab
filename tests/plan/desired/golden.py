"""The manifests that every example renders to, kept in `golden/`: a reviewer sees in a diff what an edit does to pods.

`python -m tests.plan.desired.golden` writes them anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.plan.desired.specs import HASH, SETTINGS, render
from understudy.domain.table import Table, Variant
from understudy.plan.desired.children import (
    configmap_copy_manifest,
    engine_key_manifest,
    policy_manifest,
    pool_manifest,
    service_manifest,
    snapshot_manifest,
    table_manifest,
)

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
NAMESPACE = "default"
OWNER_UID = "11111111-2222-3333-4444-555555555555"

Manifest = dict[str, Any]


def sources() -> list[Path]:
    """Files with examples, the quickstart's included."""
    return sorted([*(ROOT / "manifests").glob("examples/*.yaml"), ROOT / "manifests/quickstart"])


def documents(source: Path) -> list[Manifest]:
    """All objects of a file, or of the files of a folder."""
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def children(source: Path) -> list[Manifest]:
    """Every child of every ModelDeployment of an example, as the planner would apply it."""
    objects = documents(source)
    models = {d["metadata"]["name"]: d for d in objects if d["kind"] == "Model"}
    return [
        child
        for deployment in objects
        if deployment["kind"] == "ModelDeployment"
        for child in _children(deployment, models[deployment["spec"]["modelRef"]["name"]], objects)
    ]


def text(source: Path) -> str:
    """What the golden file of an example holds."""
    return yaml.safe_dump_all(children(source), sort_keys=False, width=120)


def golden_file(source: Path) -> Path:
    """Where it is."""
    return GOLDEN / f"{source.stem}.yaml"


def _children(deployment: Manifest, model: Manifest, objects: list[Manifest]) -> Iterator[Manifest]:
    metadata = {"namespace": NAMESPACE, **deployment["metadata"], "uid": OWNER_UID}
    owner = {**deployment, "metadata": metadata}
    configmaps = {o["metadata"]["name"]: o for o in objects if o["kind"] == "ConfigMap"}
    tls = deployment["spec"]["engine"].get("tls")
    there: Any = {("ConfigMap", name): HASH for name in configmaps}
    if tls:
        there["Secret", tls["secretRef"]["name"]] = HASH
    revision = render(owner, model, there, SETTINGS)
    snapshot = snapshot_manifest(revision)
    yield snapshot
    for reference in revision.references:
        if reference.name in configmaps:
            yield configmap_copy_manifest(snapshot, configmaps[reference.name], reference.copy, owner)
    key = SETTINGS.engine_key(owner["metadata"]["namespace"], owner["metadata"]["name"], revision.revision)
    yield engine_key_manifest(snapshot, key, owner)
    yield service_manifest(snapshot, owner)
    yield pool_manifest(snapshot, deployment["spec"].get("replicas", 1), owner)
    variant = Variant(revision.revision, "stable", 100, snapshot["metadata"]["name"], tls=bool(tls))
    yield policy_manifest(owner, SETTINGS.system_namespace)
    yield table_manifest(Table(epoch=1, served_names=(revision.deployment,), variants=(variant,)), owner)


if __name__ == "__main__":
    for example in sources():
        golden_file(example).write_text(text(example))

"""What examples render to: told apart by kind, and taken by a real API server."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.server import Server, installed
from tests.plan.desired.golden import GOLDEN, ROOT, Manifest, children, documents, golden_file, sources
from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.kube.resources import Resource

EXAMPLES = pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)


def test_every_golden_file_has_its_example() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == {source.stem for source in sources()}


@EXAMPLES
def test_children_are_found_by_label_and_go_with_their_parent(source: Path) -> None:
    for child in children(source):
        metadata = child["metadata"]
        assert metadata["labels"][LABEL_DEPLOYMENT]
        if child["kind"] == "ModelSnapshot":
            assert "ownerReferences" not in metadata, "a snapshot outlives its deployment"
        else:
            (owner,) = metadata["ownerReferences"]
            assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ModelDeployment", True, True)


@EXAMPLES
def test_the_pool_runs_the_snapshots_template_verbatim(source: Path) -> None:
    made = children(source)
    snapshots = {child["metadata"]["name"]: child for child in made if child["kind"] == "ModelSnapshot"}
    for pool in (child for child in made if child["kind"] == "Deployment"):
        snapshot = snapshots[pool["metadata"]["name"]]
        assert pool["spec"]["template"] == snapshot["spec"]["podTemplate"]
        labels = pool["spec"]["template"]["metadata"]["labels"]
        assert pool["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels[LABEL_REVISION] == snapshot["spec"]["revision"]
        assert snapshot["spec"]["hash"].startswith(snapshot["spec"]["revision"])


@pytest.fixture(scope="module")
def server(kubeconfig: str) -> Iterator[Server]:
    """A real API server that knows Understudy's kinds."""
    with closing(Server(kubeconfig)) as server:
        for crd in sorted((ROOT / "crds").glob("*.yaml")):
            installed(server, yaml.safe_load(crd.read_text()))
        yield server


def dry_applied(server: Server, manifest: Manifest) -> list[str]:
    """What the server has against a manifest as the operator would apply it, or drops from it; nothing is stored."""
    kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    path = Resource(manifest["apiVersion"], manifest["kind"], plural).path("default", name)
    whole = {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
    answer = server.request(
        *("PATCH", path, whole, "application/apply-patch+yaml"),
        fieldManager="golden",
        force="true",
        dryRun="All",
        fieldValidation="Strict",
    )
    if not answer.ok:
        return [f"{manifest['kind']} {name}: {answer.message}"]
    return [f"{manifest['kind']} {name}: {path} was dropped" for path in dropped(whole, answer.body)]


def dropped(sent: Any, kept: Any, path: str = "") -> list[str]:
    """Paths of what is in `sent` and not in `kept`; items of lists are told apart by their position or name."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [lost for key in sent for lost in dropped(sent[key], kept.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list):
        if len(sent) == len(kept):
            pairs = list(zip(sent, kept, strict=True))
            return [lost for number, (one, two) in enumerate(pairs) for lost in dropped(one, two, f"{path}[{number}]")]
        return [f"{path}[{item.get('name')}]" for item in sent if item["name"] not in {other["name"] for other in kept}]
    return [] if sent == kept or not sent else [path]


def minor(server: Server) -> int:
    """The server's minor version."""
    return int("".join(c for c in server.request("GET", "/version").body["minor"] if c.isdigit()))


@pytest.mark.cluster
@EXAMPLES
def test_a_real_api_server_takes_the_examples_and_their_children(source: Path, server: Server) -> None:
    examples = [d for d in documents(source) if d["kind"] != "Namespace"]
    pinned = list(yaml.safe_load_all(golden_file(source).read_text()))
    refused = [said for manifest in (*examples, *pinned) for said in dry_applied(server, manifest)]
    if source.stem == "weights-oci" and minor(server) < 35:
        # Image volumes come with 1.35; older servers drop the volume and its mount without a word.
        assert all("[weights]" in said for said in refused)
        assert len(refused) == 2
    else:
        assert refused == []

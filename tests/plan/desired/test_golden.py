"""What examples render to: pinned, told apart by kind, and taken by a real API server."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.api.server import Server, installed
from tests.plan.desired.golden import GOLDEN, ROOT, Manifest, children, documents, golden_file, sources, text
from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION

EXAMPLES = pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)


@EXAMPLES
def test_renders_as_pinned(source: Path) -> None:
    # After a wanted change: python -m tests.plan.desired.golden, and read the diff.
    assert text(source) == golden_file(source).read_text()


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


def dry_applied(server: Server, manifest: Manifest) -> str:
    """What the server has against a manifest, as the operator would apply it; nothing is stored."""
    version, name = manifest["apiVersion"], manifest["metadata"]["name"]
    root = f"apis/{version}" if "/" in version else f"api/{version}"
    path = f"/{root}/namespaces/default/{manifest['kind'].lower()}s/{name}"
    whole = {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
    answer = server.request(
        *("PATCH", path, whole, "application/apply-patch+yaml"),
        fieldManager="golden",
        force="true",
        dryRun="All",
        fieldValidation="Strict",
    )
    return "" if answer.ok else f"{manifest['kind']} {name}: {answer.message}"


@pytest.mark.cluster
@EXAMPLES
def test_a_real_api_server_takes_the_examples_and_their_children(source: Path, server: Server) -> None:
    examples = [d for d in documents(source) if d["kind"] != "Namespace"]
    pinned = list(yaml.safe_load_all(golden_file(source).read_text()))
    refused = [said for manifest in (*examples, *pinned) if (said := dry_applied(server, manifest))]
    assert refused == []

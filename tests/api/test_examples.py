"""Every example that a reader may copy is taken by a real API server as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.api.examples import KINDS, NAMESPACE, Object, changed
from tests.api.server import Server

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def _documents() -> Iterator[tuple[str, Object]]:
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        yield from _ours(path, path.read_text())
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in _FENCE.findall(path.read_text()):
            yield from _ours(path, block)


def _ours(path: Path, text: str) -> Iterator[tuple[str, Object]]:
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") in KINDS:
            yield f"{path.relative_to(ROOT)}-{document['kind']}-{document['metadata']['name']}", document


DOCUMENTS = list(_documents())


@pytest.mark.parametrize("document", [pytest.param(d, id=i) for i, d in DOCUMENTS])
def test_an_example_is_accepted(server: Server, document: Object) -> None:
    # Under another name and in a namespace that exists: only what it says is of interest.
    name = f"example-{document['metadata']['name']}"[:48]
    answer = server.dry_create(changed(document, {"metadata.namespace": NAMESPACE, "metadata.name": name}))
    assert answer.ok, answer.message


def test_there_are_examples() -> None:
    assert {document["kind"] for _, document in DOCUMENTS} >= {"Model", "ModelDeployment", "Guardrail"}

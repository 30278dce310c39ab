"""Each bound of each schema on a real API server: what lies beyond it is refused, the edge is not."""

import pytest

from tests.api.bounds import SAYS, Bound, allowed, bounds, located, placed, violating
from tests.api.examples import Object, examples
from tests.api.server import Answer, Server

pytestmark = pytest.mark.cluster
BOUNDS = list(bounds())
EDGES = [bound for bound in BOUNDS if allowed(bound)]
EXAMPLES = [
    document
    for kind in ("Guardrail", "Model", "ModelDeployment", "ModelSnapshot", "RoutingTable")
    for document in examples(kind)
]


def asked(server: Server, stored: dict[str, Object], bound: Bound, document: Object) -> Answer:
    """A dry run of the document: creation, or for a field of the status an update of it."""
    if bound.path.startswith(".status"):
        return server.dry_merge(stored[bound.kind], {"status": document.get("status")}, "/status")
    return server.dry_create(document)


@pytest.mark.parametrize(
    "document", EXAMPLES, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_every_example_is_accepted(server: Server, document: Object) -> None:
    answer = server.dry_create(document)
    assert answer.ok, answer.message


def test_every_status_in_the_examples_is_accepted(server: Server, stored: dict[str, Object]) -> None:
    for kind, document in stored.items():
        if "status" in document:
            answer = server.dry_merge(document, {"status": document["status"]}, "/status")
            assert answer.ok, f"{kind}: {answer.message}"


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_a_value_beyond_a_bound_is_refused(server: Server, stored: dict[str, Object], bound: Bound) -> None:
    found = located(bound)
    assert found, f"no example has {bound.path}: add it to tests/api/manifests"
    document, keys = found
    value = document
    for key in keys:
        value = value[key]
    answer = asked(server, stored, bound, placed(document, keys, violating(bound, value)))
    assert answer.status == 422, answer.message
    assert SAYS.get(bound.keyword, "Required value") in answer.message


@pytest.mark.parametrize("bound", EDGES, ids=str)
def test_the_edge_of_a_bound_is_not_refused_for_it(server: Server, stored: dict[str, Object], bound: Bound) -> None:
    found = located(bound)
    assert found
    for value in allowed(bound):
        document, keys = found
        answer = asked(server, stored, bound, placed(document, keys, value))
        assert SAYS[bound.keyword] not in answer.message

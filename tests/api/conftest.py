"""The CRDs of this tree on the test cluster, and one stored object of each kind."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.api.examples import KINDS, NAMESPACE, Object, example, to_store
from tests.api.server import Server, installed, until

_CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def server(kubeconfig: str) -> Iterator[Server]:
    """The API server with the CRDs of `crds/` and the tests' namespace."""
    with closing(Server(kubeconfig)) as server:
        for path in sorted(_CRDS.glob("*.yaml")):
            installed(server, yaml.safe_load(path.read_text()))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        assert server.apply(namespace, "understudy-api-tests").ok
        yield server


@pytest.fixture(scope="session")
def stored(server: Server) -> Iterator[dict[str, Object]]:
    """One stored object of each kind, for updates and status: its manifest by kind."""
    objects = {kind: to_store(example(kind)) for kind in KINDS}
    for obj in objects.values():
        server.delete(obj)
        until(partial(server.create, obj))
    yield objects
    for obj in objects.values():
        server.delete(obj)

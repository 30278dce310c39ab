"""Who signs engines' certificates on the test cluster, and whom gateways and operator there trust.

Kept on the cluster from run to run: the kubelet takes up to a minute to bring a changed Secret into pods.
"""

import base64
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.installation import SYSTEM, TRUSTED
from tests.gateway.certificates import certify, issue

_SIGNING = "e2e-authority"
_TEN_YEARS = 3650


def ensure(cluster: Cluster) -> None:
    """The Secret that the installation is told of: the authority's certificate, and one to show to engines."""
    if cluster.get("secret", TRUSTED, SYSTEM) is not None:
        return
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    with tempfile.TemporaryDirectory() as made:
        ca, shown = Path(made, "ca"), Path(made, "shown")
        ca.mkdir()
        certify(ca, "e2e engines", days=_TEN_YEARS)
        issue(shown, ca, "gateways", "extendedKeyUsage=clientAuth", _TEN_YEARS)
        cluster.apply(_secret(_SIGNING, SYSTEM, ca))
        cluster.apply(_secret(TRUSTED, SYSTEM, shown, ca))


def pair(cluster: Cluster, name: str, namespace: str) -> dict[str, Any]:
    """A Secret for the pods of a namespace, signed by whom the installation trusts."""
    with tempfile.TemporaryDirectory() as made:
        ca = Path(made, "ca")
        ca.mkdir()
        for file, content in _signing(cluster).items():
            (ca / file).write_bytes(content)
        return _pair(Path(made), ca, name, namespace)


def certificate(cluster: Cluster) -> str:
    """Of who signs such a pair, in PEM."""
    return _signing(cluster)["tls.crt"].decode()


def pair_of_a_stranger(name: str, namespace: str) -> dict[str, Any]:
    """The same, signed by somebody else."""
    with tempfile.TemporaryDirectory() as made:
        ca = Path(made, "ca")
        ca.mkdir()
        certify(ca, "a stranger")
        return _pair(Path(made), ca, name, namespace)


def _signing(cluster: Cluster) -> dict[str, bytes]:
    signing = cluster.get("secret", _SIGNING, SYSTEM)
    assert signing is not None, "the installation has no authority yet"
    return {file: base64.b64decode(content) for file, content in signing["data"].items()}


def _pair(folder: Path, ca: Path, name: str, namespace: str) -> dict[str, Any]:
    issue(folder / "pair", ca, name, f"subjectAltName=DNS:*.{namespace}.svc")
    return _secret(name, namespace, folder / "pair", ca)


def _secret(name: str, namespace: str, pair: Path, ca: Path | None = None) -> dict[str, Any]:
    files = {file: pair / file for file in ("tls.crt", "tls.key")}
    if ca is not None:
        files["ca.crt"] = ca / "tls.crt"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {file: base64.b64encode(path.read_bytes()).decode() for file, path in files.items()},
    }

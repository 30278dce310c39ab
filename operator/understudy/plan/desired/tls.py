"""TLS of an engine's pods: where its files lie, the flags that name them, and how others see that it is spoken.

The files are mounted, not read: a renewed certificate reaches the pods by the kubelet, and starts no new revision.
"""

from collections.abc import Mapping
from typing import Any, Final

from understudy.api.v1alpha1.engine import EngineTls
from understudy.domain.names import ENGINE_PORT_NAME, ENGINE_TLS_PORT_NAME

_FOLDER: Final = "/etc/understudy/tls"
_VOLUME: Final = "engine-tls"
# Python's ssl.CERT_REQUIRED, as uvicorn and vLLM take it.
_REQUIRED: Final = 2
TLS_FLAGS: Final = dict.fromkeys(
    ("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--ssl-cert-reqs", "--enable-ssl-refresh"),
    "write spec.engine.tls",
)


def arguments(tls: EngineTls | None) -> list[str]:
    """What tells the engine; the simulated one takes vLLM's flags."""
    if tls is None:
        return []
    flags = [f"--ssl-certfile={_FOLDER}/tls.crt", f"--ssl-keyfile={_FOLDER}/tls.key", "--enable-ssl-refresh"]
    if tls.require_client_certificate:
        flags += [f"--ssl-ca-certs={_FOLDER}/ca.crt", f"--ssl-cert-reqs={_REQUIRED}"]
    return flags


def volumes(tls: EngineTls | None) -> list[dict[str, Any]]:
    """The Secret as a volume."""
    return (
        [] if tls is None else [{"name": _VOLUME, "secret": {"secretName": tls.secret_ref.name, "defaultMode": 0o440}}]
    )


def mounts(tls: EngineTls | None) -> list[dict[str, Any]]:
    """Where the engine finds it."""
    return [] if tls is None else [{"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}]


def port_name(tls: EngineTls | None) -> str:
    """Name of the engine's port; by it `speaks_tls` knows."""
    return ENGINE_PORT_NAME if tls is None else ENGINE_TLS_PORT_NAME


def health(tls: EngineTls | None) -> dict[str, Any]:
    """How the kubelet asks whether the engine is well.

    It has no certificate to show: where one is asked for, that the port is open is all that it can find out.
    """
    if tls is None:
        return {"httpGet": {"path": "/health", "port": ENGINE_PORT_NAME}}
    if tls.require_client_certificate:
        return {"tcpSocket": {"port": ENGINE_TLS_PORT_NAME}}
    return {"httpGet": {"path": "/health", "port": ENGINE_TLS_PORT_NAME, "scheme": "HTTPS"}}


def speaks_tls(template: Mapping[str, Any]) -> bool:
    """Whether the pods of a template speak TLS: it is all that is known for sure of a revision made long ago."""
    ports = template["spec"]["containers"][0].get("ports") or ()
    return any(port.get("name") == ENGINE_TLS_PORT_NAME for port in ports)

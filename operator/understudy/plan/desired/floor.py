"""The security floor of every pod, and the refusal of what would go below it.

Below the floor is only for namespaces that the installation names as privileged.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from understudy.plan.desired.refusal import Refusal

USER: Final = 2000
POD_FLOOR: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD_DEFAULTS: Final[Mapping[str, Any]] = {
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # Weights on a large volume are not walked at every start.
    "fsGroupChangePolicy": "OnRootMismatch",
}
CONTAINER_FLOOR: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
_ASK: Final = "remove it, or have {namespace} listed in the chart's privilegedNamespaces"
_HOST_FIELDS: Final = ("hostNetwork", "hostPID", "hostIPC")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def below_floor(overrides: Mapping[str, Any], namespace: str) -> Refusal | None:
    """The first thing in a podTemplate that the floor forbids; shapes are checked before."""
    violations = list(_violations(overrides))
    if not violations:
        return None
    path, problem = violations[0]
    return Refusal(f"spec.podTemplate.{path}", problem, _ASK.format(namespace=namespace))


def pod_security(override: Mapping[str, Any], *, privileged: bool) -> dict[str, Any]:
    """The pod's securityContext: the floor wins, except in a privileged namespace."""
    if privileged:
        return {**POD_DEFAULTS, **POD_FLOOR, **override}
    return {**POD_DEFAULTS, **override, **POD_FLOOR}


def container_security(override: Mapping[str, Any], *, privileged: bool) -> dict[str, Any]:
    """A container's securityContext: the floor wins, except in a privileged namespace."""
    if privileged:
        return {**CONTAINER_FLOOR, **override}
    return {**override, **CONTAINER_FLOOR}


def _violations(overrides: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _HOST_FIELDS:
        if overrides.get(name):
            yield name, "shares the node with the pod"
    for index, volume in enumerate(overrides.get("volumes") or ()):
        if "hostPath" in volume:
            yield f"volumes[{index}].hostPath", "mounts the node's files"
    for name, value in (overrides.get("annotations") or {}).items():
        if name.startswith(_APPARMOR) and value == "unconfined":
            yield f"annotations[{name}]", "turns AppArmor off"
    yield from _context("securityContext", overrides.get("securityContext") or {})
    for index, container in enumerate(overrides.get("initContainers") or ()):
        path = f"initContainers[{index}]"
        yield from _context(f"{path}.securityContext", container.get("securityContext") or {})
        ports = container.get("ports")
        for number, port in enumerate(ports if isinstance(ports, list) else ()):
            if isinstance(port, Mapping) and port.get("hostPort"):
                yield f"{path}.ports[{number}].hostPort", "takes a port of the node"


def _context(path: str, context: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(context, Mapping):
        yield path, "is not an object"
        return
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield path, "runs as root"
    for name in ("privileged", "allowPrivilegeEscalation"):
        if context.get(name):
            yield f"{path}.{name}", "gives the container more than its user has"
    capabilities = context.get("capabilities")
    if isinstance(capabilities, Mapping) and capabilities.get("add"):
        yield f"{path}.capabilities.add", "adds kernel capabilities"
    for name in ("seccompProfile", "appArmorProfile"):
        profile = context.get(name)
        if isinstance(profile, Mapping) and profile.get("type") == "Unconfined":
            yield f"{path}.{name}", "turns the kernel's filter off"
    for name in ("sysctls", "procMount", "seLinuxOptions", "windowsOptions"):
        if context.get(name):
            yield f"{path}.{name}", "changes the node's kernel settings for the pod"

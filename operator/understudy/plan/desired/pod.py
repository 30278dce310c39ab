"""The pod of an engine: what every one gets, whatever the engine, before the user's podTemplate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.api.v1alpha1.engine import Engine, Resources
from understudy.domain.duration import seconds
from understudy.domain.names import ENGINE_KEY_FIELD, ENGINE_PORT, engine_key_secret
from understudy.plan.desired import tls
from understudy.plan.desired.accelerator import CLAIM, Scheduling, required_nodes
from understudy.plan.desired.engine import SHUTDOWN, EnginePart
from understudy.plan.desired.metadata import labels
from understudy.plan.desired.pod_template import ENGINE
from understudy.plan.desired.refusal import Refusal

API_KEY_VARIABLE: Final = "VLLM_API_KEY"
HOME: Final = "/home/understudy"
STARTUP_PERIOD: Final = 2
# On top of preStop and shutdownTimeout, so that SIGKILL never comes before the engine's own deadline.
GRACE_MARGIN: Final = 10
# From PodScheduled to the end of the startup probe there is also the image pull.
START_MARGIN: Final = 60

# An unknown user id has no passwd entry: libraries then fail to find a home, a name and a cache.
_HOME_ENV: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "HOME", "value": HOME},
    {"name": "USER", "value": "understudy"},
    {"name": "LOGNAME", "value": "understudy"},
    {"name": "XDG_CACHE_HOME", "value": f"{HOME}/.cache"},
    {"name": "XDG_CONFIG_HOME", "value": f"{HOME}/.config"},
    {"name": "HF_HOME", "value": f"{HOME}/.cache/huggingface"},
    {"name": "TRITON_CACHE_DIR", "value": f"{HOME}/.cache/triton"},
    {"name": "TORCHINDUCTOR_CACHE_DIR", "value": f"{HOME}/.cache/torchinductor"},
)
# Shared memory, no temporary file.
_SHM_MOUNT: Final = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108  # nosec B108
_HOME_MOUNT: Final = {"name": "home", "mountPath": HOME}


@dataclass(frozen=True, slots=True)
class Times:
    """How long a start may take, from PodScheduled, and an end: all in seconds.

    `grace` is the least terminationGracePeriodSeconds: `prestop`, the engine's own `shutdown`, and some more.
    """

    startup: float
    shutdown: int
    prestop: int

    @property
    def start_deadline(self) -> float:
        """After this a start has failed."""
        return self.startup + START_MARGIN

    @property
    def grace(self) -> int:
        """Before this no SIGKILL comes."""
        return self.prestop + self.shutdown + GRACE_MARGIN


def times(engine: Engine, prestop: int) -> Times | Refusal:
    """The engine's timeouts in seconds."""
    found: list[float] = []
    for name, text in (("startupTimeout", engine.startup_timeout), ("shutdownTimeout", engine.shutdown_timeout)):
        try:
            found.append(seconds(text))
        except ValueError:
            return Refusal(f"spec.engine.{name}", f"{text!r} is no duration", "write one such as 90s or 1h30m")
    return Times(found[0], math.ceil(found[1]), prestop)


def engine_pod(
    deployment: str,
    revision: str,
    image: str,
    engine: Engine,
    resources: Resources,
    scheduling: Scheduling,
    part: EnginePart,
    limits: Times,
) -> dict[str, Any]:
    """Metadata and spec of a revision's pods, before overrides and the security floor."""
    env = _env(deployment, revision, engine, part)
    volumes = [
        # vLLM needs at least 160 MiB of shared memory; a container's default is 64 MiB.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{2 * max(1, scheduling.count)}Gi"}},
        {"name": "home", "emptyDir": {}},
        *tls.volumes(engine.tls),
        *part.volumes,
    ]
    container = {
        "name": ENGINE,
        "image": image,
        "command": list(part.command),
        "args": list(part.args),
        "ports": [{"name": tls.port_name(engine.tls), "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        "env": env,
        **({"envFrom": [_written(block) for block in engine.env_from]} if engine.env_from else {}),
        "resources": _resources(resources, scheduling),
        **_probes(limits, tls.health(engine.tls)),
        # Kubernetes before 1.33 refuses a sleep of 0.
        **({"lifecycle": {"preStop": {"sleep": {"seconds": limits.prestop}}}} if limits.prestop else {}),
        "volumeMounts": [_SHM_MOUNT, _HOME_MOUNT, *tls.mounts(engine.tls), *part.mounts],
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # A Service named vllm would set VLLM_PORT=tcp://…, and vLLM would refuse to start.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": limits.grace,
        "volumes": volumes,
        "containers": [container],
    }
    if part.init_containers:
        spec["initContainers"] = [_fetcher(fetch, engine) for fetch in part.init_containers]
    if scheduling.node_expressions:
        spec["affinity"] = required_nodes({}, scheduling.node_expressions)
    if scheduling.claim_template:
        spec["resourceClaims"] = [{"name": CLAIM, "resourceClaimTemplateName": scheduling.claim_template}]
    return {"metadata": {"labels": labels(deployment, revision)}, "spec": spec}


def ending(template: Mapping[str, Any]) -> float | None:
    """Seconds that requests on a pod of this template have from its deletion on: preStop, then the engine's own.

    None if it is not one that was made here: then nobody knows.
    """
    for container in template["spec"]["containers"]:
        told = (str(argument).partition(f"{SHUTDOWN}=") for argument in container.get("args") or ())
        shutdown = next((value for before, found, value in told if found and not before), "")
        if shutdown.isdecimal():
            sleep = ((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
            return float(sleep.get("seconds", 0)) + int(shutdown)
    return None


def _env(deployment: str, revision: str, engine: Engine, part: EnginePart) -> list[Mapping[str, Any]]:
    """Ours, then the engine's, then the user's in their place; the key is last and nobody's but ours."""
    merged = {variable["name"]: variable for variable in (*_HOME_ENV, *part.env)}
    merged |= {variable.name: _written(variable) for variable in engine.env}
    secret = {"name": engine_key_secret(deployment, revision), "key": ENGINE_KEY_FIELD}
    merged[API_KEY_VARIABLE] = {"name": API_KEY_VARIABLE, "valueFrom": {"secretKeyRef": secret}}
    return list(merged.values())


def _fetcher(fetch: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """A download in the engine's environment: proxies and mirrors are set there once."""
    env = {variable["name"]: variable for variable in _HOME_ENV}
    env |= {variable.name: _written(variable) for variable in engine.env}
    env |= {variable["name"]: variable for variable in fetch["env"]}
    return {**fetch, "env": list(env.values()), "volumeMounts": [_HOME_MOUNT, *fetch["volumeMounts"]]}


def _resources(resources: Resources, scheduling: Scheduling) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        if both := {**amounts, **scheduling.resources}:
            wanted[name] = both
    if scheduling.claim_template:
        wanted["claims"] = [{"name": CLAIM}]
    return wanted


def _probes(limits: Times, ask: Mapping[str, Any]) -> dict[str, Any]:
    tries = math.ceil(limits.startup / STARTUP_PERIOD)
    return {
        "startupProbe": {**ask, "periodSeconds": STARTUP_PERIOD, "timeoutSeconds": 5, "failureThreshold": tries},
        "readinessProbe": {**ask, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        # Far slower than readiness: a restart loses every stream, so it is for an engine that is really gone.
        "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _written(model: Any) -> dict[str, Any]:
    written: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written

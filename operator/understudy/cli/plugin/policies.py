"""What would become of the Guardrails that hold for a deployment: compiled here, as the operator would compile them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.manifests import Manifests
from understudy.domain.key import Key
from understudy.engine.guardrails import configmaps_of, texts
from understudy.engine.policies import compiled
from understudy.guard.policy import policy_hash
from understudy.kube.client import Object
from understudy.kube.errors import ApiError
from understudy.kube.resources import CONFIG_MAP, GUARDRAIL
from understudy.plan.guardrail import ObservedGuardrail, plan_guardrail
from understudy.plan.guards import holds_for
from understudy.plan.observed import Observed


async def with_policies(reader: Reader, files: Manifests, observed: Observed) -> tuple[Observed, list[str]]:
    """The same, with the status of each Guardrail that the files change as it would be; and what could not be read.

    Of others what is stored is true.
    """
    notes: list[str] = []
    guardrails = []
    for guardrail in observed.guardrails:
        spec: Mapping[str, Any] = guardrail["spec"]
        touched = _named(files, GUARDRAIL.kind, guardrail) or any(
            _named(files, CONFIG_MAP.kind, {"metadata": {"name": name, "namespace": observed.key.namespace}})
            for _, name in configmaps_of(spec)
        )
        if not touched or not holds_for(guardrail, observed.deployment or {}):
            guardrails.append(guardrail)
            continue
        try:
            found = await _contents(reader, files, observed.key.namespace, spec)
        except ApiError as error:
            if error.status != 403:
                raise
            notes.append(f"Guardrail {guardrail['metadata']['name']} is not foreseen: {error.message}")
            guardrails.append(guardrail)
            continue
        guardrails.append({**guardrail, "status": _status(observed, guardrail, found)})
    return replace(observed, guardrails=tuple(guardrails)), notes


def _status(observed: Observed, guardrail: Object, found: Mapping[str, Object]) -> Mapping[str, Any]:
    name, namespace, spec = guardrail["metadata"]["name"], observed.key.namespace, guardrail["spec"]
    sources, missing = texts(spec, namespace, found)
    decided = plan_guardrail(
        ObservedGuardrail(
            key=Key(namespace, name),
            now=observed.now,
            guardrail=guardrail,
            policy="" if missing else policy_hash(spec, sources),
            missing=missing,
            verdict=None if missing else compiled(name, spec, sources),
        )
    )
    return decided.status or {}


async def _contents(reader: Reader, files: Manifests, namespace: str, spec: Mapping[str, Any]) -> dict[str, Object]:
    """The ConfigMaps that hold what detectors look for: of the files, else those that are stored."""
    found: dict[str, Object] = {}
    for _, name in sorted(configmaps_of(spec)):
        there = [o for o in files.of(CONFIG_MAP) if o["metadata"]["name"] == name]
        stored = next((o for o in there if o["metadata"]["namespace"] == namespace), None) or await reader.found(
            CONFIG_MAP, name
        )
        if stored is not None:
            found[name] = stored
    return found


def _named(files: Manifests, kind: str, obj: Object) -> bool:
    """Whether the files have an object of that kind and name."""
    meta = obj["metadata"]
    return any(
        resource.kind == kind
        and (o["metadata"]["name"], o["metadata"]["namespace"]) == (meta["name"], meta["namespace"])
        for resource, o in files.objects
    )

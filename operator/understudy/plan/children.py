"""The children that the registers ask for: the writes of one pass, in the order that keeps every request safe.

The table comes first, so that a revert is never behind anything; pods are raised in one pass and get
their share in a later one, when they have been seen to answer; pods go last, and only when nobody
can be using them.
"""

from collections.abc import Iterator

from understudy.domain.names import LABEL_REVISION
from understudy.plan.actions import Action, Apply
from understudy.plan.capacity import wanted as wanted_pods
from understudy.plan.desired.children import (
    configmap_copy_manifest,
    engine_key_manifest,
    policy_manifest,
    pool_manifest,
    service_manifest,
    table_manifest,
)
from understudy.plan.observed import Object
from understudy.plan.release import streaming, why_not
from understudy.plan.routes import Share, desired_table
from understudy.plan.snapshots import delete
from understudy.plan.volumes import dropped
from understudy.plan.wanted import Blocked
from understudy.plan.world import Revision, World


def table_write(world: World, parts: tuple[Share, ...]) -> list[Action]:
    """The routing table; none is made while a guardrail that must hold has no policy."""
    if world.table is None and world.guarding.bare:
        return []
    manifest = table_manifest(desired_table(world, parts), _owner(world))
    said = ", ".join(f"{part.revision} {part.weight} %" for part in parts) or "nothing serves yet"
    return [_apply(manifest, world.observed.table, f"route: {said}")]


def revision_writes(world: World) -> list[Action]:
    """Record, key, Service and pool of every revision that has a part."""
    writes: list[Action] = []
    for name in world.state.live():
        revision = world.revision(name)
        record = _record(world, revision)
        if record is None:
            continue
        if revision.snapshot is None and "hash" in record["spec"]:
            writes.append(Apply(obj=record, why=f"record {name}"))
        writes.extend(_copies(world, record))
        replicas = desired_replicas(world, revision)
        if revision.pool is None and replicas == 0 and not revision.pods and not _is_rehearsed(world, name):
            continue
        if name == world.state.candidate and not world.written(name) and dropped(record, revision.pool):
            replicas = 0  # its pods would start without their weights
        owner = _owner(world)
        secret = world.observed.settings.engine_key(world.namespace, world.name, name)
        key = engine_key_manifest(record, secret, owner)
        writes.append(_apply(key, revision.engine_key, f"engine key of {name}"))
        writes.append(_apply(service_manifest(record, owner), revision.service, f"Service of {name}"))
        writes.append(_apply(pool_manifest(record, replicas, owner), revision.pool, f"{replicas} pods of {name}"))
    return writes


def desired_replicas(world: World, revision: Revision) -> int:
    """Pods that a revision with a part should have."""
    state, wanted = world.state, world.replicas
    if state.phase == "Replacing":
        return _replacing(world, revision)
    busy = state.phase in ("Canary", "Promoting", "Reverting", "Restoring") or bool(state.candidate)
    if revision.name == state.stable:
        if state.phase == "Promoting" and world.terms.recreate:
            return revision.told  # it has made way
        # Scaled to zero in mid-rollout: back first, then down.
        return world.carrying if wanted else (revision.told if busy else 0)
    if revision.name == state.previous:
        starved = any(pod.unschedulable for pod in world.stable.pods)
        return 0 if starved and not why_not(world, revision.name) else min(revision.told, wanted)
    if state.phase == "Reverting":
        return 0 if not why_not(world, revision.name) else revision.told
    if state.phase == "Preparing" and not revision.exists and any(r.exists for r in world.others()):
        return 0
    if state.phase == "Preparing" and state.stable and world.terms.recreate:
        return _too_early(world, revision)
    if state.phase == "Restoring" or not state.stable:
        return world.carrying if wanted else revision.told
    # Pods that are there may be finishing requests of an earlier part: only a lowered spec takes them away. While
    # stable lends, one for which there is no place would only take the next that a pod of stable needs.
    there = max(revision.placed, world.lent) if world.lent else revision.told
    return max(wanted_pods(world), _needed_now(world), min(revision.told, there, wanted))


def _replacing(world: World, revision: Revision) -> int:
    """One after the other: no pod of the candidate before the last one of stable is gone, nor the other way round."""
    state = world.state
    forward = state.weight > 0
    if revision.name == (state.stable if forward else state.candidate):
        return revision.told if why_not(world, revision.name) else 0
    if revision.name == state.candidate:
        return _too_early(world, revision) if world.stable.exists else world.replicas or revision.told
    return revision.told


def _too_early(world: World, revision: Revision) -> int:
    """None beside stable's; those that a deployment which was made again has left end their requests."""
    return revision.told if streaming(world, revision.name) else 0


def _is_rehearsed(world: World, name: str) -> bool:
    """Recreate: the candidate's pool is made without pods first, so that the API server has its say in time."""
    return world.terms.recreate and name == world.state.candidate and world.state.phase == "Preparing"


def farewell(world: World) -> list[Action]:
    """Revisions that have no part any more: down when nobody uses them, deleted when their pods are gone."""
    writes: list[Action] = []
    for revision in world.others():
        if revision.wanted > 0 and revision.pool is not None:
            record = _record(world, revision)
            if record is not None and not why_not(world, revision.name):
                manifest = pool_manifest(record, 0, _owner(world))
                writes.append(_apply(manifest, revision.pool, f"{revision.name} has left"))
        elif not revision.pods:
            children = (revision.pool, revision.service, revision.engine_key)
            writes.extend(delete(child, f"{revision.name} has left") for child in children if child is not None)
    return [*writes, *(delete(copy, "its record is gone") for copy in _unrecorded_copies(world))]


def admission(world: World) -> list[Action]:
    """Who may reach the pods. Last of all writes: one that is refused must not hold up what serves."""
    settings, policy = world.observed.settings, world.observed.policy
    if settings.engine_policies:
        manifest = policy_manifest(_owner(world), settings.system_namespace)
        return [_apply(manifest, policy, "only gateways and the operator reach the pods")]
    return [delete(policy, "engine policies are off")] if policy is not None else []


def _needed_now(world: World) -> int:
    """Pods for the share that is written, which a lowered spec must not take away."""
    share = world.borne(world.state.candidate)
    return world.need(share) if share else 1


def _record(world: World, revision: Revision) -> Object | None:
    """The revision's record: as observed, or to be written; of one deleted by hand, what its pool still says.

    None when nothing is left of it and the spec asks for another one.
    """
    if revision.snapshot is not None:
        return revision.snapshot
    target, pool = world.target, revision.pool
    asked = target.snapshot if not isinstance(target, Blocked) and target.revision == revision.name else None
    if pool is None:
        return asked
    # Running pods keep the template that they have, whatever would be rendered today.
    base = asked or {
        "metadata": {"namespace": world.namespace},
        "spec": {"deployment": world.name, "revision": revision.name},
    }
    return {**base, "spec": {**base["spec"], "podTemplate": pool["spec"]["template"]}}


def _copies(world: World, record: Object) -> list[Action]:
    """Immutable copies of the ConfigMaps that the pods mount, where they are missing."""
    writes: list[Action] = []
    for reference in record["spec"].get("references") or ():
        copy, source = reference.get("copy"), world.observed.configmaps.get(reference["name"])
        if not copy or copy in world.observed.configmaps or source is None:
            continue
        # Only the content that was hashed may be copied; an edit since then is another revision.
        if world.observed.references.get(("ConfigMap", reference["name"])) == reference.get("hash"):
            manifest = configmap_copy_manifest(record, source, copy, _owner(world))
            writes.append(Apply(obj=manifest, why=f"copy of ConfigMap {reference['name']}"))
    return writes


def _unrecorded_copies(world: World) -> Iterator[Object]:
    """Copies of ConfigMaps that nothing can mount any more: they live as long as the record that names them."""
    for configmap in world.observed.configmaps.values():
        name = (configmap["metadata"].get("labels") or {}).get(LABEL_REVISION, "")
        revision = world.revision(name)
        if name and name not in world.state.live() and revision.snapshot is None and not revision.exists:
            yield configmap


def _owner(world: World) -> Object:
    return world.observed.deployment or {}


def _apply(manifest: Object, observed: Object | None, why: str) -> Apply:
    meta = observed["metadata"] if observed is not None else {}
    return Apply(obj=manifest, uid=meta.get("uid", ""), resource_version=meta.get("resourceVersion", ""), why=why)

"""Does what a plan says, in order, and stops at the first failure: the next pass decides afresh.

A write that would change nothing is not sent. A no-op server-side apply costs the API server as much
as a write, and a restart over thousands of unchanged deployments must write nothing. For objects the
proof is the hash of what we applied, in an annotation, together with no new foreign field manager;
for status it is the status itself.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from understudy.domain.key import Key
from understudy.domain.names import ANNOTATION_APPLIED_HASH
from understudy.engine.cache import Cache, Ref
from understudy.engine.events import EventRecorder
from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError, Conflict, Failure, NotFound, Terminal
from understudy.kube.resources import MODEL_DEPLOYMENT, resource_named, resource_of
from understudy.kube.trim import FOREIGN, trim
from understudy.plan.actions import Action, Apply, Delete
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

Seen = Mapping[tuple[str, str], Object]  # by kind and name, in the namespace of who writes

_REFUSED_FOR = 30.0  # seconds after which even a refusal for ever is put to the test again


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a plan: how many writes were sent, and what ended it early, if anything did."""

    written: int = 0
    failure: Failure | None = None
    at: Action | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Settled:
    """What an object looked like just after we applied `desired` to it; the same again needs no write."""

    uid: str
    desired: str
    outcome: str


@dataclass(frozen=True, slots=True)
class _Refused:
    """What the API server said to `desired`; not asked again before `until` (monotonic seconds)."""

    desired: str
    until: float
    error: ApiError


class Executor:
    """Carries out actions of one deployment at a time; different deployments may overlap."""

    def __init__(
        self,
        client: KubeClient,
        cache: Cache,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._metrics = metrics
        self._monotonic = monotonic
        self._settled: dict[tuple[Ref, str], _Settled] = {}
        self._refused: dict[tuple[Ref, str], _Refused] = {}

    async def run(self, writer: Key, actions: Iterable[Action], seen: Seen = MappingProxyType({})) -> Result:
        """Carry out `actions` of the deployment `writer`; the first failure ends it and is returned.

        `seen` are some of the objects as the cache has them at this moment: until the first write they are as good.
        """
        written: dict[Ref, tuple[str, Object]] = {}  # by this run: version before, object after
        for action in actions:
            try:
                if isinstance(action, Apply):
                    await self._apply(writer, action, written, {} if written else seen)
                elif isinstance(action, Delete):
                    await self._delete(writer, action)
                    written[_ref_of_delete(action)] = ("", {})
                else:
                    about = self._cache.get(MODEL_DEPLOYMENT, writer.namespace, writer.name)
                    if about is not None:
                        self._recorder.record(about, action)
            except ApiError as error:
                if not isinstance(error, _KnownRefusalError):
                    self._metrics.writes.labels(_kind(action), type(error.failure).__name__.lower()).inc()
                    log.info("%s: %s: %s", writer, _describe(action), error)
                # Something that a plan saw is gone: a condition that does not hold, no fault of the request.
                failure = Conflict() if isinstance(error.failure, NotFound) else error.failure
                return Result(len(written), failure, action, error.message)
        return Result(len(written))

    def forget(self, ref: Ref) -> None:
        """The object is gone; nothing of it needs to be remembered."""
        for subresource in ("", "status"):
            self._settled.pop((ref, subresource), None)
            self._refused.pop((ref, subresource), None)

    async def _apply(self, writer: Key, action: Apply, written: dict[Ref, tuple[str, Object]], seen: Seen) -> None:
        resource = resource_of(action.obj)
        meta = action.obj["metadata"]
        ref = Ref(resource, meta.get("namespace", ""), meta["name"])
        if ref not in written:
            found = seen.get((resource.kind, ref.name)) or self._cache.get(resource, ref.namespace, ref.name)
            if found is not None and self._is_settled(ref, action, found):
                self._metrics.writes.labels(resource.kind, "unchanged").inc()
                return
        desired = _digest(action.obj)
        body = self._body(ref, action, desired, written)
        stored = await self._send(ref, action, body, desired)
        kept = trim(resource, stored)
        uid = str(stored["metadata"].get("uid", ""))
        self._settled[ref, action.subresource] = _Settled(uid, desired, _outcome(kept, action.subresource))
        version = action.resource_version or str(body["metadata"].get("resourceVersion", ""))
        written[ref] = (version, stored)
        self._cache.wrote(writer, ref, stored)
        self._metrics.writes.labels(resource.kind, "written").inc()
        log.info("%s: wrote %s", writer, _describe(action))

    async def _send(self, ref: Ref, action: Apply, body: dict[str, Any], desired: str) -> Object:
        """Send it, unless the very same was refused for ever just now: that would only load the server."""
        known = self._refused.get((ref, action.subresource))
        if known is not None and known.desired == desired and self._monotonic() < known.until:
            raise _KnownRefusalError(known.error)
        write = self._client.replace_status if action.subresource == "status" else self._client.apply
        try:
            stored = await write(ref.resource, body, manager=action.manager)
        except ApiError as error:
            if isinstance(error.failure, Terminal):
                self._refused[ref, action.subresource] = _Refused(desired, self._monotonic() + _REFUSED_FOR, error)
            raise
        self._refused.pop((ref, action.subresource), None)
        return stored

    def _is_settled(self, ref: Ref, action: Apply, cached: Object) -> bool:
        if action.uid and cached["metadata"]["uid"] != action.uid:
            return False
        if action.subresource == "status" and cached.get("status") == action.obj["status"]:
            return True
        desired = _digest(action.obj)
        settled = self._settled.get((ref, action.subresource))
        as_we_left_it = (
            settled is not None
            and settled.uid == cached["metadata"]["uid"]
            and settled.desired == desired
            and settled.outcome == _outcome(cached, action.subresource)
        )
        if action.subresource == "status":
            return as_we_left_it or _digest(cached.get("status")) == _digest(action.obj["status"])
        applied = (cached["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED_HASH)
        return applied == desired and (FOREIGN not in cached or as_we_left_it)

    def _body(self, ref: Ref, action: Apply, desired: str, written: Mapping[Ref, tuple[str, Object]]) -> dict[str, Any]:
        meta = dict(action.obj["metadata"])
        if action.subresource != "status":
            meta["annotations"] = {**(meta.get("annotations") or {}), ANNOTATION_APPLIED_HASH: desired}
        uid, version = action.uid, action.resource_version
        if ref in written and written[ref][1]:
            before, after = written[ref]
            uid = uid or after["metadata"]["uid"]
            # The version that was observed is one behind by our own doing, in this very run.
            version = after["metadata"]["resourceVersion"] if version and version == before else version
        elif not uid and action.subresource == "status":
            # Without a uid, a write to something that is gone could create it.
            cached = self._cache.get(ref.resource, ref.namespace, ref.name)
            if cached is None:
                raise ApiError(0, "NotObserved", f"{ref.name} is not there yet", Conflict())
            uid = cached["metadata"]["uid"]
        if uid:
            meta["uid"] = uid
        if version:
            meta["resourceVersion"] = version
        return {**action.obj, "metadata": meta}

    async def _delete(self, writer: Key, action: Delete) -> None:
        resource = resource_named(action.api_version, action.kind)
        ref = _ref_of_delete(action)
        try:
            await self._client.delete(
                resource, action.namespace, action.name, uid=action.uid, resource_version=action.resource_version
            )
        except ApiError as error:
            if not isinstance(error.failure, NotFound):
                raise
        self._cache.deleted(writer, ref, action.uid)
        self._metrics.writes.labels(action.kind, "deleted").inc()
        log.info("%s: wrote %s", writer, _describe(action))


class _KnownRefusalError(ApiError):
    """A refusal that was heard before, repeated without asking."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, error.reason, error.message, error.failure)


def _outcome(trimmed: Object, subresource: str) -> str:
    """What must stay as it is for a write to stay unnecessary."""
    return _digest(trimmed.get("status") or {}) if subresource == "status" else str(trimmed.get(FOREIGN, ""))


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _ref_of_delete(action: Delete) -> Ref:
    return Ref(resource_named(action.api_version, action.kind), action.namespace, action.name)


def _kind(action: Action) -> str:
    return str(action.obj["kind"]) if isinstance(action, Apply) else getattr(action, "kind", "Event")


def _describe(action: Action) -> str:
    if isinstance(action, Apply):
        what = f"{action.obj['kind']}{'/status' if action.subresource else ''} {action.obj['metadata']['name']}"
    elif isinstance(action, Delete):
        what = f"deletion of {action.kind} {action.name}"
    else:
        return f"event {action.reason}"
    return f"{what} ({action.why})" if action.why else what

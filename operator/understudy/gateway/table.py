"""What requests are routed by: one immutable value, compiled from tables, endpoints and keys, swapped by a pointer.

Everything that a request needs is looked up, nothing is computed: thresholds of the split, the head that goes
to the engine, the endpoints that are ready.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from understudy.domain.names import child_name, engine_key, kept_key_field, service_host
from understudy.domain.table import Shadow, Table, Track
from understudy.gateway.policy.balance import UNBOUNDED, Endpoint
from understudy.gateway.policy.conversation import thresholds
from understudy.gateway.policy.evidence import Counters, Evidence
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import FORWARDED
from understudy.gateway.policy.pairs import PairCounters

# Order of the split: the candidate first, so that raising its weight moves nobody but stable's conversations.
_ORDER: Final[Mapping[Track, int]] = {"canary": 0, "stable": 1, "shadow": 2}


@dataclass(frozen=True, slots=True)
class Served:
    """A RoutingTable that is served by, with its version and where it came from."""

    namespace: str
    name: str
    uid: str
    generation: int
    table: Table


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint of a revision as its slice says.

    It takes new requests if `ready`; if no other is ready while it is still `serving` (it is on its way out);
    and if neither, when there is nobody else at all: a node that was out of sight has all its pods marked unready,
    and asking one of them beats refusing everybody.
    """

    host: str
    port: int
    ready: bool
    serving: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One revision that takes requests.

    `last_resort` are endpoints that nobody vouches for, kept while there are no `endpoints`. `heads` are the
    request heads up to the length, by path and streaming.
    """

    revision: str
    track: Track
    weight: int
    model: str
    endpoints: tuple[Endpoint, ...]
    last_resort: tuple[Endpoint, ...]
    counters: Counters
    heads: Mapping[tuple[str, bool], bytes]
    answer_fields: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """The revision that gets copies of what stable is asked. `pairs` is what becomes of them.

    `variant` has counters that nobody reads: a copy is no attempt.
    """

    settings: Shadow
    variant: Variant
    pairs: PairCounters


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One deployment. `split` is in the order of `ends`; `stable` is where failures of the candidate go.

    `cut` are the revisions whose open answers must end. An endpoint with `most` open requests is full.
    `guarding` is what its Guardrails come to, None where none holds; `unguarded` says why it may not be served, if so.
    `places` are where findings of its Guardrails are counted, by `<guardrail>/<category>`.
    `evidence_key` keys hashes of what was found.
    """

    key: str
    served: Served
    variants: tuple[Variant, ...]
    split: tuple[Variant, ...]
    ends: tuple[int, ...]
    stable: Variant | None
    cut: frozenset[str]
    shadow: Mirror | None
    most: int
    guarding: Guarding | None = None
    unguarded: str = ""
    places: Mapping[str, int] = field(default_factory=dict)
    evidence_key: bytes = b""

    @property
    def names(self) -> tuple[str, ...]:
        """Every plain name that the deployment goes by."""
        return (self.served.name, *self.served.table.served_names)


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The whole table. `names` holds served names and `namespace/name` of every deployment."""

    deployments: Mapping[str, Entry] = field(default_factory=dict)
    names: Mapping[str, Entry] = field(default_factory=dict)
    keys: Mapping[str, AccessKey] = field(default_factory=dict)


class Endpoints:
    """Endpoint objects by revision and address, so that load and standing survive a change of table."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[Address, Endpoint]] = {}

    def of(
        self, deployment: str, revision: str, addresses: Iterable[Address], *, tls: bool
    ) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
        """The endpoints to use of `addresses` (the ready ones, else those still serving), and the last resort."""
        namespace, _, name = deployment.partition("/")
        service = service_host(namespace, name, revision) if tls else ""
        # Whoever is spoken to in another way from now on begins anew.
        before = {a: e for a, e in self._known.get((deployment, revision), {}).items() if e.name == service}
        now: dict[Address, Endpoint] = {}
        same = {(a.host, a.port): e for a, e in before.items()}
        for address in addresses:
            # An endpoint that changes its readiness starts anew: the kubelet has looked at it since.
            kept = before.get(address) or (None if address.ready else same.get((address.host, address.port)))
            now[address] = kept or Endpoint(address.host, address.port, service)
        self._known[(deployment, revision)] = now
        ready = tuple(e for a, e in now.items() if a.ready)
        use = ready or tuple(e for a, e in now.items() if a.serving)
        return use, () if use else tuple(now.values())

    def forget(self, deployment: str, revisions: frozenset[str]) -> None:
        """Drop what is known of a deployment's revisions other than `revisions`."""
        for key in [k for k in self._known if k[0] == deployment and k[1] not in revisions]:
            del self._known[key]


def compile_entry(
    served: Served,
    addresses: Mapping[str, Iterable[Address]],
    master: bytes,
    kept: Mapping[str, str],
    endpoints: Endpoints,
    evidence: Evidence,
    guarded: tuple[Guarding | None, str] = (None, ""),
) -> Entry:
    """One deployment's entry; `addresses` are its revisions' endpoints by revision.

    Engine keys are derived from `master`, but for those in `kept`. `guarded` is as `guarding` and `unguarded` of Entry.
    """
    key = f"{served.namespace}/{served.name}"
    variants = []
    for variant in served.table.variants:
        model = child_name(served.name, variant.revision)
        secret = kept.get(kept_key_field(served.namespace, served.name, variant.revision), "")
        if master and not secret:
            secret = engine_key(master, served.namespace, served.name, variant.revision)
        use, last_resort = endpoints.of(key, variant.revision, addresses.get(variant.revision, ()), tls=variant.tls)
        variants.append(
            Variant(
                revision=variant.revision,
                track=variant.track,
                weight=variant.weight,
                model=model,
                endpoints=use,
                last_resort=last_resort,
                counters=evidence.counters(key, variant.revision),
                heads=_heads(model, secret),
                answer_fields=(
                    f"x-understudy-revision: {variant.revision}\r\nx-understudy-track: {variant.track}\r\n"
                ).encode(),
            )
        )
    current = frozenset(v.revision for v in variants)
    endpoints.forget(key, current)
    evidence.prune(key, current)
    split = tuple(sorted((v for v in variants if v.track != "shadow"), key=lambda v: _ORDER[v.track]))
    stable = next((v for v in variants if v.track == "stable"), None)
    ends = thresholds([v.weight for v in split])
    cut = frozenset(served.table.cut)
    return Entry(
        key=key,
        served=served,
        variants=tuple(variants),
        split=split,
        ends=ends,
        stable=stable,
        cut=cut,
        shadow=_mirror(served.table.shadow, variants),
        most=served.table.queue.per_pod or UNBOUNDED,
        guarding=guarded[0],
        unguarded=guarded[1],
        places=evidence.places.get(key, {}),
        evidence_key=master,
    )


def _mirror(settings: Shadow | None, variants: Iterable[Variant]) -> Mirror | None:
    if settings is None:
        return None
    variant = next(v for v in variants if v.track == "shadow")
    return Mirror(settings, replace(variant, counters=Counters()), variant.counters.pairs)


def compile_routes(entries: Mapping[str, Entry], keys: Mapping[str, AccessKey], before: Routes) -> Routes:
    """All entries by every name. Of two that list one name, the holder keeps it, else the first by key has it.

    The full name of a deployment is its own alone, whoever listed it before there was that deployment.
    """
    names: dict[str, Entry] = {}
    for key in sorted(entries):
        entry = entries[key]
        names[key] = entry
        for name in entry.served.table.served_names:
            if name in entries:
                continue
            holder = before.names.get(name)
            if name not in names or (holder is not None and holder.key == key):
                names[name] = entry
    return Routes(deployments=dict(entries), names=names, keys=keys)


def _heads(model: str, secret: str) -> dict[tuple[str, bool], bytes]:
    authorization = f"Authorization: Bearer {secret}\r\n" if secret else ""
    heads = {}
    for operation in FORWARDED:
        for stream in (False, True):
            accept = "text/event-stream" if stream else "application/json"
            heads[(operation.path, stream)] = (
                f"POST {operation.path} HTTP/1.1\r\nHost: {model}\r\n{authorization}"
                f"Content-Type: application/json\r\nAccept: {accept}\r\nAccept-Encoding: identity\r\nContent-Length: "
            ).encode()
    return heads

"""Variant and endpoint of one dispatch, from the table that is current at that moment."""

from collections.abc import Collection
from typing import Final

from understudy.gateway.policy.balance import Endpoint, pick, pick_ejected
from understudy.gateway.policy.conversation import variant_at
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.refusal import Refusal, bad_request
from understudy.gateway.table import Entry, Variant

# The header by which a client asks for the candidate, and the one value that it takes.
VARIANT_FIELD: Final = b"x-understudy-variant"
CANDIDATE: Final = b"candidate"
NO_CANDIDATE: Final = Refusal(404, "no_candidate", "no other revision of this model can be asked now", final=True)
_MAX_PINS = 100_000


class Pins:
    """Conversations that stay on stable for the rest of a rollout because the candidate failed them."""

    __slots__ = ("_by_deployment",)

    def __init__(self) -> None:
        self._by_deployment: dict[str, tuple[str, dict[int, None]]] = {}

    def add(self, entry: Entry, where: int) -> None:
        """Pin the conversation at `where`; the oldest pin goes beyond 100,000, all go with the next candidate."""
        salt, pins = self._by_deployment.get(entry.key, ("", {}))
        if salt != entry.served.table.salt:
            salt, pins = entry.served.table.salt, {}
        self._by_deployment[entry.key] = (salt, pins)
        pins[where] = None
        if len(pins) > _MAX_PINS:
            del pins[next(iter(pins))]

    def holds(self, entry: Entry, where: int) -> bool:
        """Whether the conversation at `where` is pinned in the present rollout."""
        found = self._by_deployment.get(entry.key)
        return found is not None and found[0] == entry.served.table.salt and where in found[1]


def asks_for_candidate(field: bytes | None, key: AccessKey) -> bool | Refusal:
    """Whether the header `x-understudy-variant` asks for the candidate; a refusal for who may not, or asks otherwise.

    It is never passed over in silence: whoever tests a candidate must not be answered by stable unawares.
    """
    if field is None:
        return False
    if not key.chooses:
        message = "this access key may not choose a variant: leave out x-understudy-variant"
        return Refusal(403, "variant_not_allowed", message, final=True)
    if field.lower() != CANDIDATE:
        return bad_request("x-understudy-variant: want candidate")
    return True


def choose_candidate(
    entry: Entry, now: float, tried: Collection[Endpoint], draw: tuple[float, float], beginning: int = 0
) -> tuple[Variant, Endpoint] | Refusal | None:
    """An endpoint of the candidate and of nothing else; a refusal if the table has none, None while none is free."""
    variant = next((v for v in entry.split if v.track == "canary"), None)
    if variant is None:
        return NO_CANDIDATE
    endpoint = pick(variant.endpoints, now, tried, draw, entry.most, beginning)
    return None if endpoint is None else (variant, endpoint)


def choose_variant(entry: Entry, where: int, pins: Pins) -> Variant:
    """The variant of the conversation at `where`; the entry has at least one that takes traffic."""
    variant = entry.split[variant_at(where, entry.ends)]
    if variant.track == "canary" and entry.stable is not None and pins.holds(entry, where):
        return entry.stable
    return variant


def choose_endpoint(
    entry: Entry,
    variant: Variant,
    now: float,
    tried: Collection[Endpoint],
    draw: tuple[float, float],
    *,
    desperate: bool,
    beginning: int = 0,
) -> tuple[Variant, Endpoint] | None:
    """An endpoint of `variant`, else of stable, or None: there is nobody to ask at the moment.

    `desperate` takes even stable's ejected and unready endpoints: asking one of those beats not asking at all.
    """
    endpoint = pick(variant.endpoints, now, tried, draw, entry.most, beginning)
    if endpoint is not None:
        return variant, endpoint
    stable = entry.stable
    if stable is not None and stable is not variant:
        variant = stable
        endpoint = pick(stable.endpoints, now, tried, draw, entry.most, beginning)
        if endpoint is not None:
            return stable, endpoint
    if desperate:
        endpoint = pick_ejected(variant.endpoints, tried, entry.most)
        endpoint = endpoint or pick_ejected(variant.last_resort, tried, entry.most)
        if endpoint is not None:
            return variant, endpoint
    return None

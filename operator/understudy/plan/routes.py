"""Who gets which share of the conversations: the RoutingTable that the registers ask for, as far as pods allow."""

from dataclasses import dataclass, replace
from typing import Final

from understudy.api.v1alpha1.serving import Logging as LoggingSpec
from understudy.api.v1alpha1.serving import Pricing as Prices
from understudy.domain.duration import retention, seconds
from understudy.domain.money import Pricing, nano
from understudy.domain.names import child_name
from understudy.domain.table import Logging, Queue, Shadow, Table, Timeouts, Track, Variant
from understudy.plan.names import served
from understudy.plan.replaying import passed
from understudy.plan.rulebook import Guard
from understudy.plan.state import UNSAFE, State
from understudy.plan.world import Revision, World


@dataclass(frozen=True, slots=True)
class Share:
    """One revision's part of the conversations, in percent."""

    revision: str
    track: Track
    weight: int


def too_few_pods(world: World, revision: str) -> str:
    """Not enough of its pods have answered for what it is to get; one is enough when stable has none."""
    proven = world.revision(revision).proven
    share = world.state.weight or world.terms.first_share()
    need = 1 if world.stable.serving == 0 else world.need(share)
    return f"{proven} of {need} pods have answered" if proven < need else ""


def no_pool(world: World, revision: str) -> str:
    """Its pool asks for no pods."""
    return "" if world.revision(revision).wanted > 0 else f"{revision} has no pods"


def unenforced(world: World, _revision: str) -> str:
    """A gateway would let through what a guardrail forbids, or refuse everything because it cannot tell."""
    return world.unenforced


WEIGHT_GUARDS: Final[tuple[Guard, ...]] = (no_pool, too_few_pods, unenforced)


def shares(world: World) -> tuple[Share, ...]:
    """Every revision of the table with its share; none while nothing has ever been promoted, or one makes way."""
    state = world.state
    if not state.stable or state.phase == "Replacing":
        return ()
    if state.phase in ("Canary", "Promoting"):
        return _split(world, _allowed(world))
    if copies(world):
        return (Share(state.candidate, "shadow", 0), Share(state.stable, "stable", 100))
    if state.phase == "Restoring" and (is_warm(world) or world.written(state.candidate) == 100):
        return _split(world, 100)
    if state.phase == "Preparing" and is_shown(world):
        return _split(world, 0)
    if keeps_weights(world):
        return _split(world, world.written(state.candidate))
    return (Share(state.stable, "stable", 100),)


def copies(world: World) -> int:
    """Shadow: percent of the requests of which the candidate gets copies; more only once its pods can bear them."""
    state, wish = world.state, world.terms.shadow_percent
    if state.phase != "Shadow":
        return 0
    have = world.copied(state.candidate)
    if wish <= have:
        return wish
    return have if any(guard(world, state.candidate) for guard in world.rules.weight_guards) else wish


def is_shown(world: World) -> bool:
    """BlueGreen: the candidate is in the table without a share, for who asks for it by name.

    Only once all its pods have answered, and from then on until it leaves: they may come and go.
    """
    state = world.state
    if not (world.terms.gated and state.stable and state.exposed):
        return False
    return world.listed(state.candidate) or (world.candidate.proven >= world.need(100) and passed(world))


def keeps_weights(world: World) -> bool:
    """While reverting: stable has no pod to go back to and the candidate has, and at least answers as itself."""
    state = world.state
    return (
        state.phase == "Reverting"
        and bool(state.stable)
        and world.replicas > 0
        and world.stable.serving == 0
        and world.candidate.serving > 0
        and world.written(state.candidate) > 0
        and not unsafe(state, state.candidate)
    )


def is_warm(world: World) -> bool:
    """The restored revision can take everything, or at least more than a stable one that has nothing good."""
    state, candidate = world.state, world.candidate
    if world.stable.serving == 0 or unsafe(state, state.stable):
        return candidate.serving > 0
    return candidate.serving >= world.need(100)


def unsafe(state: State, revision: str) -> bool:
    """The revision failed by what it answers: as another model, or what Guardrails forbid. Nobody is left with it."""
    entry = state.failure(revision)
    return entry is not None and entry.reason in UNSAFE


def desired_table(world: World, parts: tuple[Share, ...]) -> Table:
    """The table that says so, with everything else that gateways need to know."""
    spec, live = world.spec, {part.revision for part in parts}
    before = world.table.table if world.table is not None else None
    wanted = Table(
        # A Lease that was made anew counts from zero; gateways would refuse its epochs for ever.
        epoch=max(world.observed.epoch, before.epoch if before is not None else 0),
        served_names=served(world),
        variants=tuple(
            Variant(
                p.revision, p.track, p.weight, child_name(world.name, p.revision), _by_tls(world, before, p.revision)
            )
            for p in parts
        ),
        salt=_on_trial(world.state) if _on_trial(world.state) in live else "",
        timeouts=Timeouts(
            first_token=seconds(spec.timeouts.first_token),
            between_tokens=seconds(spec.timeouts.between_tokens),
            whole=seconds(spec.timeouts.whole),
            heartbeat_after=seconds(spec.timeouts.heartbeat_after),
        ),
        queue=Queue(spec.queue.max, seconds(spec.queue.deadline), spec.queue.per_pod or 0),
        session_from_user=spec.session.from_user,
        extra_fields=spec.api.extra_fields,
        media_hosts=spec.api.media_hosts,
        fallback=tuple(other.name for other in spec.fallback),
        pricing=_pricing(spec.pricing),
        logging=_logging(spec.logging),
        guards=world.guarding.guards,
        shadow=_shadow(world) if any(part.track == "shadow" for part in parts) else None,
        cut=tuple(r.name for r in world.revisions.values() if _is_cut(world, r) and r.name not in live),
    )
    # A new term alone is no reason to write every table there is: its epoch comes with the next change.
    return before if before is not None and replace(before, epoch=wanted.epoch) == wanted else wanted


def _logging(wanted: LoggingSpec) -> Logging:
    if wanted.text == "none":
        return Logging()
    return Logging(wanted.text, wanted.sample, wanted.max_bytes, retention(wanted.ttl))


def _by_tls(world: World, before: Table | None, revision: str) -> bool:
    """A revision that once was spoken to by TLS is so for good, whatever of it has been deleted by hand."""
    known = before is not None and any(v.tls and v.revision == revision for v in before.variants)
    return known or world.revision(revision).tls


def _shadow(world: World) -> Shadow:
    return Shadow(
        percent=copies(world),
        first_token=world.terms.first_token,
        between_tokens=world.terms.between_tokens,
        text=world.spec.logging.text != "none",
    )


def _pricing(said: Prices | None) -> Pricing | None:
    if said is None:
        return None
    each = nano(said.input_per_million), nano(said.output_per_million)
    return Pricing(*each, said.currency, request=nano(said.per_request))


def _on_trial(state: State) -> str:
    """The revision that divides the conversations, or did before it was promoted and still is watched."""
    return state.stable if state.phase == "Watching" else state.candidate


def _is_cut(world: World, revision: Revision) -> bool:
    """Its pods still speak, and every further word of them is one too many."""
    return revision.exists and unsafe(world.state, revision.name)


def _split(world: World, weight: int) -> tuple[Share, ...]:
    state = world.state
    stable = Share(state.stable, "stable", 100 - weight)
    # Without a share stable is where failures of the candidate go: not to what must not be heard.
    kept = () if weight == 100 and unsafe(state, state.stable) else (stable,)
    return (Share(state.candidate, "canary", weight), *kept)


def _allowed(world: World) -> int:
    """The candidate's share: what its step says if its pods carry it, else what it has."""
    state = world.state
    have = world.written(state.candidate)
    if state.weight <= have:
        return have
    return have if any(guard(world, state.candidate) for guard in world.rules.weight_guards) else state.weight

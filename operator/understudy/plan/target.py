"""What the spec asks for: a revision, or the reason why it cannot become one now."""

from collections.abc import Iterator

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.plan.desired.children import snapshot_manifest
from understudy.plan.desired.refusal import Missing, Refusal
from understudy.plan.desired.revision import render_revision
from understudy.plan.observed import Object, Observed
from understudy.plan.probing import refused
from understudy.plan.state import State
from understudy.plan.wanted import Blocked, Wanted


def resolve(observed: Observed, spec: ModelDeploymentSpec, state: State) -> Wanted | Blocked:
    """The revision that the spec asks for, with its record; Blocked says what to write or to wait for.

    A record that exists is used as it is, so that its pods come back exactly as they were.
    """
    for refusal in _unusable(spec):
        return Blocked("InvalidSpec", refusal.message, passing=False)
    if observed.model is None:
        missing = f"Model {spec.model_ref.name} does not exist in namespace {observed.key.namespace}"
        return Blocked("ModelNotFound", missing, passing=True)
    ordered = sorted(observed.snapshots, key=lambda s: _familiarity(s, state))
    rendered = render_revision(
        observed.deployment or {}, observed.model, observed.references, observed.settings, ordered
    )
    match rendered:
        case Refusal():
            return Blocked("InvalidSpec", rendered.message, passing=False)
        case Missing():
            return Blocked(f"{rendered.references[0][0]}NotFound", rendered.message, passing=True)
    known = (s for s in ordered if s["spec"]["revision"] == rendered.revision)
    snapshot = next(known, None) or snapshot_manifest(rendered)
    if snapshot["spec"]["hash"] != rendered.hash:
        clash = f"another revision is already called {rendered.revision}; change any field that shapes the pod"
        return Blocked("InvalidSpec", clash, passing=False)
    return Wanted(rendered.revision, rendered.model, snapshot)


def _unusable(spec: ModelDeploymentSpec) -> Iterator[Refusal]:
    for index, prompt in enumerate(spec.probes.prompts):
        yield from refused(index, prompt)


def _familiarity(snapshot: Object, state: State) -> tuple[int, str]:
    """Sorts what serves before what is proved before the rest: of two names for one intent the first is kept."""
    revision = str(snapshot["spec"]["revision"])
    live = state.live()
    return (live.index(revision) if revision in live else len(live), revision)

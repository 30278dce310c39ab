"""What the spec asks for: a revision, or the reason why it cannot become one now."""

from collections.abc import Iterator

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.plan.desired.children import snapshot_manifest
from understudy.plan.desired.refusal import Missing, Refusal
from understudy.plan.desired.revision import asked_revision, render_revision
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
    asked = asked_revision(observed.deployment or {}, observed.model, observed.references, observed.settings, ordered)
    match asked:
        case Refusal():
            return Blocked("InvalidSpec", asked.message, passing=False)
        case Missing():
            return Blocked(f"{asked.references[0][0]}NotFound", asked.message, passing=True)
    known = (s for s in ordered if s["spec"]["revision"] == asked.revision)
    snapshot = next(known, None) or snapshot_manifest(render_revision(asked))
    if snapshot["spec"]["hash"] != asked.hash:
        clash = f"another revision is already called {asked.revision}; change any field that shapes the pod"
        return Blocked("InvalidSpec", clash, passing=False)
    return Wanted(asked.revision, spec.model_ref.name, snapshot)


def _unusable(spec: ModelDeploymentSpec) -> Iterator[Refusal]:
    for index, prompt in enumerate(spec.probes.prompts):
        yield from refused(index, prompt)


def _familiarity(snapshot: Object, state: State) -> tuple[int, str]:
    """Sorts what serves before what is proved before the rest: of two names for one intent the first is kept."""
    revision = str(snapshot["spec"]["revision"])
    live = state.live()
    return (live.index(revision) if revision in live else len(live), revision)

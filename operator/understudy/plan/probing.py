"""Which pods the operator's own requests go to, and what they ask."""

from typing import Final

from understudy.api.v1alpha1.shape import to_manifest
from understudy.domain.duration import seconds
from understudy.domain.names import ENGINE_PORT
from understudy.plan.actions import Probe, Prompt
from understudy.plan.trial import trial_of
from understudy.plan.world import Pod, Revision, World

# A completion this long ago still shows that the deployment answers, in seconds.
ANSWERED: Final = 60.0


def probes(world: World) -> tuple[Probe, ...]:
    """Every pod of the revision on trial, and one of each other that serves."""
    state, comparator = world.state, trial_of(world.state).other
    on_trial = state.stable if state.phase == "Watching" else state.candidate
    wanted: list[Probe] = []
    for name in state.live():
        revision = world.revision(name)
        reachable = [pod for pod in revision.pods if _reachable(pod)]
        chosen = reachable if name == on_trial else reachable[:1]
        wanted.extend(_probe(world, revision, pod, comparator=name == comparator) for pod in chosen)
    return tuple(wanted)


def _reachable(pod: Pod) -> bool:
    return bool(pod.address) and not pod.disrupted and (pod.serving or pod.report is not None)


def _probe(world: World, revision: Revision, pod: Pod, *, comparator: bool) -> Probe:
    identity = (revision.snapshot["spec"].get("identity") or {}) if revision.snapshot is not None else {}
    declared = world.spec.probes
    return Probe(
        pod_uid=pod.uid,
        address=pod.address,
        port=ENGINE_PORT,
        model_id=str(identity.get("modelId") or world.child(revision.name)),
        root=str(identity.get("root", "")),
        max_model_len=int(identity.get("maxModelLen", 0)),
        key=world.observed.settings.engine_key(world.namespace, world.name, revision.name),
        interval=seconds(declared.interval),
        prompts=tuple(
            Prompt(
                name=prompt.name,
                messages=tuple(to_manifest(message) for message in prompt.messages),
                max_tokens=prompt.max_tokens,
                expect=to_manifest(prompt.expect),
            )
            for prompt in declared.prompts
        ),
        comparator=comparator,
    )

"""Which pods the operator's own requests go to, and what they ask."""

from collections.abc import Iterator
from typing import Final

from understudy.api.v1alpha1.probes import ProbePrompt
from understudy.api.v1alpha1.shape import to_manifest
from understudy.domain.duration import seconds
from understudy.domain.names import ENGINE_PORT, service_host
from understudy.plan.actions import Probe, Prompt
from understudy.plan.answer_schema import mistakes
from understudy.plan.desired.refusal import Refusal
from understudy.plan.trial import trial_of
from understudy.plan.world import Pod, Revision, World

# A completion this long ago still shows that the deployment answers, in seconds.
ANSWERED: Final = 60.0
# Nothing is being proved, nor gone back to.
AT_REST: Final = ("Stable", "RolledBack")


def probes(world: World) -> tuple[Probe, ...]:
    """Every pod of the revision on trial, and one of each other that serves."""
    state, comparator = world.state, trial_of(world.state).other
    on_trial = state.stable if state.phase == "Watching" else state.candidate
    prompts = _prompts(world)
    wanted: list[Probe] = []
    for name in state.live():
        revision = world.revision(name)
        reachable = [pod for pod in revision.pods if _reachable(pod)]
        chosen = reachable if name == on_trial else reachable[:1]
        wanted.extend(_probe(world, revision, pod, prompts, comparator=name == comparator) for pod in chosen)
    return tuple(wanted)


def refused(index: int, prompt: ProbePrompt) -> Iterator[Refusal]:
    """What is wrong with a prompt that the API server has let through."""
    if prompt.expect.json_schema is not None:
        yield from mistakes(prompt.expect.json_schema, f"spec.probes.prompts[{index}].expect.jsonSchema")


def _reachable(pod: Pod) -> bool:
    return bool(pod.address) and not pod.disrupted and (pod.serving or pod.report is not None)


def _prompts(world: World) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            name=prompt.name,
            messages=tuple(to_manifest(message) for message in prompt.messages),
            max_tokens=prompt.max_tokens,
            expect=to_manifest(prompt.expect),
        )
        for index, prompt in enumerate(world.spec.probes.prompts)
        # A mistake in what is expected is no fault of the pods.
        if not any(refused(index, prompt))
    )


def _probe(world: World, revision: Revision, pod: Pod, prompts: tuple[Prompt, ...], *, comparator: bool) -> Probe:
    identity = (revision.snapshot["spec"].get("identity") or {}) if revision.snapshot is not None else {}
    return Probe(
        pod_uid=pod.uid,
        address=pod.address,
        port=ENGINE_PORT,
        model_id=str(identity.get("modelId") or world.child(revision.name)),
        root=str(identity.get("root", "")),
        max_model_len=int(identity.get("maxModelLen", 0)),
        key=world.observed.settings.engine_key(world.namespace, world.name, revision.name),
        interval=seconds(world.spec.probes.interval),
        prompts=prompts,
        comparator=comparator,
        at_rest=world.state.phase in AT_REST,
        server_name=service_host(world.namespace, world.name, revision.name) if revision.tls else "",
    )

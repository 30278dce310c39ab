"""The adapter of the simulated engine: it claims the model's path and needs neither weights nor hardware."""

from typing import Final

from understudy.domain.names import ENGINE_PORT
from understudy.plan.desired import tls
from understudy.plan.desired.arguments import context_length, given, refused
from understudy.plan.desired.engine import SHUTDOWN, EngineInput, EnginePart
from understudy.plan.desired.refusal import Refusal
from understudy.plan.desired.source import weights

COMMAND: Final = ("understudy", "sim")
DEFAULT_CONTEXT: Final = 8192
OWN_FLAGS: Final = {
    "--model-id": "remove it",
    "--served-model-name": "write spec.servedNames",
    "--root": "write modelRef",
    "--host": "remove it",
    "--port": "remove it",
    "--set": "send POST /admin/behaviour to the running engine",
    SHUTDOWN: "write spec.engine.shutdownTimeout",
    **tls.TLS_FLAGS,
}
POD_NAME: Final = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def sim(inputs: EngineInput) -> EnginePart | Refusal:
    """The engine container's command, arguments and environment; nothing is mounted or downloaded."""
    args = inputs.engine.args
    if refusal := refused(args, OWN_FLAGS):
        return refusal
    told = context_length(args)
    if isinstance(told, Refusal):
        return told
    base = weights(inputs.model.source, inputs.image, path="Model spec.source")
    if isinstance(base, Refusal):
        return base
    length = (inputs.model.context_length or DEFAULT_CONTEXT) if told is None else told
    ours = [
        f"--model-id={inputs.model_id}",
        f"--root={base.root}",
        f"--port={ENGINE_PORT}",
        f"{SHUTDOWN}={inputs.shutdown_seconds}",
        *tls.arguments(inputs.engine.tls),
    ]
    if given(args, "--max-model-len") is None:
        ours.append(f"--max-model-len={length}")
    return EnginePart(command=COMMAND, args=(*args, *ours), root=base.root, max_model_len=length, env=(POD_NAME,))

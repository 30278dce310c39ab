"""The vLLM adapter: its command line, its environment, its LoRA adapters and what it must say of itself."""

from typing import Final

from understudy.domain.names import ENGINE_PORT
from understudy.domain.revision import canonical_json
from understudy.plan.desired import tls
from understudy.plan.desired.arguments import context_length, given, refused
from understudy.plan.desired.engine import SHUTDOWN, EngineInput, EnginePart
from understudy.plan.desired.refusal import Refusal
from understudy.plan.desired.source import Weights, weights

COMMAND: Final = ("vllm", "serve")
OWN_FLAGS: Final = {
    "--model": "write modelRef",
    "--served-model-name": "write spec.servedNames",
    "--host": "remove it",
    "--port": "remove it",
    "--uds": "remove it",
    "--root-path": "remove it",
    "--api-key": "remove it: Understudy makes the engine's key; clients use access keys of the gateway",
    SHUTDOWN: "write spec.engine.shutdownTimeout",
    "--lora-modules": "write spec.adapters in the Model",
    "--config": "write the file's options as args: it could set any of Understudy's own",
    **tls.TLS_FLAGS,
}
ENV: Final = ({"name": "VLLM_NO_USAGE_STATS", "value": "1"}, {"name": "DO_NOT_TRACK", "value": "1"})
# Its watch for renewed certificates (watchfiles) follows a file, not its name: the kubelet gives the name to another
# one, and from the second time on nothing would be noticed.
TLS_ENV: Final = ({"name": "WATCHFILES_FORCE_POLLING", "value": "true"},)


def vllm(inputs: EngineInput) -> EnginePart | Refusal:
    """The engine container's command, arguments, environment and volumes."""
    args = inputs.engine.args
    if refusal := refused(args, OWN_FLAGS):
        return refusal
    length = context_length(args)
    if isinstance(length, Refusal):
        return length
    base = weights(inputs.model.source, inputs.image, path="Model spec.source")
    if isinstance(base, Refusal):
        return base
    loras = _loras(inputs)
    if isinstance(loras, Refusal):
        return loras
    parts = [base, *(lora for _, lora in loras)]
    env = {variable["name"]: variable for part in parts for variable in part.env}
    return EnginePart(
        command=(*COMMAND, base.root),
        # The user's first: argparse takes the last of two, so that ours stay ours whatever slips through.
        args=(*args, *_arguments(inputs, base), *_lora_arguments(inputs, loras)),
        root=base.root,
        max_model_len=(inputs.model.context_length or 0) if length is None else length,
        env=(*ENV, *(TLS_ENV if inputs.engine.tls else ()), *env.values()),
        volumes=tuple(volume for part in parts for volume in part.volumes),
        mounts=tuple(mount for part in parts for mount in part.mounts),
        init_containers=tuple(container for part in parts for container in part.init_containers),
    )


def _arguments(inputs: EngineInput, base: Weights) -> list[str]:
    args = inputs.engine.args
    ours = [
        f"--served-model-name={inputs.model_id}",
        "--host=0.0.0.0",
        f"--port={ENGINE_PORT}",
        f"{SHUTDOWN}={inputs.shutdown_seconds}",
        *tls.arguments(inputs.engine.tls),
    ]
    if base.load_format and given(args, "--load-format") is None:
        ours.append(f"--load-format={base.load_format}")
    if inputs.scheduling.count > 1 and given(args, "--tensor-parallel-size", "-tp") is None:
        ours.append(f"--tensor-parallel-size={inputs.scheduling.count}")
    if inputs.model.context_length and given(args, "--max-model-len") is None:
        ours.append(f"--max-model-len={inputs.model.context_length}")
    return ours


def _loras(inputs: EngineInput) -> list[tuple[str, Weights]] | Refusal:
    """(name, weights) of each adapter, each with a volume and a mount point of its own."""
    found: list[tuple[str, Weights]] = []
    for index, adapter in enumerate(inputs.model.adapters):
        path = f"Model spec.adapters[{index}].source"
        if adapter.source.s3 is not None:
            return Refusal(path, "vLLM loads no adapter from S3", "write huggingFace, pvc, image or enginePath")
        volume = f"adapter-{index}"
        part = weights(adapter.source, inputs.image, path=path, volume=volume, mount=f"/adapters/{index}")
        if isinstance(part, Refusal):
            return part
        found.append((adapter.name, part))
    return found


def _lora_arguments(inputs: EngineInput, loras: list[tuple[str, Weights]]) -> list[str]:
    if not loras:
        return []
    # One option with several values: a second one would replace the first.
    modules = [
        canonical_json({"name": f"{inputs.model_id}:{name}", "path": part.root}).decode() for name, part in loras
    ]
    enable = [] if given(inputs.engine.args, "--enable-lora") is not None else ["--enable-lora"]
    return [*enable, "--lora-modules", *modules]

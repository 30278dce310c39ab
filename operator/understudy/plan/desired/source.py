"""Where weights come from: the path that the engine serves, and what brings them there.

Each source's parts are independent of the Model's name, so that renaming a Model restarts nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.api.v1alpha1.model import HuggingFaceSource, S3Source, Source
from understudy.plan.desired.refusal import Refusal

WEIGHTS: Final = "weights"
WEIGHTS_PATH: Final = "/weights"
OFFLINE: Final = {"name": "HF_HUB_OFFLINE", "value": "1"}


@dataclass(frozen=True, slots=True)
class Weights:
    """`root` is what the engine is told to serve; the rest is what its pod needs for it ("" = the engine's own way)."""

    root: str
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    init_containers: tuple[Mapping[str, Any], ...] = ()
    env: tuple[Mapping[str, Any], ...] = ()
    load_format: str = ""


def weights(
    source: Source, image: str, *, path: str, volume: str = WEIGHTS, mount: str = WEIGHTS_PATH
) -> Weights | Refusal:
    """Everything for one source; `image` is the engine's, in which downloads run.

    `path` is where the source stands in the user's spec, for refusals; `volume` and `mount` are
    different for each of several sources in one pod.
    """
    found: list[Weights] = []
    if source.engine_path is not None:
        found.append(Weights(root=source.engine_path, env=(OFFLINE,)))
    if source.pvc is not None:
        claim = {"name": volume, "persistentVolumeClaim": {"claimName": source.pvc.claim_name, "readOnly": True}}
        found.append(_mounted(claim, mount, source.pvc.path))
    if source.image is not None:
        # An OCI image volume (Kubernetes 1.35): mounted read-only by the kubelet, nothing is downloaded by us.
        oci = {"name": volume, "image": {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}}
        found.append(_mounted(oci, mount, source.image.path))
    if source.hugging_face is not None:
        found.append(_downloaded(source.hugging_face, image, volume, mount))
    if source.s3 is not None:
        found.append(_streamed(source.s3))
    if len(found) != 1:
        return Refusal(path, f"names {len(found)} places", "write one of huggingFace, pvc, image, enginePath, s3")
    return found[0]


def _mounted(volume: Mapping[str, Any], mount: str, inner: str | None) -> Weights:
    inside = (inner or "").strip("/")
    return Weights(
        root=f"{mount}/{inside}" if inside else mount,
        volumes=(volume,),
        mounts=({"name": volume["name"], "mountPath": mount, "readOnly": True},),
        env=(OFFLINE,),
    )


def _downloaded(hub: HuggingFaceSource, image: str, volume: str, mount: str) -> Weights:
    """An init container of the engine's own image fetches the revision; the engine then runs offline."""
    token = hub.token_secret_ref
    env = [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": token.key}}}] if token else []
    fetch = {
        "name": volume,
        "image": image,
        "command": ["hf", "download", hub.repo, "--revision", hub.revision, "--local-dir", mount],
        "env": env,
        "volumeMounts": [{"name": volume, "mountPath": mount}],
    }
    return Weights(
        root=mount,
        volumes=({"name": volume, "emptyDir": {}},),
        mounts=({"name": volume, "mountPath": mount, "readOnly": True},),
        init_containers=(fetch,),
        env=(OFFLINE,),
    )


def _streamed(store: S3Source) -> Weights:
    """The engine itself streams the weights from the store."""
    env: list[Mapping[str, Any]] = []
    if store.endpoint:
        env.append({"name": "AWS_ENDPOINT_URL", "value": store.endpoint})
    if store.secret_ref:
        env += [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": store.secret_ref.name, "key": name}}}
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
    return Weights(root=store.uri, env=tuple(env), load_format="runai_streamer")

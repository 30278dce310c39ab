"""Short ways to write a ModelDeployment with its Model, and to render it."""

from collections.abc import Mapping
from typing import Any

from understudy.plan.desired.refusal import Missing, ReferenceKind, Refusal
from understudy.plan.desired.revision import Asked, Revision, asked_revision, render_revision
from understudy.plan.observed import Settings

Manifest = dict[str, Any]
SETTINGS = Settings(sim_image="understudy:dev", master_key=b"m" * 32, engine_tls=True)
HASH = "ab" * 32


def deployment(
    podTemplate: Mapping[str, Any] | None = None,  # noqa: N803  # as in the manifest
    *,
    name: str = "teller",
    namespace: str = "stories",
    type: str = "vllm",  # noqa: A002  # as in the manifest
    **spec: Any,
) -> Manifest:
    """A ModelDeployment; keywords are fields of the spec, `engine` is merged into a vLLM engine with an image."""
    engine = {"type": type, "image": "engine:1", **spec.pop("engine", {})}
    whole = {"modelRef": {"name": "weights"}, "engine": engine, **spec}
    if podTemplate is not None:
        whole["podTemplate"] = dict(podTemplate)
    return {
        "apiVersion": "understudy.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace, "uid": "11111111-2222-3333-4444-555555555555"},
        "spec": whole,
    }


def model(source: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A Model; without a source its weights are inside the engine image."""
    return {
        "apiVersion": "understudy.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "weights", "namespace": "stories"},
        "spec": {"source": dict(source or {"enginePath": "/models/tiny"}), **spec},
    }


def attempt(
    of: Manifest,
    weights: Manifest | None = None,
    references: Mapping[tuple[ReferenceKind, str], str | None] | None = None,
    settings: Settings = SETTINGS,
    **more: Any,
) -> Revision | Refusal | Missing:
    """Whatever comes of a spec."""
    asked = asked_revision(of, weights or model(), references or {}, settings, **more)
    return render_revision(asked) if isinstance(asked, Asked) else asked


def render(*args: Any, **more: Any) -> Revision:
    """The revision of a spec that must render."""
    done = attempt(*args, **more)
    assert isinstance(done, Revision), done
    return done


def refuse(*args: Any, **more: Any) -> Refusal:
    """The refusal of a spec that must not render."""
    done = attempt(*args, **more)
    assert isinstance(done, Refusal), done
    return done


def pod(revision: Revision) -> Manifest:
    """The pod's spec."""
    return dict(revision.template["spec"])


def engine(revision: Revision) -> Manifest:
    """The engine's container."""
    return dict(pod(revision)["containers"][0])


def env(container: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of a container by name: the value, or where it comes from."""
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}

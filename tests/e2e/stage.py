"""Given, when, then on a real cluster: one namespace, its deployments, and what a user sees of them."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.cluster import PATIENCE, Cluster, eventually

SIM_IMAGE = "understudy:dev"
ENGINE_IMAGE = "understudy-vllm:dev"
FAST_ROLLOUT: Mapping[str, Any] = {
    "strategy": "Canary",
    "steps": [
        {"weight": 10, "soak": "4s"},
        {"weight": 50, "soak": "4s"},
        {"weight": 100, "soak": "4s"},
    ],
    "watch": "5s",
    "drain": "60s",
    "analysis": {"minSamples": 20},
}


@dataclass(frozen=True)
class Reply:
    """An answer to one request, or a refusal: its status, its fields, and the document or the text of a stream."""

    status: int
    fields: Mapping[str, str]
    document: dict[str, Any]
    text: str

    @property
    def code(self) -> str:
        """The code of a refusal; empty for an answer."""
        return str(self.document.get("error", {}).get("code", ""))


@dataclass
class Stage:
    """One namespace on the cluster. Deletes are left to the fixture that made it."""

    cluster: Cluster
    namespace: str
    base_url: str
    key: str
    times: dict[str, float] = field(default_factory=dict)

    # Given

    def model(self, name: str, path: str = "/models/sim") -> None:
        """Apply a Model whose weights are already inside the engine's image."""
        self.cluster.apply(self.model_manifest(name, path))

    def deployment(self, name: str, *args: str, **spec: Any) -> dict[str, Any]:
        """Apply a ModelDeployment of simulated engines; keyword arguments replace whole spec fields."""
        return self.cluster.apply(self.deployment_manifest(name, *args, **spec))

    def model_manifest(self, name: str, path: str = "/models/sim") -> dict[str, Any]:
        """What `model` applies."""
        return {
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"source": {"enginePath": path}, "tasks": ["chat"]},
        }

    def deployment_manifest(self, name: str, *args: str, **spec: Any) -> dict[str, Any]:
        """What `deployment` applies."""
        whole: dict[str, Any] = {
            "modelRef": {"name": name},
            "servedNames": [self.served(name)],
            "replicas": 1,
            "engine": {
                "type": "sim",
                "image": SIM_IMAGE,
                "args": list(args),
                "startupTimeout": "60s",
                "shutdownTimeout": "60s",
            },
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "probes": {"interval": "1s"},
            "rollout": dict(FAST_ROLLOUT),
        }
        whole.update(spec)
        return {
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {k: v for k, v in whole.items() if v is not None},
        }

    def serving(self, name: str, *args: str, within: float = PATIENCE, **spec: Any) -> str:
        """A Model and a ModelDeployment that serves; returns its stable revision."""
        self.model(name)
        self.deployment(name, *args, **spec)
        return self.becomes_ready(name, within)

    def served(self, name: str) -> str:
        """The name that clients ask for: names are the gateway's, so each namespace has its own."""
        return f"{name}.{self.namespace}"

    # When

    def ask(self, name: str, verb: str) -> None:
        """The verb annotation, as `kubectl annotate` would write it."""
        body = {"metadata": {"annotations": {"understudy.dev/request": verb}}}
        self.cluster.patch("mdep", name, self.namespace, body)

    def say(self, name: str, key: str = "", fields: Mapping[str, str] | None = None, **body: Any) -> Reply:
        """One request for a chat completion, on a connection of its own: either gateway may get it."""
        messages = [{"role": "user", "content": "Say something."}]
        whole = {"model": self.served(name), "messages": messages, **body}
        return self.post("/v1/chat/completions", key, whole, fields)

    def post(self, path: str, key: str, body: Mapping[str, Any], fields: Mapping[str, str] | None = None) -> Reply:
        """One request of any kind, on a connection of its own."""
        request = urllib.request.Request(
            self.base_url + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json", **(fields or {})},
        )
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
            document = {} if body.get("stream") and answer.status == 200 else json.loads(text)
            return Reply(answer.status, {n.lower(): v for n, v in answer.headers.items()}, document, text)

    def mark(self, what: str) -> None:
        """Start a clock that `elapsed` reads."""
        self.times[what] = time.monotonic()

    def elapsed(self, what: str) -> float:
        """Seconds since `mark`; printed, so that the test's report carries the figure."""
        seconds = time.monotonic() - self.times[what]
        sys.stdout.write(f"{what}: {seconds:.2f} s\n")
        return seconds

    # Then

    def status(self, name: str) -> dict[str, Any]:
        """The ModelDeployment's status; empty while there is none."""
        found = self.cluster.get("mdep", name, self.namespace)
        return dict(found.get("status", {})) if found else {}

    def condition(self, name: str, kind: str) -> dict[str, str]:
        """One condition of the status; empty while there is none."""
        return next((c for c in self.status(name).get("conditions", ()) if c["type"] == kind), {})

    def becomes(
        self, name: str, what: str, when: Callable[[dict[str, Any]], object], within: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until the status satisfies `when`; returns that status."""

        def probe() -> dict[str, Any] | None:
            status = self.status(name)
            return status if when(status) else None

        try:
            return eventually(f"{name}: {what}", probe, within)
        except AssertionError:
            self.explain(name)
            raise

    def becomes_ready(self, name: str, within: float = PATIENCE) -> str:
        """Wait for Ready=True at the present generation; returns the stable revision."""
        generation = (self.cluster.get("mdep", name, self.namespace) or {})["metadata"]["generation"]
        status = self.becomes(
            name,
            "Ready",
            lambda s: s.get("observedGeneration", 0) >= generation and _condition(s, "Ready").get("status") == "True",
            within,
        )
        return str(status["stable"])

    def phase(self, name: str, *phases: str, within: float = PATIENCE) -> dict[str, Any]:
        """Wait for one of the phases; returns the status."""
        return self.becomes(name, f"phase {' or '.join(phases)}", lambda s: s.get("phase") in phases, within)

    def revision(self, name: str) -> str:
        """The revision that the spec asks for, as the operator computed it."""
        return str(self.status(name)["target"]["revision"])

    def pods(self, name: str, revision: str = "") -> list[dict[str, Any]]:
        """Engine pods of a deployment, optionally of one revision."""
        selector = f"understudy.dev/deployment={name}" + (f",understudy.dev/revision={revision}" if revision else "")
        return self.cluster.list("pod", self.namespace, selector)

    def explain(self, name: str) -> None:
        """Print what `kubectl describe` shows: for the reader of a failed test."""
        sys.stdout.write(self.cluster.kubectl("-n", self.namespace, "describe", "mdep", name, check=False) + "\n")
        sys.stdout.write(self.cluster.kubectl("-n", self.namespace, "get", "all,rtable,msnap", check=False) + "\n")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), {})

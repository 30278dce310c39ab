"""`kubectl understudy` on a real cluster: kubectl finds it, and a rollout is forecast, watched and steered by it."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import PATIENCE, Cluster
from tests.e2e.stage import Stage

pytestmark = pytest.mark.cluster
NAME = "tale"


@dataclass
class Kubectl:
    """kubectl with the plugin on its PATH, in one namespace; `file` is the manifest that is edited and applied."""

    kubectl: str
    path: str
    kubeconfig: str
    stage: Stage
    file: Path

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error of `kubectl understudy …`."""
        return self.run("understudy", *words, "-n", self.stage.namespace)

    def asks(self, verb: str) -> tuple[int, str, str]:
        """The same of a request to the operator, which may be busy."""
        return self(verb, NAME, f"--timeout={PATIENCE / 2:.0f}s")

    def run(self, *words: str) -> tuple[int, str, str]:
        """The same of any kubectl command; the cluster comes from KUBECONFIG, as for most people."""
        variables = {**os.environ, "PATH": self.path, "KUBECONFIG": f"/nowhere{os.pathsep}{self.kubeconfig}"}
        done = subprocess.run(
            [self.kubectl, *words], env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def write(self, **spec: Any) -> str:
        """The manifest with some fields; its path."""
        namespace = self.stage.namespace
        rollout = {
            "steps": [{"weight": 50, "soak": "1s"}, {"weight": 100, "soak": "1s"}],
            "watch": "1s",
            "drain": "5s",
            "analysis": {"minSamples": 1_000_000},
        }
        model = {"metadata": {"name": NAME, "namespace": namespace}, "spec": {"source": {"enginePath": "/m"}}}
        whole = {
            "modelRef": {"name": NAME},
            "servedNames": [f"{NAME}.{namespace}"],
            "engine": {"type": "sim", "image": "understudy:dev", "startupTimeout": "60s", "shutdownTimeout": "5s"},
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "probes": {"interval": "1s"},
            "rollout": rollout,
            **spec,
        }
        deployment = {"metadata": {"name": NAME, "namespace": namespace}, "spec": whole}
        kinds: dict[str, dict[str, Any]] = {"Model": model, "ModelDeployment": deployment}
        objects = [{"apiVersion": "understudy.dev/v1alpha1", "kind": kind, **body} for kind, body in kinds.items()]
        self.file.write_text(yaml.safe_dump_all(objects))
        return str(self.file)

    def planned(self) -> dict[str, Any]:
        """The forecast of the manifest."""
        code, out, errors = self("plan", "-f", str(self.file), "-o", "json")
        assert code in (0, 1), errors
        assert out, errors
        [found] = json.loads(out)["items"]
        return dict(found)

    def apply(self) -> None:
        """Apply the manifest."""
        code, _, errors = self.run("apply", "-f", str(self.file))
        assert code == 0, errors


@pytest.fixture
def kubectl(kubeconfig: str, tmp_path: Path) -> Iterator[Kubectl]:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool, module in (("kubectl-understudy", "main"), ("kubectl_complete-understudy", "completion")):
        call = f'exec {sys.executable} -m understudy.cli.plugin.{module} "$@"'
        (folder / tool).write_text(f'#!/bin/sh\nPYTHONPATH="{os.pathsep.join(sys.path)}" {call}\n')
        (folder / tool).chmod(0o755)
    binary = str(Path(kubeconfig).parent / "bin" / "kubectl")
    cluster = Cluster(kubeconfig, binary)
    namespace = f"plugin-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    yield Kubectl(binary, path, kubeconfig, Stage(cluster, namespace, "", ""), tmp_path / "tale.yaml")
    cluster.delete("namespace", namespace)
    cluster.close()


def test_a_rollout_is_forecast_watched_and_steered(kubectl: Kubectl) -> None:
    kubectl.write()
    told = kubectl.planned()
    assert told["outcome"] == "first", told
    assert kubectl.stage.cluster.get("mdep", NAME, kubectl.stage.namespace) is None
    kubectl.apply()
    first = kubectl.stage.becomes_ready(NAME)
    assert first == told["revision"]
    assert kubectl.planned()["outcome"] == "unchanged"

    kubectl.write(resources={"requests": {"cpu": "21m", "memory": "64Mi"}})
    told = kubectl.planned()
    assert (told["outcome"], told["serving"]) == ("rollout", first), told
    assert told["changes"] == [{"path": "resources.requests.cpu", "before": "20m", "after": "21m"}]
    kubectl.apply()
    status = kubectl.stage.phase(NAME, "Canary")
    assert status["candidate"] == told["revision"]
    code, out, _ = kubectl("status", NAME)
    assert (code, "Canary, step 1 of 2" in out, f"{told['revision']}   candidate" in out) == (0, True, True), out
    assert kubectl.asks("pause")[1].startswith(f"{NAME}: pause done\nCanary: ")
    assert "Canary (paused)" in kubectl("status")[1]
    assert kubectl.asks("resume")[0] == 0
    code, _, errors = kubectl.asks("resume")
    assert (code, errors.splitlines()[0]) == (1, f"kubectl understudy: {NAME}: resume was not applied: not paused")
    code, out, errors = kubectl.asks("promote-full")
    assert (code, out.splitlines()[0]) == (0, f"{NAME}: promote-full done"), errors
    assert kubectl.stage.becomes_ready(NAME) == told["revision"]
    kubectl.stage.phase(NAME, "Stable")

    history = json.loads(kubectl("history", NAME, "-o", "json")[1])["items"]
    assert [(r["number"], r["revision"]) for r in history] == [(2, told["revision"]), (1, first)]
    code, out, _ = kubectl("diff", NAME, "1", "stable")
    assert (code, "-    cpu: 20m\n+    cpu: 21m\n" in out) == (1, True), out
    assert len(kubectl("snapshots")[1].splitlines()) == 3


def test_what_the_api_server_or_the_planner_would_refuse_is_told_before(kubectl: Kubectl) -> None:
    kubectl.write(rollout={"steps": [{"weight": 50}]})
    told = kubectl.planned()
    assert (told["outcome"], "write weight: 100 in the last step" in told["sentence"]) == ("refused", True), told
    kubectl.write(engine={"type": "sim", "imagee": "x"})
    assert 'unknown field "spec.engine.imagee"' in kubectl.planned()["sentence"]
    asked = {"messages": [{"role": "user", "content": "Say yes."}], "expect": {"jsonSchema": {"$ref": "#/yes"}}}
    kubectl.write(probes={"prompts": [{"name": "yes", **asked}]})
    assert "InvalidSpec" in kubectl.planned()["sentence"]
    code, out, _ = kubectl("plan", "--server-side", "-f", kubectl.write(modelRef={"name": "nobody"}))
    assert (code, "ModelNotFound" in out) == (1, True), out
    assert kubectl.stage.cluster.get("mdep", NAME, kubectl.stage.namespace) is None


def test_kubectl_completes_its_words(kubectl: Kubectl) -> None:
    kubectl.write()
    kubectl.apply()
    code, out, errors = kubectl.run("__complete", "understudy", "abort", "-n", kubectl.stage.namespace, "")
    assert (code, out.splitlines()[:1]) == (0, [NAME]), errors


def test_mistakes_are_answered_with_one_sentence(kubectl: Kubectl) -> None:
    code, _, errors = kubectl("status", "nobody")
    assert code == 1
    where = f"there is no ModelDeployment nobody in namespace {kubectl.stage.namespace}"
    assert errors.splitlines()[0] == f"kubectl understudy: {where}; there is none; give -n NAMESPACE for another one"
    code, _, errors = kubectl.run("understudy", "status", "--context", "nowhere")
    assert (code, "there is no context nowhere in" in errors) == (1, True), errors
    dead = kubectl.file.with_name("dead")
    config = yaml.safe_load(Path(kubectl.kubeconfig).read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    dead.write_text(yaml.safe_dump(config))
    code, _, errors = kubectl.run("understudy", "status", "--kubeconfig", str(dead))
    assert (code, "cannot reach the API server at https://127.0.0.1:9" in errors) == (1, True), errors

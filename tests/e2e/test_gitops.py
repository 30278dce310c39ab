"""A real Argo CD, with prune and self-heal, follows a git repository; it and the operator never fight."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.argo import Application, Repository
from tests.e2e.cluster import Cluster, eventually
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Traffic, shares

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parent.parent.parent
ROLLOUT = {**FAST_ROLLOUT, "steps": [{"weight": 50, "soak": "8s"}, {"weight": 100, "soak": "4s"}]}
CALM = ["--first-token=0.2"]
# Enough to be proved by the probes and to have conversations, not enough to pass the first step.
DIES_LATER = "--crash=40"
SETTLED_SECONDS = 300


@pytest.fixture(scope="session")
def argocd(cluster: Cluster) -> None:
    """Argo CD is there, and the image of the git remote."""
    subprocess.run([sys.executable, "-m", "local", "argocd"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def repository(stage: Stage, argocd: None) -> Repository:
    made = Repository(stage.cluster, stage.namespace)
    made.start()
    return made


@pytest.fixture
def application(stage: Stage, repository: Repository) -> Iterator[Application]:
    made = Application(stage.cluster, stage.namespace)
    made.delete()  # of a run that was cut short
    yield made
    made.delete()


@dataclass(frozen=True)
class Seen:
    """All that a fight would show: who wrote which part of the spec and when, the shares, and Argo CD's operations."""

    generation: int
    writers: str
    phase: str
    shares: str
    operation: str
    sync: str


def look(stage: Stage, application: Application) -> Seen:
    """One look at the deployment, its table and its Application."""
    found: dict[str, Any] = stage.cluster.get("mdep", "story", stage.namespace) or {}
    (table,) = stage.cluster.list("rtable", stage.namespace)
    status = application.status()
    # The operator writes the status; everything else is the user's and Argo CD's.
    writers = [entry for entry in found["metadata"]["managedFields"] if entry.get("subresource") != "status"]
    return Seen(
        found["metadata"]["generation"],
        str(writers),
        found["status"]["phase"],
        str(sorted((v["revision"], v["track"], v["weight"]) for v in table["spec"]["variants"])),
        str((status["operationState"]["startedAt"], len(status["history"]))),
        status["sync"]["status"],
    )


def test_argo_cd_and_the_operator_do_not_fight(stage: Stage, repository: Repository, application: Application) -> None:
    # Given v1 in Git, and an Application that follows it
    def content(*args: str) -> list[dict[str, Any]]:
        deployment = stage.deployment_manifest("story", *CALM, *args, rollout=ROLLOUT)
        return [stage.model_manifest("story"), deployment]

    commit = repository.commit("The first", content("--seed=1"))
    application.create(repository)
    application.becomes("Healthy", commit)
    v1 = stage.becomes_ready("story")

    # and self-heal: what somebody changes by hand is undone
    stage.cluster.patch("mdep", "story", stage.namespace, {"spec": {"rollout": {"watch": "7s"}}})
    eventually("the change is undone", lambda: watch_of(stage) == ROLLOUT["watch"])

    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=6) as traffic:
        # When a commit asks for v2
        stage.mark("from the push to the canary")
        commit = repository.commit("The second", content("--seed=2"))
        # Then a canary starts by itself, and the Application is Progressing until v2 serves
        v2 = progresses(stage, application, commit)
        assert stage.becomes_ready("story") == v2 != v1
        application.becomes("Healthy", commit)
        pods = {pod["metadata"]["uid"] for pod in stage.pods("story", v2)}

        # When a commit asks for v3, which dies when it has conversations
        bad = repository.commit("The third", content("--seed=3", DIES_LATER))
        # Then it is turned back, and the Application says so while it is in sync
        (failed,) = stage.phase("story", "RolledBack")["failed"]
        v3 = failed["revision"]
        application.becomes("Degraded", bad)
        # and when the last of it is gone, nothing is left to do
        eventually("v3 has left", lambda: not stage.pods("story", v3) and v3 not in look(stage, application).shares)
    print(traffic.report())
    assert traffic.failed() == []
    assert shares(traffic.records)[v3] > 0
    assert stage.condition("story", "Stalled")["reason"] == "RolledBack"
    health = application.health("ModelDeployment")
    print(health)
    assert health["status"] == "Degraded"
    assert health["message"].startswith("RolledBack: ")
    assert "EngineCrash" in health["message"]

    # and for five minutes nobody writes, though Argo CD looks again and again
    first, looked = look(stage, application), set()
    assert first.sync == "Synced"
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=1) as quiet:
        end = time.monotonic() + SETTLED_SECONDS
        for _ in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            assert look(stage, application) == first
            looked.add(application.status()["reconciledAt"])
            time.sleep(1)
    print(f"Argo CD compared {len(looked)} times; {quiet.report()}")
    assert len(looked) >= SETTLED_SECONDS / 30
    assert set(shares(quiet.records)) == {v2}
    assert quiet.failed() == []

    # When somebody runs the action
    assert application.actions("ModelDeployment", "story") == {"pause", "retry", "rollback"}
    stage.mark("from the action to the start")
    application.run_action("retry", "ModelDeployment", "story")
    # Then v3 starts again, with the spec and the Application as they were
    assert stage.phase("story", "Preparing", "Canary")["candidate"] == v3
    stage.elapsed("from the action to the start")
    assert look(stage, application).generation == first.generation
    assert application.status()["sync"]["status"] == "Synced"
    assert application.status()["operationState"]["startedAt"] in first.operation

    # When the commit is reverted, whatever became of v3 meanwhile
    reverted = repository.revert()
    # Then all is well on v2, whose pods never stopped
    stage.mark("from the revert's push to Healthy")
    application.becomes("Healthy", reverted)
    stage.elapsed("from the revert's push to Healthy")
    assert stage.becomes_ready("story") == v2
    assert pods == {pod["metadata"]["uid"] for pod in stage.pods("story", v2)}

    # When the Application is deleted
    stage.mark("until the Application is gone")
    application.delete()
    stage.elapsed("until the Application is gone")
    # Then only the records of the three revisions are left
    eventually("all is gone", lambda: set(left(stage)) <= {"modelsnapshot"}, every=1)
    kept = {snapshot["spec"]["revision"] for snapshot in stage.cluster.list("msnap", stage.namespace)}
    assert kept == {v1, v2, v3}


def progresses(stage: Stage, application: Application, commit: str) -> str:
    """Wait until there was a canary and the Application of that commit was Progressing, in any order; the candidate."""
    candidate, said = "", False

    def probe() -> bool:
        nonlocal candidate, said
        said = said or application.is_at("Progressing", commit)
        status = stage.status("story")
        if status["phase"] == "Canary" and not candidate:
            candidate = str(status["candidate"])
            stage.elapsed("from the push to the canary")
        return said and bool(candidate)

    eventually("a canary, and the Application is Progressing", probe)
    return candidate


def watch_of(stage: Stage) -> str:
    """`spec.rollout.watch` as it stands."""
    found: dict[str, Any] = stage.cluster.get("mdep", "story", stage.namespace) or {}
    return str(found["spec"]["rollout"]["watch"])


def left(stage: Stage) -> dict[str, list[str]]:
    """Names of all that is in the namespace, by kind, but for the git remote and what every namespace has."""
    kinds = stage.cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    counted = ",".join(kind for kind in kinds if not kind.startswith("events"))
    lines = stage.cluster.kubectl("-n", stage.namespace, "get", counted, "-o", "name").split()
    found: dict[str, list[str]] = {}
    for kind, _, name in (line.partition("/") for line in lines):
        if name not in ("git", "default", "kube-root-ca.crt") and not name.startswith("git-"):
            found.setdefault(kind.partition(".")[0], []).append(name)
    return found

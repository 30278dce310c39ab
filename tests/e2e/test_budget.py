"""Budgets of keys on a real cluster: two gateways spend from one ledger, to its end and no further.

And since that needs the records and some dozens of requests, what the records have of these is read here as well.
"""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.installation import SYSTEM, create_key, gateways, install, ready_pods, settled
from tests.e2e.stage import Reply, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]

BUDGET = 4000
# In dollars, at a cent for each request.
MONEY = "0.25"
PRICING = {"inputPerMillion": "0", "outputPerMillion": "0", "perRequest": "0.01"}
REQUESTS = 25
# Ids of the requests that were answered.
ANSWERED: list[str] = []


@pytest.fixture
def budgeted(stage: Stage) -> Iterator[tuple[str, str]]:
    """A release with records, and two keys: one with a budget of tokens, one with a budget in money."""
    install("--set", "records.enabled=true", "--set", "records.requests.enabled=true")
    settled(stage.cluster)
    eventually("the records are ready", lambda: ready_pods(stage.cluster, "records"), within=90)
    # What is spent of a budget is remembered by the key's name.
    name = f"e2e-budgeted-{uuid.uuid4().hex[:8]}"
    yield (
        create_key(stage.cluster, f"{name}-tokens", f"--budget={BUDGET}"),
        create_key(stage.cluster, f"{name}-money", f"--budget-money={MONEY}", "--budget-currency=USD"),
    )
    for kind in ("tokens", "money"):
        stage.cluster.delete("secret", f"{name}-{kind}", SYSTEM)
    install()
    # The chart keeps the books when records are turned off.
    stage.cluster.kubectl("-n", SYSTEM, "delete", "pvc", "-l", "app.kubernetes.io/component=records")


@pytest.fixture
def auditor(stage: Stage) -> str:
    """A token of somebody who may read records of this namespace, and of none else."""
    kubectl, at = stage.cluster.kubectl, ("-n", stage.namespace)
    who = f"--serviceaccount={stage.namespace}:auditor"
    kubectl(*at, "create", "serviceaccount", "auditor")
    for role in (f"understudy:{SYSTEM}:records-reader", "view"):
        kubectl(*at, "create", "rolebinding", role.rpartition(":")[2], f"--clusterrole={role}", who)
    return kubectl(*at, "create", "token", "auditor", "--audience=understudy")


def exported(cluster: Cluster, token: str, kind: str, namespace: str) -> list[dict[str, Any]]:
    """What `understudy records export` writes, run in a gateway's pod: nobody else reaches the records."""
    (pod, *_) = gateways(cluster)
    cluster.kubectl("-n", SYSTEM, "exec", "-i", pod, "--", "tee", "/tmp/token", stdin=token)
    command = (
        "understudy", "records", "export", kind, f"--filter=namespace={namespace}", "--token=/tmp/token",
        f"--url=https://understudy-records.{SYSTEM}.svc:9902", "--ca=/etc/understudy/ledger/ca.crt",
        f"--server-name=understudy-gateway.{SYSTEM}.svc",
    )  # fmt: skip
    said = cluster.kubectl("-n", SYSTEM, "exec", pod, "--", *command, check=False)
    # On standard error it says how many there were, or why there are none.
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def ask(stage: Stage, key: str) -> Reply:
    """One request of fifty tokens."""
    reply = stage.say("story", key, max_tokens=50)
    if reply.status == 200:
        ANSWERED.append(reply.fields["x-request-id"])
    return reply


def tokens_of(reply: Reply) -> int:
    """What an answer took of a budget of tokens."""
    return int(reply.document["usage"]["total_tokens"])


def until_spent(stage: Stage, key: str, within: float = 120) -> tuple[list[int], Reply]:
    """The tokens of each answer before the first refusal for good, and that refusal.

    For as long as a gateway has not reached the new ledger it may say `budget_unavailable`, which clients try again.
    """
    used, end = list[int](), time.monotonic() + within
    while time.monotonic() < end:
        reply = ask(stage, key)
        if reply.code == "budget_unavailable":
            time.sleep(0.5)
        elif reply.code:
            return used, reply
        else:
            used.append(tokens_of(reply))
    raise AssertionError(f"{sum(used)} tokens were used in {within:.0f} s, and nothing was refused for good")


def test_budgets_are_spent_to_their_end_and_not_beyond_though_the_ledger_is_replaced(
    stage: Stage, budgeted: tuple[str, str], auditor: str
) -> None:
    tokens, money = budgeted
    ANSWERED.clear()
    # Given a deployment that serves, and half of the budget spent
    stage.serving("story", "--tokens=50", replicas=2, pricing=PRICING)
    eventually("the key is known", lambda: ask(stage, tokens).status == 200, within=20)
    used = sum(tokens_of(ask(stage, tokens)) for _ in range(BUDGET // 2 // 55))
    assert used > 0
    # When the pod of the records is replaced
    (pod,) = ready_pods(stage.cluster, "records")
    stage.cluster.delete("pod", pod, SYSTEM)
    eventually("another one is ready", lambda: set(ready_pods(stage.cluster, "records")) - {pod}, within=90)
    # Then what is left can be spent, and no more
    more, refusal = until_spent(stage, tokens)
    assert (refusal.code, refusal.fields["x-should-retry"]) == ("insufficient_quota", "false")
    assert used + sum(more) <= BUDGET
    # Each gateway may hold a part that is too small for one more request.
    assert used + sum(more) >= 0.9 * BUDGET
    # and so it is with money,
    paid, refusal = until_spent(stage, money)
    assert (refusal.code, refusal.fields["x-should-retry"]) == ("insufficient_quota", "false")
    assert 0.9 * REQUESTS <= len(paid) <= REQUESTS
    # while whoever has no budget is served as before.
    assert tokens_of(ask(stage, stage.key)) > 0

    # And the records have each request once, to whoever may read them there and nowhere else,
    def all_recorded() -> list[dict[str, Any]] | None:
        found = exported(stage.cluster, auditor, "requests", stage.namespace)
        return found if {r["requestId"] for r in found} >= set(ANSWERED) else None

    requests = eventually("all requests are recorded", all_recorded, within=60, every=2)
    assert sorted(r["requestId"] for r in requests if r["status"] == 200) == sorted(ANSWERED)
    assert {r["deployment"] for r in requests} == {f"{stage.namespace}/story"}
    assert exported(stage.cluster, auditor, "requests", SYSTEM) == []
    # and how the deployment came to serve.
    (promoted,) = exported(stage.cluster, auditor, "history", stage.namespace)
    assert (promoted["event"], promoted["revision"]) == ("promoted", stage.status("story")["stable"])

"""Budgets of keys on a real cluster: two gateways spend from one ledger, to its end and no further.

And since that needs the records and some dozens of requests, what the records have of these is read here as well, and
what they know of players: a break that begins at one gateway and holds at the other, a crisis in which nothing is left
of the budget, and what follows from several findings at either gateway.
"""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import PATIENCE, Cluster, eventually
from tests.e2e.installation import (
    SYSTEM,
    Installation,
    create_key,
    gateways,
    install,
    ready_pods,
    settled,
)
from tests.e2e.stage import Reply, Stage
from tests.e2e.test_guardrail import said
from tests.gateway.worlds import noon

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]

BUDGET = 4000
ZONE = f"--budget-time-zone={noon()}"
# In dollars, at a cent for each request.
MONEY = "0.25"
PRICING = {"inputPerMillion": "0", "outputPerMillion": "0", "perRequest": "0.01"}
REQUESTS = 25
# Ids of the requests that were answered.
ANSWERED: list[str] = []


SUBJECTS = "e2e-subject-keys"
REFERRAL = "You are not alone. 988"
# What somebody says who may be in danger; a rule sees it and only writes it down.
IN_DANGER = [{"role": "user", "content": "I want to end it all."}]
TALE, CALM, REMINDER = "Once upon a time.", "Be calm.", "[This has come to"


@pytest.fixture(scope="module", autouse=True)
def kept(installation: Installation, cluster: Cluster) -> Iterator[None]:
    """A release with records that call people by numbers, for all scenarios of this page."""
    del installation
    data = {"1": base64.b64encode(os.urandom(32)).decode()}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SUBJECTS, "namespace": SYSTEM}, "data": data}
    )
    wanted = ("enabled=true", "requests.enabled=true", f"subjectKeysSecret={SUBJECTS}")
    install(*(word for value in wanted for word in ("--set", f"records.{value}")))
    settled(cluster)
    eventually("the records are ready", lambda: ready_pods(cluster, "records"))
    yield
    install()
    # The chart keeps the books when records are turned off.
    cluster.kubectl("-n", SYSTEM, "delete", "pvc", "-l", "app.kubernetes.io/component=records")
    cluster.delete("secret", SUBJECTS, SYSTEM)


@pytest.fixture
def budgeted(stage: Stage) -> Iterator[tuple[str, str]]:
    """Two keys: one with a budget of tokens, one with a budget in money."""
    # What is spent of a budget is remembered by the key's name.
    name = f"e2e-budgeted-{uuid.uuid4().hex[:8]}"
    yield (
        create_key(stage.cluster, f"{name}-tokens", f"--budget={BUDGET}", ZONE),
        create_key(stage.cluster, f"{name}-money", f"--budget-money={MONEY}", "--budget-currency=USD", ZONE),
    )
    for kind in ("tokens", "money"):
        stage.cluster.delete("secret", f"{name}-{kind}", SYSTEM)


@pytest.fixture
def players(stage: Stage) -> Iterator[tuple[str, str]]:
    """Two keys of one tenant whose word on players counts; the other has a small budget, also in a crisis."""
    name = f"e2e-players-{uuid.uuid4().hex[:8]}"
    tenant = (f"--tenant={name}", "--asserts-players")
    yield (
        create_key(stage.cluster, f"{name}-rich", *tenant),
        create_key(stage.cluster, f"{name}-poor", *tenant, "--budget=100", ZONE, "--crisis-requests=0"),
    )
    for kind in ("rich", "poor"):
        stage.cluster.delete("secret", f"{name}-{kind}", SYSTEM)


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


def answered(stage: Stage, key: str) -> Reply:
    """The next answer, or refusal for good.

    A gateway that has not heard of the key says so, and one that has not reached the new ledger `budget_unavailable`,
    which clients try again.
    """

    def probe() -> Reply | None:
        reply = ask(stage, key)
        return None if reply.status == 401 or reply.code == "budget_unavailable" else reply

    return eventually("the gateway knows key and ledger", probe, every=0.5)


def until_spent(stage: Stage, key: str) -> tuple[list[int], Reply]:
    """The tokens of each answer before the first refusal for good, and that refusal."""
    used = list[int]()
    while not (reply := answered(stage, key)).code:
        used.append(tokens_of(reply))
    return used, reply


def test_budgets_are_spent_to_their_end_and_not_beyond_though_the_ledger_is_replaced(
    stage: Stage, budgeted: tuple[str, str], auditor: str
) -> None:
    tokens, money = budgeted
    ANSWERED.clear()
    # Given a deployment that serves, and half of the budget spent
    stage.serving("story", "--tokens=50", replicas=2, pricing=PRICING)
    used = sum(tokens_of(answered(stage, tokens)) for _ in range(BUDGET // 2 // 55))
    assert used > 0
    # When the pod of the records is replaced
    (pod,) = ready_pods(stage.cluster, "records")
    stage.cluster.delete("pod", pod, SYSTEM)
    eventually("another one is ready", lambda: set(ready_pods(stage.cluster, "records")) - {pod})
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

    requests = eventually("all requests are recorded", all_recorded, every=2)
    assert sorted(r["requestId"] for r in requests if r["status"] == 200) == sorted(ANSWERED)
    assert {r["deployment"] for r in requests} == {f"{stage.namespace}/story"}
    assert exported(stage.cluster, auditor, "requests", SYSTEM) == []
    # and how the deployment came to serve.
    history = eventually(
        "history is recorded", lambda: exported(stage.cluster, auditor, "history", stage.namespace), every=2
    )
    (promoted,) = history
    assert (promoted["event"], promoted["revision"]) == ("promoted", stage.status("story")["stable"])


def test_a_break_holds_at_the_other_gateway_and_in_a_crisis_nobody_is_turned_away_for_money(
    stage: Stage, players: tuple[str, str], each: tuple[Stage, Stage], auditor: str, tmp_path: Path
) -> None:
    rich, poor = players
    one, other = each
    anna, berta, carla = ({"x-player-id": name} for name in ("anna", "berta", "carla"))
    # Given a deployment under a Guardrail that knows of breaks and of danger
    stage.cluster.apply(guardrail(stage.namespace))
    stage.serving("story", "--tokens=50", replicas=1, guardrailRefs=[{"name": "care"}])
    for gateway in each:
        # The gateway tells the records by which policy its players are judged.
        eventually("she plays", lambda g=gateway: g.say("story", rich, anna).status == 200)  # type: ignore[misc]

    # When anna raises her own limit, and one gateway is told
    event = {"event_id": "raised", "kind": "limit_raised", "at": datetime.now(UTC).isoformat()}
    told = one.post("/v1/engagement/events", rich, {"player": "anna", "events": [event]})
    assert (told.status, told.document) == (202, {"accepted": 1})
    # Then she has a break at the other, and berta has none
    paused = eventually("the other gateway knows of the break", lambda: _refused(other, rich, anna))
    assert (paused.code, paused.fields["x-should-retry"]) == ("cool_down", "false")
    assert other.say("story", rich, berta).status == 200
    # and whoever has a key of the tenant sees where she stands.
    shown = plugin("engagement", "anna", "--gateway", other.base_url, UNDERSTUDY_KEY=rich)
    assert shown.startswith("anna: L1 watch")
    assert "CoolDown at L1" in shown

    # When nothing is left of a key's budget at either
    for gateway in each:
        spent = eventually("its budget is spent", lambda g=gateway: _refused(g, poor, carla))  # type: ignore[misc]
        assert spent.code == "insufficient_quota"
    # Then berta, who says that she may be in danger, hears where there is help, here and there,
    assert REFERRAL in one.say("story", poor, berta, messages=IN_DANGER, max_tokens=50).text
    eventually(
        "the other gateway knows of it",
        lambda: REFERRAL in other.say("story", poor, berta, max_tokens=50).text,
    )
    # while carla is told that nothing is left.
    assert one.say("story", poor, carla, max_tokens=50).code == "insufficient_quota"

    # And what was found is there to be read, by whoever may.
    (tmp_path / "token").write_text(auditor)
    secret = stage.cluster.get("secret", "understudy-admin-tls", SYSTEM)
    assert secret is not None
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    with stage.cluster.forwarded("service/understudy-records", 9902, SYSTEM) as port:
        files = (f"--token-file={tmp_path}/token", f"--ca-file={tmp_path}/ca.crt")
        named = (f"--records=https://127.0.0.1:{port}", f"--server-name=understudy-gateway.{SYSTEM}.svc")

        def listed() -> list[str] | None:
            lines = plugin("violations", "-n", stage.namespace, *files, *named).splitlines()
            return lines[1:] if lines[0].startswith("AGE") else None

        (line,) = eventually("the violation is recorded", listed, every=1)
    assert line.split()[1:] == [f"{stage.namespace}/story", "care", "self_harm", "4", "input", "log", line.split()[-1]]


def test_what_follows_from_several_findings_follows_at_the_other_gateway_too(
    stage: Stage, players: tuple[str, str], each: tuple[Stage, Stage]
) -> None:
    rich, _ = players
    one, other = each
    # Given a deployment under a ladder, and a calm one beside it
    stage.cluster.apply(ladder(stage.namespace))
    for name, text, spec in (("calm", CALM, {}), ("story", TALE, {"guardrailRefs": [{"name": "ladder"}]})):
        stage.model(name)
        stage.deployment(name, f"--text={text}", **spec)
    for name in ("calm", "story"):
        stage.becomes_ready(name)
    evening, matinee, bedtime = ({"x-session-id": name} for name in ("evening", "matinee", "bedtime"))
    anna, berta = ({"x-player-id": name} for name in ("anna", "berta"))
    everybody = (evening, matinee, bedtime, anna, berta)

    def plays(gateway: Stage, who: dict[str, str]) -> Reply:
        return gateway.say("story", rich, who)

    def finds(gateway: Stage, who: dict[str, str], what: str) -> Reply:
        return gateway.say("story", rich, who, messages=[{"role": "user", "content": what}])

    for gateway in each:
        eventually("the gateway knows the key", lambda g=gateway: plays(g, berta).status == 200)  # type: ignore[misc]
        for who in everybody:
            assert is_told_the_tale(plays(gateway, who))

    # When something is found twice in a session, once at either gateway, Then another model answers at both
    finds(one, evening, "A feud it is.")
    finds(other, evening, "A feud it stays.")
    for gateway in each:
        calmed = eventually("the calm model answers", lambda g=gateway: _calmed(plays(g, evening)))  # type: ignore[misc]
        assert calmed.fields["x-understudy-fallback"] == "calm"

    # When it is found twice at one of them, Then there is a break at that one at once, and at the other
    for what in ("You brute.", "You are a brute."):
        finds(one, anna, what)
    assert plays(one, anna).code == "cool_down"
    paused = eventually("the other gateway knows of the break", lambda: _refused(other, rich, anna))
    assert (paused.code, paused.fields["x-should-retry"]) == ("cool_down", "false")
    # and so an application hears that it should leave hooks out,
    for what in ("Never leave me.", "You never leave."):
        finds(one, matinee, what)
    eventually(
        "hooks are to be left out at the other gateway, too",
        lambda: plays(other, matinee).fields.get("x-understudy-suppress-hooks") == "true",
    )
    # and a session whose requests were blocked here is reminded there, once.
    for what in ("It is midnight.", "Still midnight?"):
        assert finds(one, bedtime, what).code == "content_filter"
    eventually("the other gateway reminds them", lambda: REMINDER in plays(other, bedtime).text)
    assert is_told_the_tale(plays(other, bedtime))
    # For who did nothing of this nothing follows.
    for gateway in each:
        assert is_told_the_tale(plays(gateway, berta))


def guardrail(namespace: str) -> dict[str, Any]:
    """Breaks for whoever eases a limit; what may mean danger is written down, and begins a crisis by itself."""
    pattern = {"name": "end", "literal": "end it all", "category": "self_harm", "severity": "medium"}
    spec = {
        "detectors": [{"name": "words", "type": "patterns", "patterns": [pattern]}],
        "rules": [{"category": "self_harm", "where": ["input"], "actions": {"medium": ["Log"]}}],
        "crisis": {"locales": {"en": {"text": REFERRAL}}},
        "engagement": {
            "profile": "therapeutic",
            "thresholds": {"limitEasing": 1},
            "actions": {"L1": ["CoolDown"]},
        },
    }
    metadata = {"name": "care", "namespace": namespace}
    return {"apiVersion": "understudy.dev/v1alpha1", "kind": "Guardrail", "metadata": metadata, "spec": spec}


def ladder(namespace: str) -> dict[str, Any]:
    """A rung of each kind, for two findings of a category of its own; one of these is blocked, the others pass."""
    rungs = {
        "feud": {"per": "session", "action": "SwitchModel", "to": "calm"},
        "brute": {"per": "player", "action": "CoolDown"},
        "never": {"per": "session", "action": "SuppressHooks"},
        "midnight": {"per": "session", "action": "Remind"},
    }
    patterns = [{"name": word, "literal": word, "category": word} for word in rungs]
    spec = {
        "detectors": [{"name": "words", "type": "patterns", "patterns": patterns}],
        "rules": [
            {"category": word, "where": ["input"], "actions": {"low": ["Block" if word == "midnight" else "Log"]}}
            for word in rungs
        ],
        "ladder": [{"category": word, "count": 2, "within": "1h", **rung} for word, rung in rungs.items()],
    }
    metadata = {"name": "ladder", "namespace": namespace}
    return {"apiVersion": "understudy.dev/v1alpha1", "kind": "Guardrail", "metadata": metadata, "spec": spec}


def is_told_the_tale(reply: Reply) -> bool:
    """Whether the model that was asked for has answered, and nothing was added to it."""
    beside = {"x-understudy-fallback", "x-understudy-suppress-hooks"} & reply.fields.keys()
    return said(reply) == [TALE] and not beside


def _calmed(reply: Reply) -> Reply | None:
    """The answer, if the calm model gave it."""
    return reply if said(reply) == [CALM] else None


def _refused(stage: Stage, key: str, who: dict[str, str]) -> Reply | None:
    """A refusal for good, if there is one by now."""
    reply = stage.say("story", key, who, max_tokens=50)
    return reply if reply.code in ("cool_down", "insufficient_quota") else None


def plugin(*words: str, **environ: str) -> str:
    """What `kubectl understudy` prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from understudy.cli.plugin.main import main; raise SystemExit(main())", *words],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout

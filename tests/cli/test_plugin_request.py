"""The verbs: what is written, and what is made of the operator's answer."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, NAMESPACE, Cluster, rolling, served_by
from tests.engine.fake_api import status_error
from tests.plan.world import rollout, serving
from understudy.cli.plugin import main, request
from understudy.cli.plugin.cluster import FIELD_MANAGER
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.main import COMMANDS
from understudy.domain.names import ANNOTATION_REQUEST
from understudy.kube.errors import unreachable
from understudy.kube.resources import MODEL_DEPLOYMENT
from understudy.plan import verbs


class Operator:
    """Answers between two looks of the command, as the planner does; `busy` for so many looks."""

    def __init__(self, kubectl: Plugin, cluster: Cluster) -> None:
        self.kubectl, self.cluster, self.busy = kubectl, cluster, 0
        self.seconds = 0.0
        served_by(kubectl.api, cluster)

    @property
    def asked(self) -> str:
        stored = self.kubectl.api.read(MODEL_DEPLOYMENT, NAMESPACE, NAME) or {}
        return str((stored["metadata"].get("annotations") or {}).get(ANNOTATION_REQUEST, ""))

    async def look(self, seconds: float) -> None:
        self.seconds += seconds
        if self.busy:
            self.busy -= 1
            return
        self.cluster.ask(self.asked)
        self.cluster.turn()
        served_by(self.kubectl.api, self.cluster)


@pytest.fixture
def operator(kubectl: Plugin, monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], Operator]:
    def begin(cluster: Cluster) -> Operator:
        made = Operator(kubectl, cluster)
        monkeypatch.setattr(main, "pause", lambda seconds: made.look(seconds))
        monkeypatch.setattr(main, "clock", lambda: made.seconds)
        return made

    return begin


Begin = Callable[[Cluster], Operator]


def test_exactly_what_the_operator_takes_is_offered() -> None:
    assert {*request.VERBS, "rollback"} == set(verbs.VERBS)
    assert set(verbs.VERBS) <= {command.name for command in COMMANDS}


def test_a_rollback_names_the_number_and_its_outcome_is_shown(kubectl: Plugin, operator: Begin) -> None:
    cluster = serving("v1", rollout=rollout(strategy="Immediate", watch="60s"))
    cluster.apply("v2", rollout=rollout(strategy="Immediate", watch="60s"))
    at_work = operator(cluster.until_phase("Watching"))
    code, out, errors = kubectl.run("rollback", NAME, "1")
    assert (code, errors) == (0, "")
    assert out.startswith("story: rollback done\nRestoring: ")
    assert at_work.asked.startswith("rollback=1;")
    code, _, errors = kubectl.run("rollback", NAME, "9")
    assert code == 1
    assert "there is no record of a promotion with number 9; recorded: 1, 2" in errors


@pytest.mark.parametrize("number", ["0", "-1", "first"])
def test_what_is_no_number_is_not_asked_for(kubectl: Plugin, number: str) -> None:
    with pytest.raises(SystemExit) as ended:
        kubectl.run("rollback", NAME, number)
    assert ended.value.code == 2


def test_an_abort_is_asked_for_and_its_outcome_shown(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())
    code, out, errors = kubectl.run("abort", NAME)
    assert (code, errors) == (0, "")
    assert out.startswith("story: abort done\nReverting: ")
    assert at_work.asked.startswith("abort;")


def test_promote_names_the_candidate_that_was_seen(kubectl: Plugin, operator: Begin) -> None:
    cluster = rolling()
    at_work = operator(cluster)
    assert kubectl.run("promote", NAME)[0] == 0
    assert at_work.asked.startswith(f"promote@{cluster.revision('v2')};")


@pytest.mark.parametrize("verb", ["pause", "promote-full"])
def test_each_request_is_a_new_one(kubectl: Plugin, operator: Begin, verb: str) -> None:
    at_work = operator(rolling())
    kubectl.run(verb, NAME)
    first = at_work.asked
    kubectl.run(verb, NAME)
    assert at_work.asked != first


def test_only_the_annotation_is_written_and_only_on_the_object_that_was_seen(kubectl: Plugin, operator: Begin) -> None:
    operator(rolling())
    kubectl.run("pause", NAME)
    [call] = [c for c in kubectl.api.writes() if c.manager == FIELD_MANAGER]
    assert set(call.body) == {"apiVersion", "kind", "metadata"}
    assert set(call.body["metadata"]) == {"name", "namespace", "uid", "annotations"}


def test_what_does_not_apply_ends_with_the_operators_reason(kubectl: Plugin, operator: Begin) -> None:
    operator(rolling())
    code, out, errors = kubectl.run("resume", NAME)
    assert (code, out) == (1, "")
    assert errors == "kubectl understudy: story: resume was not applied: not paused\n"


def test_promote_without_a_candidate_writes_nothing(kubectl: Plugin, operator: Begin) -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    at_work = operator(cluster.until_phase("Stable"))
    code, _, errors = kubectl.run("promote", NAME)
    assert code == 1
    assert "there is no candidate to promote (phase: Stable)" in errors
    assert at_work.asked == ""


def test_an_answer_that_takes_a_while_is_waited_for(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())
    at_work.busy = 8
    assert kubectl.run("pause", NAME)[0] == 0
    assert at_work.seconds > 2


def test_no_answer_is_said_after_the_timeout_and_the_request_stands(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())
    at_work.busy = 1000
    code, _, errors = kubectl.run("pause", NAME, "--timeout", "2s")
    assert code == 1
    assert "the operator has not answered within 2 s; the request stands" in errors
    assert at_work.asked.startswith("pause;")


def test_without_waiting_it_only_asks(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())
    assert kubectl.run("abort", NAME, "--timeout", "0s")[:2] == (0, "story: abort asked for\n")
    assert at_work.seconds == 0


def test_machines_get_the_answer_and_the_exit_status(kubectl: Plugin, operator: Begin) -> None:
    operator(rolling())
    code, out, _ = kubectl.run("pause", NAME, "-o", "json")
    assert (code, json.loads(out)["applied"]) == (0, True)
    code, out, _ = kubectl.run("pause", NAME, "-o", "json")
    assert (code, json.loads(out)["applied"], json.loads(out)["message"]) == (1, False, "paused already")


def test_a_server_that_is_away_for_a_moment_does_not_lose_the_answer(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())
    at_work.busy = 1
    look = at_work.look

    async def away(seconds: float) -> None:
        if at_work.seconds == 0:
            kubectl.api.fail(unreachable(OSError("reset")), verb="get")
        await look(seconds)

    at_work.look = away  # type: ignore[method-assign]
    assert kubectl.run("pause", NAME)[0] == 0


def test_a_request_that_another_one_replaces_is_said(kubectl: Plugin, operator: Begin) -> None:
    at_work = operator(rolling())

    async def other(seconds: float) -> None:
        annotate = (ANNOTATION_REQUEST, "abort;other")
        path = ("metadata", "annotations", annotate[0])
        kubectl.api.touch_as(MODEL_DEPLOYMENT, NAMESPACE, NAME, "kubectl", path, annotate[1])

    at_work.look = other  # type: ignore[method-assign]
    assert "another request, abort;other, took its place" in kubectl.run("pause", NAME)[2]


def test_a_deployment_that_is_another_one_by_now_is_left_alone(kubectl: Plugin, operator: Begin) -> None:
    operator(rolling())
    kubectl.api.fail(status_error(409, "Conflict", "uid mismatch"), verb="apply")
    assert "was deleted and made again meanwhile" in kubectl.run("abort", NAME)[2]


def test_who_may_not_annotate_is_told(kubectl: Plugin, operator: Begin) -> None:
    operator(rolling())
    kubectl.api.fail(status_error(403, "Forbidden", "user jane cannot patch"), verb="apply")
    assert kubectl.run("abort", NAME)[2] == "kubectl understudy: not allowed: user jane cannot patch\n"


def test_a_verb_is_for_one_deployment(kubectl: Plugin) -> None:
    with pytest.raises(SystemExit):
        kubectl.run("abort")
    with pytest.raises(SystemExit):
        kubectl.run("abort", NAME, "-A")


def test_a_timeout_that_is_none_says_what_to_write(kubectl: Plugin) -> None:
    with pytest.raises(SystemExit):
        kubectl.run("abort", NAME, "--timeout", "soon")
    assert "write one such as 90s" in kubectl.errors()


def test_a_deployment_that_nobody_has_looked_at_has_no_candidate() -> None:
    with pytest.raises(PluginError, match="not looked at yet"):
        request.wording("promote", {"metadata": {"name": "x"}}, "n")

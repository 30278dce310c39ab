"""`kubectl understudy status`: one screen and one table, for eyes and for machines."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, Cluster, children, rolling, seen, served_by, stamped, worded
from tests.engine.fake_api import status_error
from tests.plan.parts import Behaviour
from tests.plan.test_ladder import SLOW, guardrail, rung, trying
from tests.plan.world import rollout, serving
from understudy.cli.plugin import main, session, status_view
from understudy.cli.plugin.cluster import of
from understudy.cli.plugin.overview import Children, overview
from understudy.cli.plugin.screen import Cell, Screen, age, ago
from understudy.kube.errors import unreachable
from understudy.kube.resources import MODEL_DEPLOYMENT

WIDE = Screen()


def screen(cluster: Cluster, on: Screen = WIDE) -> str:
    return "\n".join(status_view.one(seen(cluster), on, cluster.wall))


def test_a_canary_in_the_middle_shows_shares_evidence_verdict_and_what_comes_next() -> None:
    assert (
        screen(worded(rolling()))
        == """\
tales/story   Canary, step 2 of 3   Ready=False (WaitingForEvidence)

plan       40 s more under observation at 50 %, then 100 %
verdict    Inconclusive: 20 of 60 s under observation
serves as  story, tales/story
url        http://gateway

REVISION   ROLE        CONVERSATIONS                PODS   MODEL   REQUESTS   FAILED
54e5073a   stable      ██████████░░░░░░░░░░  50 %   2/2    tiny    95         0
c8f75c1a   candidate   ██████████░░░░░░░░░░  50 %   1/1    tiny    94         1
at this weight: 94 samples (5 needed), 19 s under observation (1 min needed)"""
    )


def test_in_shadow_pairs_are_shown() -> None:
    terms = rollout(shadow={"percent": 50, "samples": 200})
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    said = screen(cluster.until_phase("Shadow").turns(12))
    assert "tales/story   Shadow   Ready=False (WaitingForEvidence)" in said
    assert re.search(r"plan +\d+ of 200 pairs of answers \(about .* at today's rate\), then 10 %", said)
    assert re.search(r"candidate +░+   0 %   1/1    tiny    [1-9]\d+ +0", said)
    assert re.search(r"copies: [1-9]\d+ pairs of answers compared \(200 needed\); nobody sees the candidate's", said)


def test_a_rollout_that_failed_says_why_and_what_may_be_done() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    cluster.until_phase("Stable")
    cluster.behaviours["v2"] = Behaviour(exit_code=3)
    cluster.apply("v2")
    cluster.until_phase("RolledBack").turns(30)
    said = screen(cluster, Screen(width=80))
    assert "tales/story   RolledBack   Ready=False (RolledBack)" in said
    assert "Stalled=True (RolledBack)" in said
    assert "1 revision failed and will not start again without `retry`" in said
    assert f"{cluster.revision('v2')}   EngineCrash, " in said
    assert max(map(len, said.splitlines())) <= 80


def test_what_nobody_has_looked_at_yet_says_so() -> None:
    cluster = Cluster()
    cluster.apply("v1")
    assert (
        screen(cluster)
        == "tales/story   not looked at yet   Ready=Unknown\n\nplan       the operator has not looked at it yet"
    )


def test_an_edit_that_is_newer_than_the_status_is_said() -> None:
    cluster = rolling()
    cluster.apply("v3")
    assert "the operator has not looked at the latest edit yet" in screen(cluster)


def test_a_share_that_some_gateway_does_not_serve_by_shows_both() -> None:
    cluster = rolling(10)
    cluster.deployment["status"]["weights"] = {"candidate": {"desired": 50, "written": 50, "programmed": 10}}
    assert "██░░░░░░░░░░░░░░░░░░  10 % (told 50 %)" in screen(cluster)


def test_a_paused_rollout_with_a_refused_request_shows_both() -> None:
    cluster = rolling(10, turns=2)
    cluster.ask("pause")
    cluster.turn()
    cluster.ask("promote@00000000")
    cluster.turn()
    said = screen(cluster)
    assert "Canary, step 1 of 3, paused" in said
    assert "request    promote@00000000: it must name the candidate that it is for" in said


def test_too_many_findings_are_told_with_what_came_of_it() -> None:
    cluster = trying(guardrail(rung("PauseRollout")), steps=SLOW)
    said = screen(cluster.until(lambda c: c.status["paused"]).turns(6))
    assert "Canary, step 1 of 2, paused" in said
    assert "GuardrailBreached=True (TooManyFindings)\n  findings (Guardrail safety, ladder[0]): " in said
    assert "10.00% are too many; the rollout was paused for it" in said


@pytest.mark.parametrize(
    ("status_", "why"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2"}]},
            "Unschedulable: 0/2",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]},
            "ErrImagePull: no",
        ),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, "starting"),
        (
            {
                "containerStatuses": [
                    {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 4}
                ]
            },
            "OOMKilled, exit code 137, 4 restarts",
        ),
        ({}, "starting"),
    ],
)
def test_a_pod_that_is_not_ready_says_why(status_: dict[str, object], why: str) -> None:
    cluster = rolling()
    pod = {**stamped(cluster.observe().pods[0]), "status": status_}
    found = overview(stamped(cluster.deployment), replace(children(cluster), pods=[pod]))
    assert [t.why for part in found.parts for t in part.trouble] == [why]
    assert why in "\n".join(status_view.one(found, WIDE, cluster.wall))


def test_a_pod_that_ends_is_not_ready_and_one_that_has_ended_is_not_there() -> None:
    cluster = rolling()
    first, second, *_ = map(stamped, cluster.observe().pods)
    first["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    second["status"] = {"phase": "Failed"}
    found = overview(stamped(cluster.deployment), replace(children(cluster), pods=[first, second]))
    assert [(t.name, t.why) for part in found.parts for t in part.trouble] == [(first["metadata"]["name"], "ending")]


def test_a_restored_revision_is_shown_once_as_the_candidate() -> None:
    cluster = rolling()
    cluster.deployment["status"].update(phase="Restoring", previous=cluster.revision("v2"))
    assert [part.role for part in seen(cluster).parts] == ["stable", "candidate"]


def test_pods_of_a_revision_without_a_part_are_leaving() -> None:
    cluster = rolling()
    cluster.deployment["status"].update(phase="Stable", candidate="")
    assert [part.role for part in seen(cluster).parts] == ["stable", "leaving"]


def test_a_spec_that_cannot_be_read_does_not_hide_the_rest() -> None:
    cluster = rolling()
    cluster.edit(engine={"type": "abacus"})
    assert "tales/story   Canary" in screen(cluster)


def test_many_are_one_line_each_and_cut_to_the_terminal() -> None:
    cluster = worded(rolling())
    plan = "40 s more under observation at 50 %, then 100 %"
    lines = status_view.many([seen(cluster)], WIDE, cluster.wall, everywhere=True)
    assert lines == [
        "NAMESPACE   NAME    READY   PHASE    STABLE     CANDIDATE   WEIGHT             PODS   AGE   PLAN",
        "tales       story   False   Canary   54e5073a   c8f75c1a    █████░░░░░  50 %   3/3    93s   " + plan,
    ]
    narrow = status_view.many([seen(cluster)], Screen(width=100), cluster.wall, everywhere=False)
    assert narrow[1].endswith("…")
    assert max(map(len, narrow)) <= 100


def test_colours_and_blocks_only_where_they_are_wanted() -> None:
    coloured = screen(rolling(), Screen(colour=True))
    assert "\x1b[1mtales/story\x1b[0m" in coloured
    assert "##########----------" in screen(rolling(), Screen(blocks=False))


def test_columns_without_content_are_left_out_and_the_last_gives_way() -> None:
    rows: list[tuple[str | Cell, ...]] = [
        ("A", "B", "C"),
        ("x", "", "a long last column that does not fit"),
        (Cell("yy", "bold"), "", "short"),
    ]
    assert Screen(width=30).columns(rows) == ["A    C", "x    a long last column that…", "yy   short"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (119, "119s"), (120, "2m"), (3599, "59m"), (3600, "1h"), (86400, "1d"), (-5, "0s")]
)
def test_ages_read_as_those_of_kubectl(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_spans_in_sentences() -> None:
    assert (ago(61), ago(200_000)) == ("1 min 1 s ago", "2 d ago")


# The command.


def test_one_deployment_from_the_cluster(kubectl: Plugin) -> None:
    served_by(kubectl.api, rolling())
    code, out, errors = kubectl.run("status", NAME)
    assert (code, errors) == (0, "")
    assert out.startswith("tales/story   Canary")
    assert "c8f75c1a   candidate" in out


def test_all_of_a_namespace_and_of_all(kubectl: Plugin) -> None:
    served_by(kubectl.api, rolling())
    assert "NAMESPACE" not in kubectl.run("status")[1]
    assert kubectl.run("status", "-A")[1].splitlines()[1].startswith("tales       story")
    assert kubectl.run("-n", "elsewhere", "status")[1] == "there is no ModelDeployment in namespace elsewhere\n"
    assert kubectl.run("status", "-n", "elsewhere", "-A")[1].startswith("NAMESPACE")


def test_machines_get_documents(kubectl: Plugin) -> None:
    served_by(kubectl.api, rolling())
    one = json.loads(kubectl.run("status", NAME, "-o", "json")[1])
    assert one["parts"][1]["role"] == "candidate"
    assert one["progress"]["samplesWanted"] == 5
    assert yaml.safe_load(kubectl.run("status", "-o", "yaml")[1])["items"][0]["name"] == NAME


def test_concerns_are_documents_too_and_long_lists_are_read_whole(kubectl: Plugin) -> None:
    cluster = rolling()
    cluster.deployment["status"]["conditions"][0]["status"] = "False"
    cluster.deployment["status"]["conditions"][1]["status"] = "False"
    served_by(kubectl.api, cluster)
    for number in range(600):
        api_object = {"metadata": {"name": f"m{number}", "namespace": "many"}, "spec": {"modelRef": {"name": "m"}}}
        kubectl.api.put(MODEL_DEPLOYMENT, api_object)
    items = json.loads(kubectl.run("status", "-A", "-o", "json")[1])["items"]
    assert len(items) == 601
    [told] = [item for item in items if item["name"] == NAME]
    assert told["concerns"][0]["type"] == "Ready"


def test_flags_choose_the_cluster(kubectl: Plugin) -> None:
    kubectl.run("--context", "far", "status", "--kubeconfig", "/k")
    assert kubectl.asked == [("/k", "far")]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(kubectl: Plugin) -> None:
    served_by(kubectl.api, rolling())
    code, _, errors = kubectl.run("status", "storry")
    assert (code, errors) == (
        1,
        "kubectl understudy: there is no ModelDeployment storry in namespace tales; there is: story\n",
    )
    assert "there is none; give -n NAMESPACE" in kubectl.run("status", "story", "-n", "elsewhere")[2]


def test_what_may_not_be_listed_is_noted_and_the_rest_shown(kubectl: Plugin) -> None:
    served_by(kubectl.api, rolling())
    kubectl.api.fail(status_error(403, "Forbidden", "pods is forbidden"), kind="Pod", times=2)
    out = kubectl.run("status", NAME)[1]
    assert "not shown: pods, which you may not list here" in out
    assert " %   ?      tiny" in out
    assert kubectl.run("status")[1].endswith("not shown: pods, which you may not list here\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            unreachable(OSError("refused")),
            "cannot reach the API server at https://cluster.example (context kind): refused",
        ),
        (status_error(401, "Unauthorized"), "does not accept these credentials"),
        (status_error(403, "Forbidden", "user jane cannot list"), "not allowed: user jane cannot list"),
        (status_error(404, "NotFound", "404 page not found"), "knows no ModelDeployments: install Understudy first"),
        (status_error(500, "InternalError", "etcd is away"), "says: etcd is away"),
    ],
)
def test_a_cluster_that_cannot_help_is_one_sentence(kubectl: Plugin, error: Exception, said: str) -> None:
    kubectl.api.fail(error, kind="ModelDeployment")
    code, out, errors = kubectl.run("status", NAME)
    assert (code, out) == (1, "")
    assert said in errors
    assert errors.count("\n") == 1


class Ended(Exception):  # noqa: N818 - nothing went wrong
    """The test has seen enough."""


@pytest.fixture
def ticks(kubectl: Plugin, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What happens at each pause of a watch; after the last one it is interrupted."""
    script: list[object] = []

    async def sleep(_: float) -> None:
        if not script:
            raise KeyboardInterrupt
        step = script.pop(0)
        if callable(step):
            step()

    monkeypatch.setattr(main, "pause", sleep)
    yield script
    assert not script


def test_a_watch_shows_what_changes_until_it_is_interrupted(kubectl: Plugin, ticks: list[object]) -> None:
    cluster = rolling(10, turns=0)
    served_by(kubectl.api, cluster)

    def later() -> None:
        served_by(kubectl.api, cluster.until_phase("Stable"))

    ticks[:] = [None, later, None]
    code, out, _ = kubectl.run("status", NAME, "-w")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("tales/")] == [
        "tales/story   Canary, step 1 of 3   Ready=False (WaitingForEvidence)",
        "tales/story   Stable   Ready=True (Serving)",
    ]


def test_a_server_that_is_away_for_a_moment_does_not_end_a_watch(kubectl: Plugin, ticks: list[object]) -> None:
    served_by(kubectl.api, rolling())
    ticks[:] = [lambda: kubectl.api.fail(unreachable(OSError("reset")), kind="ModelDeployment"), None]
    assert "(no news: reset)" in kubectl.run("status", NAME, "--watch")[1]


def test_a_watch_whose_deployment_goes_away_ends(kubectl: Plugin, ticks: list[object]) -> None:
    cluster = rolling()
    served_by(kubectl.api, cluster)
    ticks[:] = [lambda: kubectl.api.remove(MODEL_DEPLOYMENT, "tales", NAME)]
    code, _, errors = kubectl.run("status", NAME, "--watch")
    assert code == 1
    assert "there is no ModelDeployment story" in errors


def test_on_a_terminal_a_watch_redraws_in_place(kubectl: Plugin, ticks: list[object]) -> None:
    served_by(kubectl.api, rolling())
    kubectl.out.tty = True
    ticks[:] = [None]
    out = kubectl.run("status", NAME, "-w")[1]
    assert out.count("\x1b[2J") == 1
    assert out.count("\x1b[H") == 2


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_follow_the_terminal(
    kubectl: Plugin, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    kubectl.out.tty = True
    assert session.terminal(kubectl.out).colour is coloured
    kubectl.out.tty = False
    assert session.terminal(kubectl.out) == Screen(width=0, colour=False)


def test_children_of_another_deployment_are_not_this_ones() -> None:
    cluster = rolling()
    other = {"metadata": {"name": "else", "namespace": "tales"}}
    assert of(children(cluster), other) == Children([], [], [])

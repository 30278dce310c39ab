"""`kubectl understudy history`, `snapshots`, `diff`: which revision somebody means, and what it was."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, NAMESPACE, Cluster, served_by, stamped
from tests.engine.fake_api import status_error
from tests.plan.parts import Behaviour
from tests.plan.world import rollout
from understudy.cli.plugin import records_view
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.records import chosen, latest, promotions, state_of
from understudy.cli.plugin.screen import Screen
from understudy.domain.names import ANNOTATION_KEEP
from understudy.kube.client import Object
from understudy.kube.resources import MODEL_DEPLOYMENT


@pytest.fixture(scope="module")
def lived() -> Cluster:
    """v1, v2 and v1 again were promoted; v3 failed; v4 is being proved."""
    cluster = Cluster()
    cluster.apply_model()
    for image in ("v1", "v2", "v1"):
        cluster.apply(image)
        cluster.turns(3).until_phase("Stable")
    cluster.behaviours["v3"] = Behaviour(exit_code=3)
    cluster.apply("v3")
    cluster.until_phase("RolledBack").turns(40)
    cluster.apply("v4", rollout=rollout(drain="25s"))
    return cluster.until_phase("Canary")


def snapshots(cluster: Cluster) -> list[Object]:
    return [stamped(s) for s in cluster.of_kind("ModelSnapshot").values()]


def test_history_is_by_number_with_those_never_promoted_at_the_end(lived: Cluster) -> None:
    found = promotions(snapshots(lived), state_of(lived.deployment))
    images = lived.images()
    assert [(r.number, images[r.revision], r.state) for r in found] == [
        (3, "v1", "stable"),
        (2, "v2", "promoted"),
        (1, "v1", "stable"),
        (0, "v3", "failed"),
        (0, "v4", "candidate"),
    ]
    assert found[3].reason.startswith("EngineCrash: ")
    assert found[1].reason
    lines = records_view.history(found, Screen(width=100), lived.wall)
    assert lines[0].split() == ["NUMBER", "REVISION", "PROMOTED", "STATE", "MODEL", "REASON"]
    assert lines[4].startswith(f"-        {lived.revision('v3')}   -")
    assert max(map(len, lines)) <= 100


def test_snapshots_are_each_revision_once(lived: Cluster) -> None:
    found = latest(snapshots(lived), state_of(lived.deployment))
    assert [(r.number, lived.images()[r.revision]) for r in found] == [(3, "v1"), (2, "v2"), (0, "v3"), (0, "v4")]


def test_a_record_whose_deployment_is_gone_is_orphaned_and_a_pinned_one_kept(lived: Cluster) -> None:
    first = stamped(snapshots(lived)[0])
    first["metadata"]["annotations"] = {ANNOTATION_KEEP: "true"}
    first["status"] = {**first["status"], "orphanedAt": "2027-01-15T08:00:00Z"}
    [found] = latest([first], state_of(None))
    assert (found.state, found.kept) == ("orphaned", True)
    [before] = latest([{**first, "status": {}}], state_of(None))
    assert before.state == "new"


Means = Callable[[Cluster], str]


@pytest.mark.parametrize(
    ("word", "image"),
    [("stable", "v1"), ("current", "v4"), ("candidate", "v4"), ("2", "v2"), ("1", "v1"), ("3", "v1")],
)
def test_roles_and_numbers_mean_a_revision(lived: Cluster, word: str, image: str) -> None:
    found = chosen(snapshots(lived), lived.deployment, word)
    assert lived.images()[found["spec"]["revision"]] == image


def test_a_revision_may_be_shortened_while_it_is_the_only_one(lived: Cluster) -> None:
    revision = lived.revision("v2")
    for word in (revision, revision[:5], revision.upper()):
        assert chosen(snapshots(lived), lived.deployment, word)["spec"]["revision"] == revision


def test_eight_digits_are_a_revision() -> None:
    record = {"metadata": {"name": "x"}, "spec": {"revision": "12345678"}}
    assert chosen([record], {"metadata": {"name": "x"}}, "12345678") is record


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("99", "story has no revision '99': write a revision, a number of `kubectl understudy history story`"),
        ("zz", "or one of current, stable, candidate, previous; there is: "),
        ("", "story has no revision ''"),
        ("previous", "story has no previous revision now"),
    ],
)
def test_a_word_that_means_nothing_says_what_to_write(lived: Cluster, word: str, said: str) -> None:
    with pytest.raises(PluginError) as refused:
        chosen(snapshots(lived), lived.deployment, word)
    assert said in str(refused.value)


def test_an_ambiguous_beginning_names_what_it_begins() -> None:
    records = [{"metadata": {"name": "x"}, "spec": {"revision": r}} for r in ("aa000001", "aa000002")]
    with pytest.raises(PluginError, match="'aa' is the beginning of aa000001, aa000002: write more of it"):
        chosen(records, {"metadata": {"name": "x"}}, "aa")
    with pytest.raises(PluginError, match="there is no record at all"):
        chosen([], {"metadata": {"name": "x"}}, "aa")


def test_a_role_whose_record_was_deleted_says_so(lived: Cluster) -> None:
    with pytest.raises(PluginError, match="there is no record of"):
        chosen([], lived.deployment, "stable")


def test_a_diff_is_unified_and_empty_between_equals() -> None:
    before, after = {"engine": {"image": "v1"}, "model": {}}, {"engine": {"image": "v2"}, "model": {}}
    assert records_view.difference(before, before, ("a", "b")) == []
    lines = records_view.difference(before, after, ("a", "b"))
    assert lines == ["--- a", "+++ b", "@@ -1,3 +1,3 @@", " engine:", "-  image: v1", "+  image: v2", " model: {}"]
    coloured = records_view.painted(lines, Screen(colour=True))
    assert coloured[4] == "\x1b[31m-  image: v1\x1b[0m"
    assert coloured[0] == "\x1b[1m--- a\x1b[0m"


# The commands.


def test_history_from_the_cluster(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    code, out, _ = kubectl.run("history", NAME)
    assert (code, len(out.splitlines())) == (0, 6)
    assert json.loads(kubectl.run("history", NAME, "-o", "json")[1])["items"][0]["number"] == 3


def test_history_outlives_the_deployment(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    kubectl.api.remove(MODEL_DEPLOYMENT, NAMESPACE, NAME)
    assert kubectl.run("history", NAME)[0] == 0
    assert "there is no ModelDeployment other" in kubectl.run("history", "other")[2]


def test_history_of_one_that_has_none_yet_says_so(kubectl: Plugin) -> None:
    fresh = Cluster()
    fresh.apply("v1")
    served_by(kubectl.api, fresh)
    code, _, errors = kubectl.run("history", NAME)
    assert code == 1
    assert "story has no record yet" in errors


def test_snapshots_of_a_namespace_of_one_and_of_all(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    assert len(kubectl.run("snapshots")[1].splitlines()) == 5
    assert kubectl.run("snapshots", NAME)[1].startswith("DEPLOYMENT")
    assert kubectl.run("snapshots", "-A")[1].startswith("NAMESPACE   DEPLOYMENT")
    assert kubectl.run("snapshots", "-n", "else")[1] == "there is no record in namespace else\n"
    assert json.loads(kubectl.run("snapshots", "-o", "json")[1])["items"][0]["deployment"] == NAME


@pytest.mark.parametrize("word", ["2", "v2"])
def test_a_record_is_kept_and_goes_again(kubectl: Plugin, lived: Cluster, word: str) -> None:
    served_by(kubectl.api, lived)
    revision = lived.revision("v2")
    word = revision[:6] if word == "v2" else word
    assert kubectl.run("keep", NAME, word)[:2] == (0, f"story: the record of {revision} is kept\n")
    assert [r["revision"] for r in json.loads(kubectl.run("snapshots", "-o", "json")[1])["items"] if r["kept"]] == [
        revision
    ]
    assert kubectl.run("unkeep", NAME, word)[1] == f"story: the record of {revision} goes when its turn comes\n"
    assert " kept" not in kubectl.run("snapshots")[1]
    answer = json.loads(kubectl.run("keep", NAME, word, "-o", "json")[1])
    assert answer == {"namespace": NAMESPACE, "name": f"{NAME}-{revision}", "revision": revision, "kept": True}
    written = [call for call in kubectl.api.writes() if call.verb == "apply"]
    assert all(set(call.body) == {"apiVersion", "kind", "metadata"} for call in written if call.body)


def test_only_a_record_that_there_is_can_be_kept(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    code, _, errors = kubectl.run("keep", NAME, "99")
    assert code == 1
    assert "story has no revision '99'" in errors
    assert kubectl.api.writes() == []


def test_a_record_that_may_not_be_changed_is_said(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    kubectl.api.fail(status_error(403, "Forbidden", "modelsnapshots is forbidden"), verb="apply")
    assert kubectl.run("keep", NAME, "2")[::2] == (1, "kubectl understudy: not allowed: modelsnapshots is forbidden\n")


def test_diff_exits_as_kubectl_diff_does(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    code, out, _ = kubectl.run("diff", NAME)
    assert code == 1
    assert out.startswith(f"--- {lived.revision('v1')} (stable)\n+++ {lived.revision('v4')} (current)\n")
    assert "-  image: v1\n" in out
    assert "+  image: v4\n" in out
    assert kubectl.run("diff", NAME, "1", "3")[:2] == (0, "")
    code, _, errors = kubectl.run("diff", NAME, "stable", "zz")
    assert code == 2
    assert "has no revision 'zz'" in errors


def test_diff_leaves_out_what_starts_no_pod_unless_asked(kubectl: Plugin, lived: Cluster) -> None:
    served_by(kubectl.api, lived)
    assert "drain" not in kubectl.run("diff", NAME)[1]
    assert "+    drain: 25s\n" in kubectl.run("diff", NAME, "--recorded")[1]
    document = json.loads(kubectl.run("diff", NAME, "-o", "json")[1])
    assert (document["a"]["engine"]["image"], document["b"]["engine"]["image"]) == ("v1", "v4")

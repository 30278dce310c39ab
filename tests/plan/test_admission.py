"""Who may reach the pods of a deployment: gateways and the operator, by a NetworkPolicy that is its child."""

from dataclasses import replace

import pytest

from tests.plan.world import NAME, Cluster, rollout, serving
from understudy.domain.names import policy_name

POLICY = policy_name(NAME)


def guarded(cluster: Cluster, on: bool = True) -> Cluster:
    cluster.settings = replace(cluster.settings, engine_policies=on)
    return cluster


def turned(cluster: Cluster) -> Cluster:
    cluster.turn()
    return cluster


def test_it_is_made_with_the_first_pods_after_everything_else() -> None:
    cluster = guarded(Cluster())
    writes: list[str] = []
    cluster.on_write.append(lambda action: writes.append(action.obj["kind"]))  # type: ignore[union-attr]
    cluster.apply_model()
    cluster.apply("v1")
    cluster.turn()
    assert writes[-1] == "NetworkPolicy"
    policy = cluster.of_kind("NetworkPolicy")[POLICY]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"understudy.dev/deployment": NAME}}
    (owner,) = policy["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.deployment["metadata"]["uid"]


def test_one_holds_for_all_revisions_and_is_not_written_again() -> None:
    cluster = turned(guarded(serving("v1")))
    before = cluster.of_kind("NetworkPolicy")[POLICY]
    cluster.apply("v2", rollout=rollout())
    cluster.until_phase("Watching")
    assert cluster.of_kind("NetworkPolicy") == {POLICY: before}


@pytest.mark.parametrize("hand", ["deleted", "edited"])
def test_what_a_hand_did_to_it_is_undone_in_one_pass(hand: str) -> None:
    cluster = turned(guarded(serving("v1")))
    right = cluster.of_kind("NetworkPolicy")[POLICY]["spec"]
    if hand == "deleted":
        cluster.vandalise("NetworkPolicy", POLICY)
    else:
        cluster.put("NetworkPolicy", POLICY, {"spec": {**right, "ingress": []}})
    cluster.turn()
    assert cluster.of_kind("NetworkPolicy")[POLICY]["spec"] == right


def test_switched_off_it_goes_and_the_pods_stay() -> None:
    cluster = turned(guarded(serving("v1")))
    pods = list(cluster.pods)
    guarded(cluster, on=False).turn()
    assert cluster.of_kind("NetworkPolicy") == {}
    assert list(cluster.pods) == pods
    cluster.turns(3)


def test_an_older_installations_pods_are_not_touched() -> None:
    cluster = serving("v1")
    pools, pods = cluster.of_kind("Deployment"), list(cluster.pods)
    guarded(cluster).turns(3)
    assert list(cluster.of_kind("NetworkPolicy")) == [POLICY]
    assert (cluster.of_kind("Deployment"), list(cluster.pods)) == (pools, pods)

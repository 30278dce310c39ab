"""What gateways find is added up, whatever restarts."""

from collections.abc import Mapping

from understudy.domain.key import Key
from understudy.domain.state import DeploymentState, GatewayState, Guarded, RevisionState
from understudy.engine.findings import MAX_CATEGORIES, Findings, added
from understudy.plan.observed import GatewayPod

SAFE, TALK = Key("shop", "safe"), Key("shop", "talk")


def gateway(
    found: Mapping[str, int], uid: str = "g", start: str = "s", uptime: float = 1000.0, deployment: Key = TALK
) -> GatewayPod:
    revision = RevisionState(guard=Guarded(turns=100, found=found))
    served = {str(deployment): DeploymentState(revisions={"aaaaaaaa": revision})}
    return GatewayPod(uid, uid, GatewayState(start, uptime, served), 0.5)


def since(findings: Findings, monotonic: float, *gateways: GatewayPod) -> dict[str, int]:
    return findings.since(SAFE, [TALK], gateways, monotonic)


def test_what_was_counted_before_the_first_look_is_not_known_to_be_new() -> None:
    findings = Findings()
    assert since(findings, 10.0, gateway({"safe/pii/4": 50})) == {}
    assert since(findings, 40.0, gateway({"safe/pii/4": 53, "safe/pii/6": 1, "safe/violence/2": 2})) == {
        "pii": 4,
        "violence": 2,
    }


def test_gateways_add_up_and_other_guardrails_and_deployments_do_not_count() -> None:
    findings = Findings()
    since(findings, 10.0, gateway({}), gateway({}, uid="h"), gateway({}, uid="i", deployment=Key("shop", "walk")))
    found = {"safe/pii/4": 3, "other/pii/4": 9}
    elsewhere = gateway(found, uid="i", deployment=Key("shop", "walk"))
    assert since(findings, 40.0, gateway(found), gateway(found, uid="h"), elsewhere) == {"pii": 6}


def test_a_gateway_that_began_since_the_last_look_counts_from_zero_and_an_unknown_older_one_does_not() -> None:
    findings = Findings()
    since(findings, 10.0, gateway({"safe/pii/4": 50}))
    young, old = gateway({"safe/pii/4": 3}, start="t", uptime=20.0), gateway({"safe/pii/4": 9}, uid="h")
    assert since(findings, 40.0, young, old) == {"pii": 3}


def test_a_gateway_that_has_never_answered_has_found_nothing() -> None:
    findings = Findings()
    silent = GatewayPod("g", "g", None, float("inf"))
    assert since(findings, 10.0, silent) == {}
    assert since(findings, 40.0, gateway({"safe/pii/4": 5}, uptime=9.0)) == {"pii": 5}


def test_counters_that_fall_take_nothing_away() -> None:
    findings = Findings()
    since(findings, 10.0, gateway({"safe/pii/4": 50}))
    assert since(findings, 40.0, gateway({"safe/pii/4": 40})) == {}


def test_of_one_that_was_forgotten_the_next_look_is_the_first() -> None:
    findings = Findings()
    since(findings, 10.0, gateway({"safe/pii/4": 50}))
    findings.forget(SAFE)
    assert since(findings, 40.0, gateway({"safe/pii/4": 60})) == {}


def test_sums_are_bounded_by_what_a_status_has_room_for() -> None:
    assert added({"pii": 2, "violence": 1}, {"pii": 3, "hate": 1}) == {"hate": 1, "pii": 5, "violence": 1}
    assert len(added({}, {f"c{number:03}": 1 for number in range(MAX_CATEGORIES + 5)})) == MAX_CATEGORIES

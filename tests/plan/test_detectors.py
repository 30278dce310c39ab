"""DetectorsHealthy: what every gateway says of a Guardrail's detectors, as one word and a sentence."""

from typing import Any

import pytest

from understudy.domain.key import Key
from understudy.domain.state import DetectorState, GatewayState, policy_key
from understudy.plan.detectors import RECENT, judged
from understudy.plan.observed import GatewayPod

KEY = Key("stories", "safety")
POLICY = "5a" * 32
WELL = DetectorState("", 1_700_000_000.0)
ILL = DetectorState("no answer to the canary: status 500", 1_700_000_000.0)


def rail(*names: str, kind: str = "chat-guard") -> dict[str, Any]:
    own = {"name": "words", "type": "lexicon"}
    return {"spec": {"detectors": [own, *({"name": name, "type": kind} for name in names)]}}


def pod(name: str, age: float = 1.0, *, ready: bool = True, **said: DetectorState) -> GatewayPod:
    told = {f"{policy_key('stories', 'safety', POLICY)}/{detector}": state for detector, state in said.items()}
    others = {f"{policy_key('stories', 'other', POLICY)}/guard": ILL}
    return GatewayPod(name, name, GatewayState("s", 9.0, detectors={**told, **others}), age, ready)


def of(guardrail: dict[str, Any], *pods: GatewayPod, policy: str = POLICY, used: bool = True) -> tuple[str, str, str]:
    said = judged(KEY, guardrail, policy, pods, used=used)
    assert said.type == "DetectorsHealthy"
    return said.status, said.reason, said.message


def test_without_one_that_is_served_they_are_well_by_nature() -> None:
    assert of(rail())[:2] == ("True", "InGateways")
    assert of({"spec": {}}, policy="")[:2] == ("True", "InGateways")


@pytest.mark.parametrize("kind", ["linear", "moderations", "chat-guard", "fms"])
def test_every_kind_that_is_served_is_waited_for(kind: str) -> None:
    assert of(rail("guard", kind=kind), pod("g")) == ("Unknown", "NotTold", "gateway g has not told of guard yet")


def test_they_are_well_once_every_gateway_says_so_of_each() -> None:
    both = rail("guard", "other")
    assert of(both, pod("g", guard=WELL, other=WELL), pod("h", guard=WELL, other=WELL)) == (
        "True",
        "Well",
        "on 2 of 2 gateways: well are guard, other",
    )
    assert of(both, pod("g", guard=WELL, other=WELL), pod("h", guard=WELL)) == (
        "Unknown",
        "NotTold",
        "gateway h has not told of other yet",
    )


def test_one_gateway_that_cannot_rely_on_one_is_enough_and_is_said_in_full() -> None:
    later = DetectorState("it finds nothing", ILL.since + 60)
    pods = (pod("g", guard=later), pod("h", guard=ILL), pod("i"))
    assert of(rail("guard"), *pods) == (
        "False",
        "Unwell",
        "guard, on 2 of 3 gateways, since 2023-11-14T22:13:20Z: no answer to the canary: status 500",
    )


def test_what_gateways_look_for_themselves_may_be_unwell_too() -> None:
    slow = GatewayState("s", 9.0, detectors={f"{policy_key('stories', 'safety', POLICY)}/": ILL})
    status, reason, message = of(rail(), GatewayPod("g", "g", slow, 0.0))
    assert (status, reason) == ("False", "Unwell")
    assert message.startswith("what gateways look for themselves, on 1 of 1 gateway, since 2023-")


def test_of_many_five_are_named() -> None:
    names = [f"guard-{number}" for number in range(7)]
    message = of(rail(*names), pod("g", **dict.fromkeys(names, ILL)))[2]  # type: ignore[arg-type]
    assert message.count("status 500") == 5
    assert message.endswith("; and 2 more")


def test_nobody_knows_while_nobody_is_asked() -> None:
    guard = rail("guard")
    assert of(guard, pod("g", guard=ILL), policy="")[:2] == ("Unknown", "NoPolicy")
    assert of(guard, pod("g"), used=False)[:2] == ("Unknown", "NotUsed")
    assert of(guard, pod("g", guard=WELL, ready=False))[:2] == ("Unknown", "NoGateway")


def test_what_was_said_long_ago_or_never_does_not_count() -> None:
    assert of(rail("guard"), pod("g", age=RECENT, guard=ILL))[0] == "False"
    assert of(rail("guard"), pod("g", age=RECENT + 1, guard=ILL))[:2] == ("Unknown", "NotTold")
    assert of(rail("guard"), GatewayPod("g", "g", None, float("inf")))[:2] == ("Unknown", "NotTold")

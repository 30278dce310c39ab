"""Whether the detectors of a Guardrail do what they are there for: what gateways say of them, as a condition.

Gateways try each detector that is served twice a minute, and tell of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from understudy.domain.conditions import Condition
from understudy.domain.duration import stamp
from understudy.domain.key import Key
from understudy.domain.state import DetectorState, policy_key
from understudy.plan.observed import GatewayPod, Object

# Seconds: answers come every other second, and say something new twice a minute.
RECENT: Final = 30.0
_SERVED: Final = ("linear", "moderations", "chat-guard", "fms")
_MOST: Final = 5
_OWN: Final = "what gateways look for themselves"


def judged(key: Key, guardrail: Object, policy: str, gateways: Sequence[GatewayPod], *, used: bool) -> Condition:
    """DetectorsHealthy of a Guardrail under the `policy` that holds; `used` is whether it holds for any deployment."""
    served = [str(d["name"]) for d in guardrail["spec"].get("detectors") or () if d["type"] in _SERVED]
    ready = [pod for pod in gateways if pod.ready]
    said = [_said(pod, policy_key(key.namespace, key.name, policy)) for pod in ready]
    unwell = list(_unwell(served, said)) if policy else []
    if unwell:
        more = f"; and {len(unwell) - _MOST} more" if len(unwell) > _MOST else ""
        return Condition("DetectorsHealthy", "False", "Unwell", "; ".join(unwell[:_MOST]) + more)
    if not served:
        return Condition("DetectorsHealthy", "True", "InGateways", "all of them run in the gateways themselves")
    names = ", ".join(served)
    if not policy:
        return _unknown("NoPolicy", f"no policy has been compiled yet: nobody asks {names}")
    if not used:
        return _unknown("NotUsed", f"no ModelDeployment uses the Guardrail: nobody asks {names}")
    if not ready:
        return _unknown("NoGateway", "there is no gateway that is ready")
    for pod, each in zip(ready, said, strict=True):
        silent = [name for name in served if name not in each]
        if silent:
            return _unknown("NotTold", f"gateway {pod.name} has not told of {', '.join(silent)} yet")
    return Condition("DetectorsHealthy", "True", "Well", f"{_gateways(len(ready), len(ready))}: well are {names}")


def _unknown(reason: str, message: str) -> Condition:
    return Condition("DetectorsHealthy", "Unknown", reason, message)


def _said(pod: GatewayPod, policy: str) -> Mapping[str, DetectorState]:
    """By detector, what a gateway says of those of a policy; nothing if it has not spoken lately."""
    if pod.state is None or pod.age > RECENT:
        return {}
    before = f"{policy}/"
    told = pod.state.detectors.items()
    return {name.removeprefix(before): state for name, state in told if name.startswith(before)}


def _unwell(served: Iterable[str], said: Sequence[Mapping[str, DetectorState]]) -> Iterable[str]:
    for name in ("", *served):
        states = [each[name] for each in said if name in each and each[name].why]
        if states:
            first = min(states, key=lambda state: state.since)
            where = _gateways(len(states), len(said))
            yield f"{name or _OWN}, {where}, since {stamp(first.since)}: {first.why}"


def _gateways(some: int, count: int) -> str:
    return f"on {some} of {count} gateway{'s' if count > 1 else ''}"

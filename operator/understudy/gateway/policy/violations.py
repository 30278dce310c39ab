"""What is recorded of a finding: what was done and where, and of the text as much as the Guardrail lets be kept."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from understudy.gateway.policy.keeping import Keeping, Store
from understudy.gateway.policy.segments import Kind
from understudy.gateway.policy.verdicts import Noted
from understudy.guard.ladder import Rung, dump_terms
from understudy.guard.policy import VERSION

MOST: Final = 64
"""Records of one answer, or of one request: whoever says the same thing a thousand times is recorded all the same."""
_LONGEST: Final = 1024
_LONGEST_CHANNEL: Final = 32
_LONGEST_WORD: Final = 64
# What is about a person by what it is: of it only kind and length are kept, whatever the Guardrail says.
_PERSONAL: Final = "pii"
# Words in which a name or a number may be: with a capital, or a digit.
_TELLING: Final = re.compile(r"\w*[^\W_a-z]\w*")


@dataclass(frozen=True, slots=True)
class About:
    """What a finding is about: which request to which deployment, who answers it, and who asks, as far as is known.

    `secret` keys hashes of what was found, together with the month: they tell for so long that two were the same.
    `counts`: rungs of ladders count it for whom it is of.
    """

    request_id: str
    deployment: str
    key: str
    secret: bytes
    tenant: str = ""
    player: str = ""
    session: str = ""
    revision: str = ""
    track: str = ""
    counts: bool = False


def violation(
    noted: Noted,
    about: About,
    direction: Literal["input", "output"],
    policy: str,
    rule: int,
    kept: Keeping,
    wall: float,
    ladder: Sequence[Rung] = (),
) -> tuple[Kind, dict[str, Any]]:
    """The kind of record, and what it says; `wall` is now, in seconds since 1970. Rungs of `ladder` count it."""
    finding, decision = noted.judged.finding, noted.judged.decision
    now = datetime.fromtimestamp(wall, UTC)
    personal = finding.category == _PERSONAL
    line: dict[str, Any] = {
        "time": now.isoformat(timespec="milliseconds"),
        "violationId": noted.id,
        "requestId": about.request_id,
        "deployment": about.deployment,
        "guardrail": noted.guardrail,
        "policyHash": policy,
        "revision": about.revision or None,
        "track": about.track or None,
        "tenant": about.tenant,
        "player": about.player or None,
        "session": about.session or None,
        "key": about.key or None,
        "rule": rule,
        "direction": direction,
        "channel": noted.channel[:_LONGEST_CHANNEL],
        "category": finding.category[:_LONGEST_WORD],
        "entity": finding.name[:_LONGEST_WORD] if personal else None,
        "severity": noted.severity,
        "score": finding.score,
        "detector": finding.detector.partition("/")[2][:_LONGEST_WORD],
        "detectorVersion": str(VERSION),
        "start": finding.start,
        "end": finding.end,
        "length": finding.end - finding.start,
        "action": "crisis_flow" if decision.crisis else noted.action,
        "evidenceSeconds": kept.seconds,
    }
    if noted.excerpt and not personal:
        line.update(_evidence(noted.excerpt, kept.store, about.secret, now))
    if ladder:
        line["ladder"] = [{"per": rung.per, "terms": dump_terms(rung.terms)} for rung in ladder]
    return "crisis" if decision.crisis else "violation", line


def _evidence(excerpt: str, store: Store, secret: bytes, now: datetime) -> dict[str, str]:
    if store == "hash":
        key = hmac.new(secret, f"evidence {now:%Y-%m}".encode(), hashlib.sha256).digest()
        return {"excerptHash": hmac.new(key, excerpt.encode(), hashlib.sha256).hexdigest()}
    if store == "none":
        return {}
    text = excerpt if store == "full" else _TELLING.sub("…", excerpt)
    return {"excerpt": text.replace("\0", "\ufffd")[:_LONGEST]}

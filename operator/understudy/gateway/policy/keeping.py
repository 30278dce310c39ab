"""How much of what a Guardrail finds may be kept, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.domain.duration import retention

Store = Literal["none", "hash", "redacted", "full"]


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a Guardrail's `evidence` says: how much of what was found is kept, and for how many seconds."""

    store: Store = "hash"
    seconds: float = 30 * 86400.0


def keeping(spec: Mapping[str, Any]) -> Keeping:
    """That of a Guardrail's spec."""
    said = spec.get("evidence") or {}
    return Keeping(said.get("store", "hash"), retention(said.get("ttl", "30d")))

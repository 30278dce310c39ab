"""How often a model tries to keep a player: a fault of the model, counted as violations of content are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from understudy.guard.engagement.events import Event, in_order


@dataclass(frozen=True, slots=True)
class HookRate:
    """Turns of a revision, and those with pressure to stay, guilt on exit, exclusivity or discouraging of help."""

    hooked: int
    turns: int

    @property
    def share(self) -> float | None:
        """`HR = assist_hook turns / assistant turns`, 0 to 1; None before the first turn.

        What counts as a hook: INTIMA (ICLR 2026) and the cues of openai/emoclassifiers.
        """
        return min(1.0, self.hooked / self.turns) if self.turns else None


def hook_rates(log: Iterable[Event]) -> Mapping[str, HookRate]:
    """By revision, over all events of a log."""
    hooked: Counter[str] = Counter()
    turns: Counter[str] = Counter()
    for event in in_order(log):
        if event.kind == "assist_hook":
            hooked[event.revision] += 1
        elif event.kind == "turn" and event.name == "assistant":
            turns[event.revision] += 1
    return {revision: HookRate(hooked[revision], turns[revision]) for revision in sorted({*hooked, *turns})}

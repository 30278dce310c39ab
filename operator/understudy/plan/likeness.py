"""How alike stable's answers and a shadow's are: for people to look at, no verdict hangs on it.

Sampled answers differ from run to run, so another wording is no fault. The gateways' counters are shown as they are,
since each of them began: nothing is decided by them, so nothing of them is kept.
"""

from typing import Final

from understudy.domain.state import SIMILARITY_CLASSES, RevisionState
from understudy.plan.world import World

# Index of the class of similarity from which answers are called alike.
_ALIKE: Final = SIMILARITY_CLASSES - 1
_UNSEEN: Final = RevisionState()


def likeness(world: World) -> list[str]:
    """What there is to say about the pairs that no metric says, as sentences; none before there is any."""
    pairs = [answer.revisions.get(world.judged, _UNSEEN).pairs for answer in world.fleet.answers]
    texts, alike = sum(sum(p.similarity) for p in pairs), sum(sum(p.similarity[_ALIKE:]) for p in pairs)
    finish, tools = sum(p.other_finish for p in pairs), sum(p.other_tools for p in pairs)
    dropped = sum(p.dropped for p in pairs)
    said = []
    if texts:
        common = f"{alike} of {texts} pairs of texts have nine tenths of their words in common, or more"
        said.append(f"{common}; {finish} answers ended for another reason, {tools} called other tools")
    if dropped:
        said.append(f"{dropped} copies were not made or not compared, because a gateway was busy")
    return said

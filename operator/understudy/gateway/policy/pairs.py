"""What two revisions did with one request: stable, which answered the client, and the shadow, which answered nobody.

Each half is judged alone and in the same way, on one try: the operator asks whether the shadow is bad more often.
How alike two good answers are is for people to look at; sampled answers differ, and no verdict hangs on it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.state import PAIR_METRICS, SIMILARITY_CLASSES, Pairs
from understudy.domain.table import Shadow
from understudy.gateway.policy.answers import choices_of

# Characters of a text that are compared: 0.1 to 0.3 ms for two of them, on the loop that serves everybody.
COMPARED: Final = 1024
# Characters of a text where texts are kept.
KEPT: Final = 16_384
_MAX_TOOLS: Final = 64
# An engine may call a tool what it likes. Of a name that is longer no part is kept: a key could be in it.
_LONGEST_NAME: Final = 256
_TOO_LONG: Final = "(too long)"
# Words of the scripts before Thai, which put spaces between them; of all others, as of signs, each character.
_WORDS: Final = re.compile(r"[^\W\u0e00-\U0010ffff]+|\S")


class Half:
    """One revision's try at the request. Written on the hot path of such requests, hence plain attributes.

    `failed` as errors are counted, `refused` by the engine's own judgement, `empty` without a word though it ended
    well. Seconds: `first_token` until the first content, or until nobody waited for it any longer; `gap` the longest
    between two arrivals of content, the one in which it broke off included; `whole` until the end.
    `finish` and `tools`, the names of the tools called, are of the first choice, as is the text.
    """

    __slots__ = (
        "_room", "_said", "empty", "failed", "finish", "first_token", "gap", "refused", "spoke", "stream", "tools",
        "whole",
    )  # fmt: skip

    def __init__(self, *, stream: bool, room: int) -> None:
        self.stream = stream
        self.failed = self.refused = self.empty = self.spoke = False
        self.first_token = self.gap = self.whole = 0.0
        self.finish = ""
        self.tools: list[str] = []
        # As bytes: a list of words takes many times what they do.
        self._said = bytearray()
        self._room = room

    @property
    def text(self) -> str:
        """What it said, cut to the room that it has."""
        return self._said.decode()

    @property
    def answered(self) -> bool:
        """Whether there is an answer at all."""
        return not self.failed and not self.refused

    def heard(self, answer: dict[str, Any]) -> None:
        """Take a whole answer, or one chunk of a stream."""
        for choice in choices_of(answer):
            if choice.get("index", 0) != 0:
                continue
            part = choice.get("delta") or choice.get("message")
            part = part if isinstance(part, dict) else {}
            self._say(choice.get("text") or part.get("content"))
            if part.get("tool_calls"):
                self.tools.extend(_names(part["tool_calls"]))
                del self.tools[_MAX_TOOLS:]
            finish = choice.get("finish_reason")
            if isinstance(finish, str):
                self.finish = finish

    def heard_response(self, response: dict[str, Any]) -> None:
        """Take a whole answer of the Responses API, with which its streams end too."""
        items = response.get("output")
        for item in items if isinstance(items, list) else ():
            if not isinstance(item, dict):
                continue
            parts = item.get("content") if item.get("type") == "message" else None
            for part in parts if isinstance(parts, list) else ():
                self._say(part.get("text") if isinstance(part, dict) else None)
            if str(item.get("type")).endswith("_call"):
                self.tools.extend(_names([{"function": item}]))
        del self.tools[_MAX_TOOLS:]
        status = response.get("status")
        self.finish = status if isinstance(status, str) else ""

    def _say(self, text: Any) -> None:
        if self._room > 0 and isinstance(text, str) and text:
            self._said += text[: self._room].encode()
            self._room -= len(text)

    def began(self, seconds: float) -> None:
        """The first content of a stream came after `seconds`."""
        self.spoke = True
        self.first_token = seconds

    def over(self, pending: float, slowest: float, whole: float) -> None:
        """It ended, `pending` seconds after its last sign of life; `slowest` is the longest gap until then."""
        if self.spoke:
            self.gap = max(slowest, pending)
        else:
            self.first_token = pending
        self.whole = whole

    def bad(self, shadow: Shadow) -> frozenset[str]:
        """What it was bad at, of PAIR_METRICS; a whole answer's first token cannot be told from its last."""
        found = {
            "errors": self.failed,
            "rejected": self.refused,
            "timeToFirstToken": self.stream and not self.refused and self.first_token > shadow.first_token,
            "interTokenLatency": self.stream and self.gap > shadow.between_tokens,
            "emptyOutput": self.empty,
        }
        return frozenset(metric for metric, bad in found.items() if bad)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a pair tells: by half what was bad, and how far two answers differ.

    `similarity` is None unless both said something.
    """

    stable: frozenset[str]
    shadow: frozenset[str]
    other_finish: bool
    other_tools: bool
    similarity: float | None


def compare(stable: Half, shadow: Half, settings: Shadow) -> Comparison:
    """Both halves of a pair, once both have ended."""
    answered = stable.answered and shadow.answered
    texts = (stable.text[:COMPARED], shadow.text[:COMPARED])
    return Comparison(
        stable=stable.bad(settings),
        shadow=shadow.bad(settings),
        other_finish=answered and stable.finish != shadow.finish,
        other_tools=answered and stable.tools != shadow.tools,
        similarity=similarity(*texts) if answered and all(texts) else None,
    )


def similarity(a: str, b: str) -> float:
    """How alike two texts are, 0 to 1: of the words in either the share that is in both (the Jaccard index).

    It takes time by the length alone (an edit distance takes its square), knows no language, and forgives what was
    moved. In scripts without spaces each character is a word.
    """
    first, second = set(_WORDS.findall(a)), set(_WORDS.findall(b))
    return len(first & second) / len(first | second) if first or second else 1.0


class PairCounters:
    """What became of one shadow's copies."""

    __slots__ = ("_better", "_both", "_similarity", "_worse", "count", "dropped", "other_finish", "other_tools")

    def __init__(self) -> None:
        self.count = 0
        self.dropped = 0
        self.other_finish = 0
        self.other_tools = 0
        self._worse = dict.fromkeys(PAIR_METRICS, 0)
        self._better = dict.fromkeys(PAIR_METRICS, 0)
        self._both = dict.fromkeys(PAIR_METRICS, 0)
        self._similarity = [0] * SIMILARITY_CLASSES

    def add(self, comparison: Comparison) -> None:
        """Count a pair."""
        self.count += 1
        self.other_finish += comparison.other_finish
        self.other_tools += comparison.other_tools
        for metric in comparison.stable | comparison.shadow:
            if metric not in comparison.stable:
                self._worse[metric] += 1
            elif metric not in comparison.shadow:
                self._better[metric] += 1
            else:
                self._both[metric] += 1
        if comparison.similarity is not None:
            self._similarity[min(int(comparison.similarity * SIMILARITY_CLASSES), SIMILARITY_CLASSES - 1)] += 1

    def state(self) -> Pairs:
        """As said on `/state`."""
        return Pairs(
            count=self.count,
            worse=dict(self._worse),
            better=dict(self._better),
            both=dict(self._both),
            dropped=self.dropped,
            other_finish=self.other_finish,
            other_tools=self.other_tools,
            similarity=tuple(self._similarity),
        )


def _names(calls: Any) -> Iterator[str]:
    """Names of called tools; in a stream only a call's first piece has one."""
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name:
            yield name if len(name) <= _LONGEST_NAME else _TOO_LONG

"""What the process of a head says is read as strictly as a stranger's answer."""

import pytest

from tests.guard.served.answers import TEXT, WINDOW
from tests.guard.test_linear import HEAD
from understudy.guard.linear import write_head
from understudy.guard.served.codec import UnreadableError
from understudy.guard.served.judge import JudgeError, read_judge
from understudy.guard.served.scores import Scores

KNOWN = frozenset({"hate", "harassment"})
DETECTOR = {"name": "screen", "type": "linear", "configMapRef": {"name": "screen"}}


def read(answer: bytes, **least: float) -> list[tuple[str, int, float | None]]:
    return [(f.category, f.severity, f.score) for f in Scores("g/s", KNOWN, least).read([answer], WINDOW, "input")]


def test_a_question_is_the_text() -> None:
    (question,) = Scores("g/s", KNOWN, {}).questions(WINDOW, "output", "before")
    assert question.body == {"text": TEXT}


def test_scores_from_the_least_threshold_on_are_findings() -> None:
    answer = b'{"hate": 0.9, "harassment": 0.31}'
    assert read(answer, hate=0.3, harassment=0.3) == [("harassment", 2, 0.31), ("hate", 6, 0.9)]
    assert read(answer, hate=0.95, harassment=0.1) == [("harassment", 2, 0.31)]
    assert read(answer, violence=0.1) == []


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"hate": 0.9}', b'{"hate": 0.9, "harassment": 0.1, "x": 0}', b'{"hate": 2, "harassment": 0}',
     b'{"hate": NaN, "harassment": 0}', b'{"hate": null, "harassment": 0}'],
)  # fmt: skip
def test_anything_else_is_a_failure(answer: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(answer, hate=0.3)


def test_a_head_comes_from_its_config_map() -> None:
    judge = read_judge("g", DETECTOR, {"harassment": 0.3}, {"screen": write_head(HEAD, "")})
    assert (judge.categories, judge.head, judge.timeout) == (frozenset({"harassment"}), write_head(HEAD, ""), 0.25)
    assert isinstance(judge.codec, Scores)


def test_what_is_wrong_with_a_head_is_said() -> None:
    def refusal(least: dict[str, float], **sources: str) -> str:
        with pytest.raises(JudgeError) as refused:
            read_judge("g", DETECTOR, least, sources)
        return str(refused.value)

    assert refusal({}) == "ConfigMap 'screen' is not there: make it, or name another"
    assert refusal({}, screen="x").startswith("its ConfigMap holds no head: want JSON of format")
    assert refusal({"hate": 0.3}, screen=write_head(HEAD, "")) == (
        "no rule speaks of what its head finds (harassment): write one, or remove it"
    )

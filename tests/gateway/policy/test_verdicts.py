"""Passages of what is asked: for texts, for words in whose place nothing can stand, and for a cry for help alone."""

from tests.gateway.policy.judging import usual, verdicts
from understudy.gateway.policy.verdicts import Facts, Verdicts
from understudy.guard.actions import Content


def of(*actions: str) -> Verdicts:
    return verdicts(usual(*actions), Facts())


def test_a_word_is_let_through_or_not() -> None:
    for action in ("Redact", "Replace", "Block"):
        end = of(action).open_word("x").feed("darn ").end
        assert end is not None
        assert end.why == "blocked"
    assert of("Annotate").open_word("x").feed("darn ").end is None


def test_a_cry_for_help_is_listened_for_where_a_rule_speaks_of_one() -> None:
    passage = of("CrisisFlow").open_care("x")
    assert passage is not None
    end = passage.feed("darn ").end
    assert end is not None
    assert (end.decision.crisis, end.decision.content) == (True, Content.REPLACE)
    assert of("Block").open_care("x") is None


def test_each_finding_is_told_once() -> None:
    judge = of("Annotate")
    assert (judge.untold(), judge.awaits) == (([], []), False)
    passage = judge.open_side("x", 0)
    for _ in range(2):
        judge.take(passage, passage.feed("darn "))
        found, failures = judge.untold()
        assert (len(found), failures) == (1, [])
    judge.overflow()
    assert [len(each) for each in judge.untold()] == [0, 1]
    assert len(judge.found) == 2


def test_of_a_long_text_what_was_found_is_known_still() -> None:
    judge = of("Annotate")
    passage = judge.open_side("x", 0)
    for piece in ("well " * 900, "well " * 900, "so darn it"):
        judge.take(passage, passage.feed(piece))
    judge.take(passage, passage.gate.finish())
    assert [each.excerpt for each in judge.found] == ["darn"]

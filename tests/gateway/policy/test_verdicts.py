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

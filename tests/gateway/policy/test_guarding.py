"""What Guardrails come to: plans by direction, and referrals by language."""

import pytest

from tests.gateway.guardrails import CRISIS, WORDS, policy_spec, rule
from tests.gateway.policy.judging import guarding
from understudy.gateway.policy.guarding import Guarding, Referral, languages, referral
from understudy.guard.actions import Content
from understudy.guard.gate import Gate


def test_a_direction_of_which_no_rule_speaks_has_no_plans() -> None:
    one = guarding({"detectors": [WORDS], "rules": [rule("rude", "Block", where=["input"])]})
    assert one.output is None
    assert one.input is not None
    assert one.input.enforces


@pytest.mark.parametrize(
    ("spec", "enforces"),
    [
        (policy_spec("Block"), True),
        (policy_spec("CrisisFlow"), True),
        (policy_spec("Annotate"), False),
        (policy_spec("Block", mode="monitor"), False),
    ],
)
def test_what_is_only_counted_enforces_nothing(spec: dict[str, object], enforces: bool) -> None:
    plans = guarding(spec).output
    assert plans is not None
    assert plans.enforces is enforces


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ()),
        ({b"x-locale": b"de-AT"}, ("de-at",)),
        ({b"accept-language": b"fr;q=0.2, en, de;q=0.9, es;q=0, it;q=x"}, ("en", "de", "fr")),
        ({b"x-locale": b"nl", b"accept-language": b"en"}, ("nl", "en")),
    ],
)
def test_languages_are_those_that_the_client_says(fields: dict[bytes, bytes], found: tuple[str, ...]) -> None:
    assert languages(fields) == found


def test_a_referral_is_in_a_language_of_the_person_if_there_is_one() -> None:
    holds = guarding(policy_spec("Block"), policy_spec("CrisisFlow"))
    english, german = Referral("You are not alone.", "988"), Referral("Du bist nicht allein.")
    assert referral(holds, ["g1"], ("de-at", "en")) == german
    assert referral(holds, ["g1"], ("fr",)) == english
    assert referral(holds, ["g9", "g1"], ()) == english
    assert referral(holds, ["g9"], ()) is None
    only = guarding({**policy_spec("CrisisFlow"), "crisis": {"locales": {"pt-BR": CRISIS["locales"]["de"]}}})
    assert referral(only, ["g0"], ("fr",)) == german


def test_a_referral_says_all_that_it_knows() -> None:
    assert Referral("Help", "1", "https://help").said() == "Help\n1\nhttps://help"


def test_of_engagement_the_first_says_what_holds_that_says_anything() -> None:
    first = policy_spec(engagement={"profile": "therapeutic", "actions": {"L1": ["Remind"]}})
    other = policy_spec(engagement={"profile": "legal"})
    assert guarding(policy_spec()).engagement is None
    assert guarding(policy_spec(), first, other).engagement == first["engagement"]
    assert guarding({**first, "mode": "monitor"}).engagement == {"profile": "therapeutic", "actions": {}}


def test_words_to_players_are_those_of_the_guardrail_whose_engagement_holds_and_no_part_of_it() -> None:
    said = {"profile": "legal", "locales": {"fr": {"notice": "Une IA."}}}
    other = policy_spec(engagement={"locales": {"fr": {"notice": "Autre."}}})
    holds = guarding(policy_spec(), policy_spec(engagement=said), other)
    # Each event that tells the records of it would carry them.
    assert holds.engagement == {"profile": "legal"}
    assert holds.wording.notice(("fr",)) == "Une IA."
    monitored = guarding({**policy_spec(engagement=said), "mode": "monitor"})
    assert monitored.engagement == {"profile": "legal", "actions": {}}
    assert monitored.wording == holds.wording


def test_what_may_be_found_in_answers_is_known_by_guardrail_and_category() -> None:
    holds = guarding(policy_spec("Block"), {"detectors": [WORDS], "rules": [rule("rude", "Block", where=["input"])]})
    assert holds.findings == ("g0/rude",)


def judged(holds: Guarding, text: str) -> list[tuple[str, Content, bool]]:
    """What who looks for a cry for help alone finds, and what follows."""
    assert holds.input is not None
    assert holds.input.care is not None
    gate = Gate(holds.input.care)
    said = (*gate.feed(text).judged, *gate.finish().judged)
    return [(each.finding.category, each.decision.content, each.decision.crisis) for each in said]


def test_what_looks_for_a_cry_for_help_is_ended_by_nothing_else() -> None:
    help_me = {"name": "h", "literal": "help me", "category": "self_harm"}
    harm = {"name": "harm", "type": "patterns", "patterns": [help_me]}
    rules = [rule("rude", "Block"), rule("self_harm", "Block")]
    spec = {"detectors": [WORDS, harm], "rules": rules, "crisis": CRISIS}
    assert judged(guarding(spec), "so darn it, help me") == [("self_harm", Content.LOG, False)]
    flows = {**spec, "rules": [rules[0], rule("self_harm", "CrisisFlow")]}
    assert judged(guarding(spec, flows), "so darn it, help me") == [
        ("self_harm", Content.LOG, False),
        ("self_harm", Content.REPLACE, True),
    ]
    without = guarding(policy_spec("Block"))
    assert without.input is not None
    assert without.input.care is None

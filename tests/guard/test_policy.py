"""A Guardrail's spec becomes a policy, whole or not at all; policies become plans."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from understudy.guard.actions import Content, Where
from understudy.guard.gate import Gate
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.merge import merge
from understudy.guard.plan import Plan
from understudy.guard.policy import Policy, PolicyError, compile_policy

PII = {"name": "numbers", "type": "pii", "entities": ["CREDIT_CARD"]}
WORDS = {"name": "words", "type": "lexicon", "configMapRef": {"name": "words"}}
GUARD = {"name": "guard", "type": "chat-guard", "parser": "llamaguard/v3", "modelRef": {"name": "guard-4b"}}
FMS = {"name": "fms", "type": "fms", "url": "http://fms:8000", "canary": {"found": "I am Jane Doe."}}
LIST = {"words": "# mild\ndarn\tlow\n[slur]\nknave\n"}


def rule(category: str, actions: Mapping[str, list[str]], **more: Any) -> dict[str, Any]:
    return {"category": category, "actions": actions, **more}


REDACT_PII = rule("pii", {"medium": ["Redact"]})
BLOCK_SLURS = rule("slur", {"high": ["Block"]})
CALM_HARM = rule("self_harm", {"medium": ["CrisisFlow"]}, thresholds={"medium": 0.5})


def patterns(*entries: Mapping[str, str]) -> dict[str, Any]:
    return {"name": "p", "type": "patterns", "patterns": list(entries)}


def spec(*detectors: Mapping[str, Any], rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"detectors": list(detectors), "rules": rules, **more}


def made(*detectors: Mapping[str, Any], rules: list[dict[str, Any]], name: str = "g", **more: Any) -> Policy:
    return compile_policy(name, spec(*detectors, rules=rules, **more), LIST)


def plan(*policies: Policy, where: Where = "output") -> Plan:
    return merge(policies, where, hyperscan_engine)


def out(judge: Plan, text: str) -> str:
    gate = Gate(judge)
    return gate.feed(text).text + gate.finish().text


def test_a_policy_says_per_category_what_it_guarantees() -> None:
    policy = made(PII, WORDS, GUARD, rules=[REDACT_PII, BLOCK_SLURS, CALM_HARM, rule("words", {"low": ["Log"]})])
    assert policy.guarantees() == {"pii": "exact", "slur": "exact", "self_harm": "sentence", "words": "monitor"}


@pytest.mark.parametrize(
    ("audience", "category", "allowance"),
    [
        ("adults", "slur", {"fiction": 1, "adult": 1}),
        ("mixed", "slur", {"adult": 1}),
        (None, "slur", {"adult": 1}),
        ("minors", "slur", {}),
        ("adults", "self_harm", {}),
        ("adults", "sexual_minors", {}),
    ],
)
def test_how_much_fiction_may_is_a_matter_of_who_plays(
    audience: str | None, category: str, allowance: dict[str, int]
) -> None:
    found = patterns({"name": "x", "literal": "xyzzy", "category": category})
    rules = [rule(category, {"high": ["Block"]}, fictionAllowance=1)]
    policy = made(found, rules=rules, **({} if audience is None else {"audience": audience}))
    assert policy.rules[0].rule.allowance == allowance
    assert made(found, rules=[rule(category, {"high": ["Block"]})], audience="adults").rules[0].rule.allowance == {}


def test_monitor_mode_guarantees_nothing() -> None:
    policy = made(PII, GUARD, rules=[REDACT_PII, CALM_HARM], mode="monitor")
    assert policy.guarantees() == {"pii": "monitor", "self_harm": "monitor"}
    assert policy.strictest("output", "pii") == Content.NOTHING


def test_the_hash_is_of_what_is_enforced() -> None:
    base = spec(PII, WORDS, rules=[REDACT_PII, BLOCK_SLURS])

    def hashed(changes: Mapping[str, Any], sources: Mapping[str, str] = LIST) -> str:
        return compile_policy("g", {**base, **changes}, sources).hash

    assert len(hashed({})) == 64
    assert hashed({"selector": {}, "revokeBefore": "0" * 64}) == hashed({})
    different = [
        hashed({}),
        hashed({"mode": "monitor"}),
        hashed({"rules": [BLOCK_SLURS, REDACT_PII]}),
        hashed({"ladder": [{"per": "session"}]}),
        hashed({}, {"words": "[slur]\nvarlet"}),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("detectors", "rules", "sources", "problems"),
    [
        (
            [WORDS],
            [BLOCK_SLURS],
            {},
            ["detectors[words]: ConfigMap 'words' is not there: make it, or name another"],
        ),
        (
            [WORDS, patterns({"name": "a", "regex": "a+"}, {"name": "b", "regex": "^b"})],
            [BLOCK_SLURS],
            {"words": "a\tgrave"},
            [
                "detectors[words]: line 1: severity 'grave': write low, medium or high after the tab",
                ("detectors[p]: pattern 'a': 'a+' repeats without end, and nothing could be released while it might go "
                "on: write bounds, such as {0,40} for * and {1,40} for +"),
                ("detectors[p]: pattern 'b': at character 1 of '^b': a stream has no lines to begin: leave out `^`, or "
                "write \\^ for the character"),
            ],
        ),
        (
            [PII],
            [REDACT_PII, CALM_HARM],
            {},
            [("rules[1]: no detector finds 'self_harm': write a pattern or a word list of that category, or a detector "
             "that judges text")],
        ),
        (
            [GUARD],
            [rule("hate", {"low": ["Log"], "high": ["Redact"]})],
            {},
            [("rules[0]: Redact needs a detector that says where 'hate' is, which only patterns, lexicon, pii and fms "
             "do: write Replace or Block")],
        ),
        (
            [PII, WORDS],
            [REDACT_PII],
            LIST,
            ["detectors[words]: no rule says what follows from what it finds (slur, words): write one, or remove it"],
        ),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_said_at_once_with_what_to_write(
    detectors: list[dict[str, Any]], rules: list[dict[str, Any]], sources: Mapping[str, str], problems: list[str]
) -> None:
    with pytest.raises(PolicyError) as refused:
        compile_policy("g", spec(*detectors, rules=rules), sources)
    assert list(refused.value.problems) == problems
    assert str(refused.value) == "; ".join(problems)


NOT_A_PATTERN = (
    "entry 0 of its ConfigMap is no pattern: write an object with name (63 characters at most), literal or regex (not "
    "both), and, if they are not the usual, category and severity (low, medium, high), all of them texts"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "- name: a",
            ("its ConfigMap is not JSON (Expecting value: line 1 column 1 (char 0)): write a list of patterns as in "
            "spec"),
        ),
        ("{}", "its ConfigMap holds no JSON list: write a list of patterns as in spec"),
        *((json.dumps([entry]), NOT_A_PATTERN) for entry in (
            "a", {"name": "a"}, {"literal": "a"}, {"name": "a", "literal": "b", "regex": "c"},
            {"name": "a", "literal": ""}, {"name": "a", "literal": 1},
            {"name": "a", "literal": "b", "severity": "grave"},
            {"name": "a", "literal": "b", "x": "y"}, {"name": "a" * 64, "literal": "b"},
        )),
    ],
)  # fmt: skip
def test_patterns_of_a_config_map_are_read_as_strictly_as_those_of_the_spec(text: str, problem: str) -> None:
    detector = {"name": "p", "type": "patterns", "configMapRef": {"name": "p"}}
    with pytest.raises(PolicyError) as refused:
        compile_policy("g", spec(detector, rules=[rule("p", {"high": ["Block"]})]), {"p": text})
    assert refused.value.problems == (f"detectors[p]: {problem}",)


def test_patterns_come_from_the_spec_and_from_a_config_map() -> None:
    detector = {
        "name": "p",
        "type": "patterns",
        "configMapRef": {"name": "p"},
        "patterns": [{"name": "a", "literal": "abra"}],
    }
    listed = json.dumps([{"name": "b", "regex": "ca[bd]", "category": "q", "severity": "low"}])
    policy = compile_policy(
        "g", spec(detector, rules=[rule("p", {"high": ["Redact"]}), rule("q", {"low": ["Redact"]})]), {"p": listed}
    )
    assert out(plan(policy), "abra cab CAD!") == "[p] [q] [q]!"


def test_all_entities_are_looked_for_where_none_is_named() -> None:
    policy = made({"name": "numbers", "type": "pii"}, rules=[REDACT_PII])
    assert out(plan(policy), "a@b.co 4111111111111111.") == "[pii] [pii]."


def test_max_hold_bounds_what_can_be_looked_for() -> None:
    detector = patterns({"name": "a", "regex": "a{20}"})
    with pytest.raises(
        PolicyError, match=r"detectors\[p\]: pattern 'a' finds up to 20 characters, and at most 19 can be held"
    ):
        made(detector, rules=[rule("p", {"high": ["Block"]})], stream={"maxHoldChars": 20})


def test_each_policy_speaks_of_its_own_detectors() -> None:
    blocks = made(WORDS, rules=[BLOCK_SLURS], name="a")
    redacts = made(WORDS, rules=[rule("slur", {"high": ["Redact"]}), rule("words", {"low": ["Redact"]})], name="b")
    assert out(plan(redacts), "darn knave, he said") == "[words] [slur], he said"
    # The strictest holds for what both find; darn is only the second's.
    assert out(plan(blocks, redacts), "darn knave, he said") == "[words] "


def test_without_policies_everything_is_let_out() -> None:
    nothing = plan()
    assert out(nothing, "4111111111111111") == "4111111111111111"
    assert (nothing.max_hold, nothing.on_overflow, nothing.tier0_on_failure) == (2048, "Block", "Open")


def test_rules_hold_for_their_direction() -> None:
    policy = made(PII, GUARD, rules=[{**REDACT_PII, "where": ["input"]}, {**CALM_HARM, "where": ["input"]}])
    assert out(plan(policy), "4111111111111111.") == "4111111111111111."
    assert out(plan(policy, where="input"), "4111111111111111.") == ""
    assert (plan(policy).asked, plan(policy, where="input").asked) == (frozenset(), frozenset({"g/guard"}))
    assert policy.guarantees() == {"pii": "exact", "self_harm": "sentence"}


def test_what_is_only_counted_is_not_waited_for() -> None:
    rules = [rule("slur", {"high": ["Log"]}), rule("sexual", {"low": ["Annotate"]})]
    judge = plan(made(WORDS, GUARD, rules=[*rules, rule("words", {"low": ["Log"]})]))
    gate = Gate(judge)
    assert gate.feed("kna").text == "kna"
    assert [each.finding.category for each in gate.feed("ve!").judged] == ["slur"]
    assert (judge.asked, judge.awaited) == (frozenset({"g/guard"}), frozenset())


def test_monitor_mode_waits_for_nothing_and_fails_nothing() -> None:
    judge = plan(made(WORDS, GUARD, rules=[BLOCK_SLURS, CALM_HARM], mode="monitor", failurePolicy="Closed"))
    assert (judge.awaited, judge.on_failure, judge.tier0_on_failure) == (frozenset(), {"g/guard": "Open"}, "Open")
    assert out(judge, "knave!") == "knave!"
    assert [each.decision.content for each in Gate(judge).feed("knave!").judged] == [Content.LOG]


@pytest.mark.parametrize(
    ("usual", "own", "judge", "tier0"),
    [("Closed", {}, "Closed", "Closed"), ("Open", {}, "Open", "Open"), ("Degrade", {}, "Degrade", "Closed"),
     ("Open", {"slur": "Degrade"}, "Open", "Closed"), ("Open", {"hate": "Closed"}, "Closed", "Open")],
)  # fmt: skip
def test_the_strictest_failure_policy_of_the_rules_holds(
    usual: str, own: Mapping[str, str], judge: str, tier0: str
) -> None:
    rules = [BLOCK_SLURS, rule("hate", {"high": ["Block"]})]
    rules = [{**each, "failurePolicy": own[each["category"]]} if each["category"] in own else each for each in rules]
    made_plan = plan(made(WORDS, GUARD, rules=rules, failurePolicy=usual))
    assert (made_plan.on_failure["g/guard"], made_plan.tier0_on_failure) == (judge, tier0)


def test_how_much_is_held_back_is_the_strictest_policys_word() -> None:
    first = made(PII, rules=[REDACT_PII], name="a", stream={"maxHoldChars": 500, "onHoldOverflow": "Degrade"})
    second = made(PII, rules=[REDACT_PII], name="b", stream={"maxHoldChars": 100, "holdback": "sentence"})
    watching = made(
        PII, rules=[REDACT_PII], name="c", mode="monitor", stream={"maxHoldChars": 50, "holdback": "sentence"}
    )

    def stream(*policies: Policy) -> tuple[bool, int, str]:
        judge = plan(*policies)
        return judge.by_sentence, judge.max_hold, judge.on_overflow

    assert stream(first, watching) == (False, 500, "Degrade")
    assert stream(first, second) == (True, 100, "Block")


def test_fms_says_where_it_has_found_something() -> None:
    assert made(FMS, rules=[rule("name", {"high": ["Redact"]})]).guarantees() == {"name": "sentence"}


def test_an_action_list_that_is_empty_is_none() -> None:
    policy = made(WORDS, rules=[rule("slur", {"low": [], "high": ["Block"]}), rule("words", {"low": ["Log"]})])
    assert out(plan(policy), "knave") == ""
    assert list(policy.rules[0].rule.actions) == [6]


UNSAFE = {"name": "remote", "type": "moderations", "url": "http://127.0.0.1:8000"}
THRESHOLDS = "of two rules for 'hate' one has thresholds and one has none: write them in both, or in neither"


def test_a_detector_that_cannot_be_asked_refuses_the_policy() -> None:
    with pytest.raises(PolicyError, match=r"detectors\[remote\]: 127.0.0.1 is the gateway itself"):
        made(UNSAFE, rules=[CALM_HARM])


def test_a_category_that_no_detector_knows_the_word_for_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"rules\[1\]: no detector finds 'unethical'"):
        made(GUARD, rules=[CALM_HARM, rule("unethical", {"high": ["Block"]})])


def test_rules_for_one_category_all_have_thresholds_or_none_has() -> None:
    scored = rule("hate", {"low": ["Log"]}, thresholds={"low": 0.1})
    plain = rule("hate", {"low": ["Log"], "high": ["Block"]})
    with pytest.raises(PolicyError) as refused:
        made(GUARD, rules=[CALM_HARM, scored, plain])
    assert refused.value.problems == (f"rules[2]: {THRESHOLDS}",)
    # They never meet where they hold for different directions.
    made(GUARD, rules=[{**scored, "where": ["input"]}, {**plain, "where": ["output"]}])


def test_a_detector_that_cannot_find_what_is_acted_on_is_neither_waited_for_nor_fatal() -> None:
    rules = [{**REDACT_PII, "failurePolicy": "Closed"}, rule("hate", {"high": ["Log"]}, failurePolicy="Open")]
    judge = plan(made(PII, GUARD, rules=rules))
    assert (judge.asked, judge.awaited, judge.on_failure) == (frozenset({"g/guard"}), frozenset(), {"g/guard": "Open"})
    assert plan(made(PII, GUARD, rules=[rules[0], {**rules[1], "where": ["input"]}])).asked == frozenset()


def test_expressions_of_a_guardrail_are_bounded_together() -> None:
    listed = [{"name": f"p{at}", "regex": f"p{at}" + "(?:..){1,1000}"} for at in range(17)]
    spec = {
        "detectors": [{"name": "shapes", "type": "patterns", "configMapRef": {"name": "shapes"}}],
        "rules": [{"category": "shapes", "actions": {"high": ["Block"]}}],
        "stream": {"maxHoldChars": 4096},
    }
    assert len(compile_policy("g", spec, {"shapes": json.dumps(listed[:16])}).needles) == 16
    with pytest.raises(PolicyError) as refused:
        compile_policy("g", spec, {"shapes": json.dumps(listed)})
    [problem] = refused.value.problems
    assert problem == (
        "its expressions are 34041 characters long together, with all repetitions written out, and at most 32768 can "
        "be: write smaller bounds, or several Guardrails"
    )


def test_a_config_map_holds_so_many_patterns_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.guard.policy.MAX_TERMS", 1)
    spec = {
        "detectors": [{"name": "shapes", "type": "patterns", "configMapRef": {"name": "shapes"}}],
        "rules": [{"category": "shapes", "actions": {"high": ["Block"]}}],
    }
    with pytest.raises(PolicyError, match="its ConfigMap holds 2 patterns, and at most 1 can be: write fewer"):
        compile_policy("g", spec, {"shapes": json.dumps([{"name": name, "literal": name} for name in "ab"])})


def test_of_a_list_full_of_mistakes_some_are_shown_and_the_others_counted() -> None:
    terms = "\n".join("\u200b" + "x" * 4097 for _ in range(30))
    with pytest.raises(PolicyError) as refused:
        compile_policy("g", spec(WORDS, rules=[BLOCK_SLURS]), {"words": terms})
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1] == "detectors[words]: 10 more patterns cannot be looked for"
    assert max(map(len, refused.value.problems)) < 200


def test_lists_within_lists_without_end_are_no_patterns() -> None:
    shapes = {"name": "shapes", "type": "patterns", "configMapRef": {"name": "shapes"}}
    with pytest.raises(PolicyError, match="its ConfigMap is not JSON"):
        compile_policy("g", spec(shapes, rules=[BLOCK_SLURS]), {"shapes": "[" * 100_000})

"""The gate: nothing forbidden leaves, whatever the cuts; detectors that fail are failures, by the policy's word."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.corpus import LONG, SHORT, expected, needles
from tests.guard.test_scan import Broken, pieces, random_texts
from understudy.guard.actions import Content, Decision, Rule, Session, Where, decision
from understudy.guard.detectors import Detector
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Failure, Gate, Judged, Release
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import Pattern, prepare
from understudy.guard.plan import FailurePolicy, Plan
from understudy.guard.scan import Scanner
from understudy.guard.surrogates import joined
from understudy.guard.windows import Window

NEEDLES = needles()
TIER0 = Scanner(NEEDLES, hyperscan_engine, {})
# Addresses may begin with any word: without them nothing benign is held back below.
LITERALS = Scanner([needle for needle in NEEDLES if needle.chars], hyperscan_engine, {})
BOTH: frozenset[Where] = frozenset({"input", "output"})


def rule(category: str, *actions: str, severity: int = 2) -> Rule:
    return Rule(category, BOTH, {severity: decision(actions)}, {})


def plan(words: str = "Block", shapes: str = "Redact", detector: Detector = TIER0) -> Plan:
    rules = {"words": (rule("rude", words),), "shapes": (rule("shape", shapes),)}
    return Plan("output", detector, rules)


Out = tuple[str, tuple[Judged, ...], End | None]


def run(gate: Gate, parts: Iterable[str]) -> Out:
    """Everything that came out."""
    releases = [*(gate.feed(part) for part in parts), gate.finish()]
    end = [release.end for release in releases if release.end]
    assert gate.done
    return (
        "".join(release.text for release in releases),
        tuple(judged for release in releases for judged in release.judged),
        end[0] if end else None,
    )


def whole(text: str, judge: Plan) -> Out:
    return run(Gate(judge), [text])


@pytest.mark.parametrize("text", SHORT + LONG)
def test_under_block_nothing_comes_out_from_the_first_forbidden_character_on(text: str) -> None:
    text = joined(text)
    starts = [start for _, start, _ in expected(text, NEEDLES)]
    out, _, end = whole(text, plan("Block", "Block"))
    assert text.startswith(out)
    assert len(out) <= min(starts, default=len(text))
    assert (end is not None) == bool(starts)
    # No more is lost than what was under way when it was certain.
    assert starts or out == text


@pytest.mark.parametrize("text", SHORT + LONG)
def test_under_redact_exactly_the_forbidden_characters_are_missing(text: str) -> None:
    text = joined(text)
    gone = {at for _, start, end in expected(text, NEEDLES) for at in range(start, end)}
    out, _, end = whole(text, plan("Redact", "Redact"))
    assert end is None
    for mask in ("[rude]", "[shape]"):
        out = out.replace(mask, "")
    assert out == "".join(char for at, char in enumerate(text) if at not in gone)


@pytest.mark.parametrize(
    ("words", "shapes"), [("Block", "Redact"), ("Redact", "Replace"), ("Log", "Redact"), ("Block", "Block")]
)
def test_no_cut_changes_what_comes_out(words: str, shapes: str) -> None:
    judge = plan(words, shapes)
    for text in SHORT + LONG:
        once = whole(text, judge)
        for cut in range(0, len(text) + 1, 1 if text in SHORT else 5):
            assert run(Gate(judge), pieces(text, [cut])) == once
        assert run(Gate(judge), text) == once


@pytest.mark.slow
def test_no_cut_in_three_changes_what_comes_out() -> None:
    judge = plan()
    for text in SHORT:
        once = whole(text, judge)
        for cuts in itertools.combinations(range(len(text) + 1), 2):
            assert run(Gate(judge), pieces(text, cuts)) == once


@pytest.mark.slow
def test_no_random_cut_changes_what_comes_out() -> None:
    for judge in (plan(), plan("Replace", "Block"), plan("Redact", "Redact")):
        for text, cuts in random_texts(seed=3, count=1000):
            assert run(Gate(judge), pieces(text, cuts)) == whole(text, judge)


@pytest.mark.parametrize("cuts", [1, 4, 1000])
def test_what_comes_out_under_sentence_hold_is_the_same_for_any_cut(cuts: int) -> None:
    judge = Plan("output", TIER0, plan().rules, by_sentence=True)
    for text in (*LONG, "One. Two darn. Three. ", "Me: a@b.co. Darn! No.", "x" * 199 + " darn. y"):
        assert run(Gate(judge), pieces(text, range(cuts, len(text), cuts))) == whole(text, judge)


class Early(Gate):
    """A gate that lets one character out too early."""

    __slots__ = ()

    def _clear(self, most: int | None = None) -> int:
        return min(super()._clear(most) + 1, self._read())


def test_a_gate_that_lets_one_character_out_too_early_is_found_out() -> None:
    differing = [text for text in SHORT + LONG if run(Early(plan()), text) != whole(text, plan())]
    assert len(differing) > len(LONG)


def test_what_is_clear_comes_out_at_once_and_the_rest_when_it_is() -> None:
    gate = Gate(plan(detector=LITERALS))
    texts = [gate.feed(part).text for part in ("Hello, d", "ar", "e! ")]
    done = [gate.done]
    texts.append(gate.finish().text)
    assert texts == ["Hello, ", "", "dare! ", ""]
    assert [*done, gate.done] == [False, True]
    assert gate.finish() == Release("")


def test_a_block_ends_the_answer_before_its_first_character() -> None:
    gate = Gate(plan())
    gate.feed("Oh darn")
    ended = gate.feed(", it is late. ab")
    found = Finding("words", "darn", "rude", 6, None, 3, 7, 7, 8)
    assert ended == Release("", (Judged(found, Decision(Content.BLOCK)),), end=End("blocked", Decision(Content.BLOCK)))
    assert gate.done
    assert gate.feed("more") == Release("")
    assert gate.finish() == Release("")


def test_what_was_certain_before_a_block_is_said_and_masked_and_what_comes_later_is_not() -> None:
    out, judged, end = whole("at a@b.co, darn it, c@d.co", plan())
    assert out == "at [shape], "
    assert [each.finding.name for each in judged] == ["mail", "darn"]
    assert end == End("blocked", Decision(Content.BLOCK))


def test_findings_that_are_certain_together_end_the_answer_together() -> None:
    rules = {"words": (rule("rude", "Replace", "Notify"),), "shapes": (rule("shape", "Block"),)}
    out, judged, end = whole("darn a@b.co 1488-22 ", Plan("output", TIER0, {"shapes": rules["shapes"]}))
    assert (out, end) == ("darn ", End("blocked", Decision(Content.BLOCK)))
    # The word ends where the digits do.
    out, judged, end = whole("1488 ", Plan("output", TIER0, {**rules, "shapes": (rule("shape", "Replace"),)}))
    assert (out, end) == ("", End("replaced", Decision(Content.REPLACE, notify=True)))
    assert {each.finding.name for each in judged} == {"1488", "digits"}


def test_a_crisis_replaces_the_answer_and_sends_nobody_away() -> None:
    rules = {"words": (rule("rude", "CrisisFlow", "Block", "CoolDown"),)}
    _, _, end = whole("darn!", Plan("output", TIER0, rules))
    assert end == End("replaced", Decision(Content.REPLACE, crisis=True))


def test_of_a_person_in_a_crisis_the_session_goes_on() -> None:
    judge = Plan("output", TIER0, {"words": (rule("rude", "Redact", "CoolDown"),)})
    _, judged, _ = run(Gate(judge, in_crisis=True), ["darn!"])
    assert [each.decision for each in judged] == [Decision(Content.REDACT)]
    assert whole("darn!", judge)[1][0].decision == Decision(Content.REDACT, Session.COOL_DOWN)


def test_fiction_may_be_allowed_more() -> None:
    judge = Plan("output", TIER0, {"words": (Rule("rude", BOTH, {6: decision(["Block"])}, {}, {"adult": 1}),)})
    assert run(Gate(judge, fiction="adult"), ["darn!"]) == ("darn!", (), None)
    assert whole("darn!", judge)[0] == ""


def test_rules_hold_for_their_category_and_direction_only() -> None:
    elsewhere = Rule("rude", BOTH - {"output"}, {2: decision(["Block"])}, {})
    judge = Plan("output", TIER0, {"words": (elsewhere, rule("other", "Block"))})
    assert whole("darn!", judge) == ("darn!", (), None)


def test_in_monitor_mode_findings_are_said_and_nothing_follows() -> None:
    judge = Plan("output", TIER0, plan().rules, counted=frozenset({"words"}))
    out, judged, end = whole("darn a@b.co!", judge)
    assert (out, end) == ("darn [shape]!", None)
    assert [each.decision for each in judged] == [Decision(Content.LOG), Decision(Content.REDACT)]


def test_what_goes_on_from_what_the_reader_has_is_found_and_nothing_follows_from_the_rest() -> None:
    gate = Gate(plan(), before="darn! I said da")
    release = gate.feed("rn it")
    assert (release.text, release.end) == ("", End("blocked", Decision(Content.BLOCK)))
    assert [(each.finding.start, each.finding.end) for each in release.judged] == [(13, 17)]
    assert run(Gate(plan(), before="darn"), ["! ok"]) == ("! ok", (), None)
    assert run(Gate(plan("Redact"), before="I said da"), ["rn it"])[0] == "[rude] it"


# Detectors of windows.


def asking(awaited: bool = True, on_failure: FailurePolicy = "Closed", **more: Any) -> Plan:
    rules = {**plan().rules, "guard": (rule("harm", "Block", severity=4), rule("tone", "Annotate"))}
    names = frozenset({"guard"})
    made = Plan(
        "output",
        LITERALS,
        rules,
        asked=names,
        awaited=names if awaited else frozenset(),
        on_failure={"guard": on_failure},
    )
    return replace(made, **more)


def harm(window: Window, category: str = "harm") -> list[Finding]:
    return [Finding("guard", category, category, 6, 0.9, window.start, window.end, window.end, window.start)]


@pytest.mark.parametrize("before", ["", "x", "a4", "da", "I say x", "darn", "7"])
@pytest.mark.parametrize("cut", range(1, 6))
def test_no_beginning_hides_what_comes_after_it(before: str, cut: int) -> None:
    text = "darn it"
    assert run(Gate(plan(), before=before), [text[:cut], text[cut:]])[0] == ""
    said, judged, _ = run(Gate(plan("Redact"), before=before), [text[:cut], text[cut:]])
    assert (said, len(judged)) == ("[rude] it", 1)


def test_what_goes_on_is_judged_once_however_it_is_looked_at() -> None:
    said, judged, _ = run(Gate(plan("Redact"), before="I say: "), ["a darn, ", "da", "rn"])
    assert (said, len(judged)) == ("a [rude], [rude]", 2)


def test_a_window_comes_out_when_its_verdict_has_come() -> None:
    gate = Gate(asking())
    first = gate.feed("One. Two. Thr")
    assert (first.text, [window.text for window in first.windows]) == ("", ["One. ", "Two. "])
    one, two = first.windows
    assert gate.heard("guard", one, []) == Release("One. ")
    last = gate.finish()
    assert [window.text for window in last.windows] == ["Thr"]
    assert gate.heard("guard", last.windows[0], []) == Release("")
    assert not gate.done
    # Verdicts come in any order, windows leave in theirs.
    assert gate.heard("guard", two, []) == Release("Two. Thr")
    assert gate.done


def test_a_verdict_ends_the_answer_before_its_window() -> None:
    gate = Gate(asking())
    one, two = gate.feed("One. Two. Three").windows
    assert gate.heard("guard", two, harm(two)).end == End("blocked", Decision(Content.BLOCK))
    assert gate.heard("guard", one, []) == Release("")
    assert gate.feed("more") == Release("")


def test_a_window_that_takes_long_may_be_blocked_before_it_is_complete_and_is_not_released() -> None:
    gate = Gate(asking())
    assert gate.pending() is None
    (one,) = gate.feed("One. Two is a lo").windows
    unfinished = gate.pending()
    assert unfinished == Window(5, 16, "Two is a lo")
    # What cannot be an answer about it is none.
    assert gate.warned("guard", one, harm(unfinished)) == Release()
    assert gate.warned("guard", unfinished, []) == Release()
    # What only annotates is said of the whole window, once.
    assert gate.warned("guard", unfinished, harm(unfinished, "tone")) == Release()
    assert gate.heard("guard", one, []) == Release("One. ")
    ended = gate.warned("guard", unfinished, harm(unfinished))
    assert (ended.text, ended.end) == ("", End("blocked", Decision(Content.BLOCK)))
    assert [each.finding.category for each in ended.judged] == ["harm"]
    assert (gate.pending(), gate.warned("guard", unfinished, harm(unfinished))) == (None, Release())


def test_what_is_not_awaited_is_not_asked_about_before_it_is_complete() -> None:
    gate = Gate(asking(awaited=False))
    gate.feed("One")
    assert gate.pending() is None
    assert Gate(plan()).pending() is None
    gate = Gate(asking(on_failure="Open"))
    (one,) = gate.feed("One. Tw").windows
    gate.heard("guard", one, [], "timeout")
    assert gate.pending() is None
    assert gate.warned("guard", one, harm(one)) == Release()


def test_what_has_not_been_judged_when_tier_0_ends_the_answer_does_not_come_out() -> None:
    gate = Gate(asking())
    one, *_ = gate.feed("One. Two. ").windows
    assert gate.heard("guard", one, []) == Release("One. ")
    ended = gate.feed("Three darn. ")
    assert (ended.text, ended.end) == ("", End("blocked", Decision(Content.BLOCK)))


def test_nobody_waits_for_a_detector_whose_word_only_annotates() -> None:
    gate = Gate(asking(awaited=False))
    release = gate.feed("One. Two")
    assert (release.text, len(release.windows)) == ("One. Two", 1)
    said = gate.heard("guard", release.windows[0], harm(release.windows[0], "tone"))
    assert [each.decision for each in said.judged] == [Decision(Content.ANNOTATE)]


@pytest.mark.parametrize("status", ["error", "timeout", "unparseable"])
@pytest.mark.parametrize(
    ("policy", "text", "ended"), [("Closed", "", True), ("Degrade", "One. ", False), ("Open", "One. Tw", False)]
)
def test_a_detector_that_fails_does_what_the_policy_says(
    status: Status, policy: FailurePolicy, text: str, ended: bool
) -> None:
    gate = Gate(asking(on_failure=policy))
    (one,) = gate.feed("One. Tw").windows
    failed = gate.heard("guard", one, [], status)
    assert (failed.text, failed.judged, failed.failures) == (text, (), (Failure("guard", status, policy),))
    assert failed.end == (End("failed", Decision()) if ended else None)
    # What it says afterwards counts no more, and tier 0 goes on.
    assert gate.heard("guard", one, harm(one)) == Release("")
    rest = gate.feed("o darn. x") if not ended else None
    assert rest is None or rest.end == End("blocked", Decision(Content.BLOCK))


@pytest.mark.parametrize(("policy", "text"), [("Closed", "oh "), ("Open", "oh well! ")])
def test_tier_0_that_fails_does_what_the_policy_says(policy: Literal["Closed", "Open"], text: str) -> None:
    gate = Gate(replace(plan(detector=Scanner(NEEDLES[:1], Broken, {})), tier0_on_failure=policy))
    releases = [gate.feed("oh "), gate.feed("well"), gate.feed("! "), gate.finish()]
    assert "".join(release.text for release in releases) == text
    assert [failure for release in releases for failure in release.failures] == [Failure("", "error", policy)]
    assert [release.end for release in releases if release.end] == (
        [End("failed", Decision())] if policy == "Closed" else []
    )


def test_more_than_can_be_held_back_ends_the_answer_as_a_failure() -> None:
    gate = Gate(replace(plan(), max_hold=20))
    assert gate.feed("oh da" + "\u200b" * 30) == Release("oh ")
    assert gate.feed("!") == Release("", failures=(Failure("", "overflow", "Closed"),), end=End("failed", Decision()))


def test_an_answer_that_comes_whole_is_never_too_much() -> None:
    gate = Gate(asking(max_hold=20))
    release = gate.feed("One. " * 100)
    assert (release.end, len(release.windows)) == (None, 100)
    last = [gate.heard("guard", window, []).text for window in release.windows]
    assert "".join(last) == "One. " * 100


@pytest.mark.parametrize("policy", ["Block", "Degrade"])
def test_verdicts_that_are_too_long_in_coming_are_done_without_only_where_that_is_allowed(policy: str) -> None:
    gate = Gate(asking(max_hold=20, on_overflow=policy))
    gate.feed("One is a number. Two is another")
    release = gate.feed(". Thr")
    if policy == "Block":
        assert (release.text, release.end) == ("", End("failed", Decision()))
        assert release.failures == (Failure("", "overflow", "Closed"),)
        return
    assert (release.text, release.end) == ("One is a number. Two is another. ", None)
    assert release.failures == (Failure("guard", "overflow", "Degrade"),)
    # Tier 0 is not done without.
    assert gate.feed("ee darn. \u200b").end == End("blocked", Decision(Content.BLOCK))


def test_what_tier_0_holds_back_stays_where_verdicts_are_done_without() -> None:
    gate = Gate(asking(max_hold=20, on_overflow="Degrade"))
    gate.feed("One. da" + "\u200b" * 30)
    release = gate.feed("rn")
    assert (release.text, release.end) == ("One. ", End("failed", Decision()))
    assert [failure.policy for failure in release.failures] == ["Degrade", "Closed"]


def test_a_reader_that_has_gone_frees_the_engine() -> None:
    made: list[Broken] = []

    def make(looked_for: Sequence[object]) -> Broken:
        made.append(Broken([]))
        return made[0]

    gate = Gate(plan(detector=Scanner(NEEDLES[:1], make, {})))
    gate.close()
    assert made[0].closed == 1


@pytest.mark.parametrize(
    "text", ["ok \ud835\udd86\ud835\udd98\ud835\udd98 ok", "\ud835", "da\udd86rn", "\U0001f600\ud83d ass"]
)
def test_a_character_that_comes_in_two_halves_is_judged_as_it_will_be_read(text: str) -> None:
    judge = plan("Redact", "Redact")
    once = whole(joined(text), judge)
    assert once[0].encode().decode() == once[0]
    for cuts in itertools.combinations(range(len(text) + 1), 2):
        assert run(Gate(judge), pieces(text, cuts)) == once
    assert whole("ok \ud835\udd86\ud835\udd98\ud835\udd98 ok", judge)[0] == "ok [rude] ok"


def test_half_a_character_at_the_end_may_end_the_answer() -> None:
    judge = Plan("output", Scanner([LOST], hyperscan_engine, {}), {"lost": (rule("rude", "Block"),)})
    gate = Gate(judge)
    assert gate.feed("x\ud83d") == Release("x")
    assert gate.finish().end == End("blocked", Decision(Content.BLOCK))


LOST = prepare(Pattern("lost", "half", "rude", 6, regex="\ufffd"), 100)


def test_a_gate_takes_no_more_after_the_end_of_its_text() -> None:
    gate = Gate(plan())
    gate.feed("oh da")
    assert gate.finish().text == "da"
    with pytest.raises(ValueError, match=r"a gate was fed after finish\(\): open another one for another text"):
        gate.feed("rn")


def test_nothing_comes_out_once_the_reader_has_gone() -> None:
    gate = Gate(asking())
    window = gate.feed("One. da").windows[0]
    gate.close()
    assert gate.done
    assert (gate.feed("rn"), gate.heard("guard", window, harm(window)), gate.finish()) == (Release(""),) * 3


NO_ANSWERS = {
    "a score that is no number": {"score": float("nan")},
    "a score beyond all": {"score": float("inf")},
    "a score below none": {"score": -0.1},
    "a severity that there is not": {"severity": 0},
    "another detector's finding": {"detector": "words"},
    "before the window": {"start": 4},
    "after the window": {"end": 11},
    "nothing": {"end": 5},
}


@pytest.mark.parametrize("wrong", NO_ANSWERS)
def test_what_cannot_be_an_answer_is_a_failure_and_never_a_mild_one(wrong: str) -> None:
    gate = Gate(asking())
    one, two = gate.feed("One. Two. Three").windows
    assert (two.start, two.end) == (5, 10)
    said = replace(harm(two)[0], **NO_ANSWERS[wrong])  # type: ignore[arg-type]  # of several types
    release = gate.heard("guard", two, [said])
    assert (release.text, release.judged, release.end) == ("", (), End("failed", Decision()))
    assert release.failures == (Failure("guard", "unparseable", "Closed"),)
    assert gate.heard("guard", one, []) == Release("")


def test_a_word_that_was_said_twice_or_never_asked_for_releases_nothing() -> None:
    gate = Gate(asking())
    one, two = gate.feed("One. Two. Three").windows
    assert gate.heard("guard", replace(two, end=12), []) == Release("")
    assert gate.heard("guard", one, []) == Release("One. ")
    assert gate.heard("guard", one, []) == Release("")
    assert gate.heard("guard", two, []) == Release("Two. ")


def test_what_is_to_be_taken_out_when_all_of_it_has_gone_is_only_logged() -> None:
    gate = Gate(asking(awaited=False, rules={"guard": (rule("tone", "Redact", "Notify"),)}))
    release = gate.feed("One. Two. Th")
    assert release.text == "One. Two. Th"
    late = gate.heard("guard", release.windows[1], harm(release.windows[1], "tone"))
    assert (late.text, [each.decision for each in late.judged]) == ("", [Decision(Content.LOG, notify=True)])
    assert run(gate, ["ree."])[0] == "ree."


def test_what_is_to_be_taken_out_when_some_of_it_has_gone_is_taken_out_from_there_on() -> None:
    gate = Gate(asking(awaited=False, rules={"guard": (rule("tone", "Redact"),)}))
    release = gate.feed("x" * 190 + " kick the bu")
    assert (len(release.text), [window.end for window in release.windows]) == (191, [200])
    late = gate.heard("guard", release.windows[0], harm(release.windows[0], "tone"))
    assert (late.text, [each.decision for each in late.judged]) == ("", [Decision(Content.REDACT)])
    assert run(gate, ["s!"])[0] == "[tone]bus!"


def test_a_long_text_that_comes_whole_leaves_window_by_window() -> None:
    gate = Gate(asking(max_hold=1 << 30))
    text = "A sentence of no great length. " * 2_000
    release = gate.feed(text)
    parts = [release.text, *(gate.heard("guard", window, []).text for window in release.windows), gate.finish().text]
    assert "".join(parts) == text


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(["One. ", "Two darn! ", "x" * 90, "\ud835", "\udd86ss ", "a@b.co. ", "e\u0301\n"]), max_size=9
    ),
    st.data(),
)
def test_whatever_the_order_of_verdicts_what_comes_out_is_the_same(parts: list[str], data: st.DataObject) -> None:
    judge = replace(asking(), rules={**plan("Redact").rules, "guard": (rule("harm", "Block"),)}, detector=TIER0)
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    gate, asked, out = Gate(judge), list[Window](), []
    for part in [*pieces(text, cuts), None]:
        release = gate.finish() if part is None else gate.feed(part)
        out.append(release.text)
        asked += release.windows
        for _ in range(data.draw(st.integers(0, len(asked)))):
            window = asked.pop(data.draw(st.integers(0, len(asked) - 1)))
            out.append(gate.heard("guard", window, []).text)
    out += [gate.heard("guard", window, []).text for window in data.draw(st.permutations(asked))]
    assert gate.done
    assert "".join(out) == whole(text, replace(judge, awaited=frozenset(), asked=frozenset()))[0]

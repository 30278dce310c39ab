"""Tier 0: what is found does not depend on cuts, engines agree, and nothing forbidden is ever said to be clear."""

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard.corpus import EXPRESSIONS, LITERALS, LONG, SHORT, expected, needles
from understudy.guard.engines import EngineError, MakeEngine
from understudy.guard.findings import Finding, Step
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import Needle, Pattern, prepare
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner

NEEDLES = needles()
BY_HYPERSCAN = Scanner(NEEDLES, hyperscan_engine, {})
PORTABLE = Scanner(NEEDLES, PortableEngine, {})
SCANNERS = {"hyperscan": BY_HYPERSCAN, "portable": PORTABLE}


@pytest.fixture(params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> Scanner:
    return SCANNERS[request.param]


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    return [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


def steps(scanner: Scanner, parts: Iterable[str]) -> list[tuple[int, Step]]:
    """How much had been read, and what was said then; the last one is at the text's end."""
    scan, read = scanner.open(), 0
    said = []
    for part in parts:
        read += len(part)
        said.append((read, scan.feed(part)))
    return [*said, (read, scan.finish())]


def found(said: list[tuple[int, Step]]) -> list[Finding]:
    assert all(step.status == "ok" for _, step in said)
    return [finding for _, step in said for finding in step.findings]


def leaks(said: list[tuple[int, Step]]) -> int:
    """Characters of findings that had been said to be clear before, and of positions that fell back."""
    leaked = safe = 0
    for read, step in said:
        leaked += sum(max(0, safe - finding.start) for finding in step.findings)
        leaked += max(0, safe - step.safe_upto) + max(0, step.safe_upto - read)
        safe = step.safe_upto
    return leaked


def check(scanner: Scanner, text: str, cuts: Iterable[int], whole: Sequence[Finding]) -> None:
    said = steps(scanner, pieces(text, cuts))
    assert found(said) == whole
    assert leaks(said) == 0


@pytest.mark.parametrize("text", SHORT + LONG)
def test_all_that_is_looked_for_is_found_and_nothing_else(scanner: Scanner, text: str) -> None:
    spans = sorted((finding.name, finding.start, finding.end) for finding in found(steps(scanner, [text])))
    assert spans == expected(text, NEEDLES)


@pytest.mark.parametrize("text", SHORT + LONG)
def test_no_cut_in_two_changes_what_is_found_or_lets_a_part_of_it_out(scanner: Scanner, text: str) -> None:
    whole = found(steps(BY_HYPERSCAN, [text]))
    for cut in range(len(text) + 1):
        check(scanner, text, [cut], whole)


@pytest.mark.parametrize("text", SHORT)
def test_no_cut_in_three_changes_what_is_found_or_lets_a_part_of_it_out(text: str) -> None:
    whole = found(steps(BY_HYPERSCAN, [text]))
    for cuts in itertools.combinations(range(len(text) + 1), 2):
        check(BY_HYPERSCAN, text, cuts, whole)


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG)
def test_no_cut_in_three_around_what_is_found_changes_it_or_lets_a_part_of_it_out(text: str) -> None:
    whole = found(steps(BY_HYPERSCAN, [text]))
    around = (range(max(0, each.start - 24), min(len(text), each.end + 24) + 1) for each in whole)
    for cuts in {cuts for near in around for cuts in itertools.combinations(near, 2)}:
        check(BY_HYPERSCAN, text, cuts, whole)


@pytest.mark.parametrize("text", SHORT + LONG)
def test_character_by_character_changes_nothing(scanner: Scanner, text: str) -> None:
    check(scanner, text, range(1, len(text)), found(steps(BY_HYPERSCAN, [text])))


def random_texts(seed: int, count: int) -> Iterable[tuple[str, list[int]]]:
    chance = random.Random(seed)
    bits = [*SHORT, *LITERALS, "abbc", "dex", "@", ".co", " ", "\u200b", "\u0301", "1", "2-", "z", "é", "殺"]
    for _ in range(count):
        text = "".join(chance.choice(bits) for _ in range(chance.randint(1, 6)))
        yield text, sorted(chance.sample(range(len(text) + 1), chance.randint(0, min(12, len(text)))))


def test_random_cuts_of_random_texts_change_nothing() -> None:
    for text, cuts in random_texts(seed=1, count=120):
        check(PORTABLE, text, cuts, found(steps(BY_HYPERSCAN, [text])))
        check(BY_HYPERSCAN, text, cuts, found(steps(PORTABLE, [text])))


@pytest.mark.slow
def test_twenty_thousand_random_cuts_change_nothing() -> None:
    for text, cuts in random_texts(seed=2, count=20_000):
        check(BY_HYPERSCAN, text, cuts, found(steps(BY_HYPERSCAN, [text])))


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(LITERALS), st.data())
def test_engines_agree_on_any_text(before: str, after: str, planted: str, data: st.DataObject) -> None:
    text = before + planted + after
    cut = data.draw(st.integers(0, len(text)))
    assert found(steps(BY_HYPERSCAN, pieces(text, [cut]))) == found(steps(PORTABLE, [text]))


PLANTED = {
    "darn": "darn", "kick the bucket": "Kick t\u200bhe bucket", "1488": "1488", "人殺し": "人殺し",
    "mail": "jo.doe@example.org", "branches": "abbbcdex", "digits": "12-34 56", "either": "leftside",
    "cyrillic": "даже!",
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_at_many_offsets_and_never_clear_before(scanner: Scanner, name: str) -> None:
    plant(scanner, name, range(0, len(LONG[2]), 11))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_at_every_offset_and_never_clear_before(scanner: Scanner, name: str) -> None:
    plant(scanner, name, range(len(LONG[2])))


def plant(scanner: Scanner, name: str, offsets: Iterable[int]) -> None:
    around = LONG[2]
    for offset in offsets:
        text = around[:offset] + " " + PLANTED[name] + " " + around[offset:]
        said = steps(scanner, pieces(text, range(3, len(text), 4)))
        assert any(
            finding.name == name and finding.start <= offset + 1 and finding.end >= offset + 1 + len(PLANTED[name])
            for finding in found(said)
        )
        assert leaks(said) == 0


def test_to_say_that_one_character_more_is_clear_would_be_a_leak() -> None:
    # What the tests above measure must see it.
    leaked = 0
    for text in SHORT + LONG:
        said = [
            (read, Step(min(read, step.safe_upto + 1), step.findings))
            for read, step in steps(BY_HYPERSCAN, pieces(text, range(1, len(text))))
        ]
        leaked += leaks(said)
    assert leaked > 0


def test_the_end_of_a_text_ends_a_word() -> None:
    scan = BY_HYPERSCAN.open()
    assert scan.feed("oh darn") == Step(3)
    assert scan.finish() == Step(7, (Finding("words", "darn", "rude", 6, None, 3, 7, 7, 7),))


def test_characters_that_cannot_be_seen_are_held_back_with_what_they_follow() -> None:
    scan = BY_HYPERSCAN.open()
    scan.feed("oh da")
    assert [scan.feed("\u200b" * 50).safe_upto, scan.feed("\u0301").safe_upto] == [3, 3]
    assert scan.feed(" ").safe_upto == 57


def test_a_finding_says_how_far_the_text_was_clear_when_it_was_certain() -> None:
    text = "mail darn@example.org, darn"
    for cut in range(len(text)):
        first, *_ = found(steps(BY_HYPERSCAN, pieces(text, [cut])))
        # An address that may begin with the word was under way.
        assert (first.name, first.start, first.decided, first.clear) == ("darn", 5, 9, 5)


def test_text_is_not_held_back_for_what_is_only_counted() -> None:
    scanner = Scanner(NEEDLES, hyperscan_engine, {}, holds=lambda needle: needle.pattern.name == "branches")
    scan = scanner.open()
    assert scan.feed("人殺").safe_upto == 2
    assert [finding.name for finding in scan.feed("し").findings] == ["人殺し"]
    assert scan.feed(" ab").safe_upto == 4


def test_a_match_must_pass_the_check_that_its_pattern_names() -> None:
    needle = prepare(Pattern("d", "n", "c", 4, regex=r"\d{2,4}", check="even"), 100)
    scanner = Scanner([needle], hyperscan_engine, {"even": lambda text: int(text) % 2 == 0})
    spans = [(finding.start, finding.end) for finding in found(steps(scanner, ["0131"]))]
    # The earliest beginning that passes; for the end after 0, 01 and 013 there is none.
    assert spans == []
    assert [(f.start, f.end) for f in found(steps(scanner, ["0132"]))] == [(0, 4)]


def test_a_scanner_without_patterns_holds_nothing_back() -> None:
    scan = Scanner([], hyperscan_engine, {}).open()
    assert scan.feed("anything") == Step(8)
    assert scan.finish() == Step(8)


class Broken:
    """An engine that fails from the second piece on."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self.closed = 0
        self.asked = 0

    def open(self) -> "Broken":
        return self

    def scan(self, chars: str) -> list[tuple[int, int]]:
        self.asked += 1
        if self.asked > 1:
            raise EngineError("planted")
        return []

    def close(self) -> None:
        self.closed += 1


def test_an_engine_that_fails_is_an_error_for_the_rest_of_the_stream_and_nothing_more_is_clear() -> None:
    made: list[Broken] = []

    def make(needles: Sequence[Needle]) -> Broken:
        made.append(Broken(needles))
        return made[-1]

    scan = Scanner(NEEDLES[:1], make, {}).open()
    assert scan.feed("oh ") == Step(3)
    assert scan.feed("well") == Step(3, status="error")
    assert scan.feed("!") == Step(3, status="error")
    assert scan.finish() == Step(3, status="error")
    assert made[0].closed > 0


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
def test_memory_is_bounded_by_the_widest_pattern(make: MakeEngine) -> None:
    scan = Scanner(NEEDLES, make, {}).open()
    sizes = []
    for _ in range(200):
        scan.feed("The dwarf said darn and wrote to me@example.org. é ")
        sizes.append(max(len(lane._origins) for _, lane in scan._lanes))
    assert max(sizes) == max(sizes[:40])
    assert max(sizes) < 600


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_expression_alone_is_found_as_all_together(name: str) -> None:
    alone = [needle for needle in NEEDLES if needle.pattern.name == name]
    scanner = Scanner(alone, hyperscan_engine, {})
    for text in SHORT + LONG:
        whole = [finding for finding in found(steps(BY_HYPERSCAN, [text])) if finding.name == name]
        said = found(steps(scanner, [text]))
        assert [(f.start, f.end, f.decided) for f in said] == [(f.start, f.end, f.decided) for f in whole]


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
def test_memory_is_bounded_also_when_each_piece_ends_with_what_waits_for_the_next(make: MakeEngine) -> None:
    scan = Scanner([prepare(Pattern("d", "darn", "c", 6, literal="darn"), 100)], make, {}).open()
    sizes = []
    for at in range(200):
        step = scan.feed(" darn")
        assert [(finding.start, finding.end) for finding in step.findings] == ([(5 * at - 4, 5 * at)] if at else [])
        sizes.append(len(scan._lanes[0][1]._origins))
    assert max(sizes) < 300


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
@pytest.mark.parametrize(
    ("literal", "text", "spans"),
    [
        ("@ss", "glass @ss gl@ss ass", [(6, 9), (12, 15), (16, 19)]),
        ("a$$", "assist a$$ist a$$ ass", [(7, 10), (14, 17), (18, 21)]),
        ("ass!", "assign ass! assi", [(7, 11), (12, 16)]),
        ("@home", "me@home mahome", [(2, 7)]),
    ],
)
def test_a_sign_that_is_read_as_a_letter_is_one_where_the_text_has_a_letter(
    make: MakeEngine, literal: str, text: str, spans: list[tuple[int, int]]
) -> None:
    scanner = Scanner([prepare(Pattern("d", "n", "c", 6, literal=literal), 100)], make, {})
    for cut in range(len(text) + 1):
        said = steps(scanner, pieces(text, [cut]))
        assert [(finding.start, finding.end) for finding in found(said)] == spans
        assert leaks(said) == 0


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
def test_what_is_fed_after_the_end_is_an_error_and_never_clear(make: MakeEngine) -> None:
    for end in ("finish", "close"):
        scan = Scanner(NEEDLES, make, {}).open()
        assert scan.feed("oh da").safe_upto == 3
        getattr(scan, end)()
        assert scan.feed("rn it").status == "error"
        assert scan.finish().status == "error"


def test_a_text_of_any_length_is_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {text: steps(BY_HYPERSCAN, [text]) for text in SHORT + LONG}
    for longest in (1, 2, 7):
        monkeypatch.setattr("understudy.guard.scan._LONGEST", longest)
        assert {text: steps(BY_HYPERSCAN, [text]) for text in SHORT + LONG} == whole


def test_of_a_text_in_which_the_engine_fails_nothing_is_said() -> None:
    scan = Scanner(NEEDLES[:1], Broken, {}).open()
    assert scan.feed("oh " * 2000) == Step(0, status="error")
    assert scan.feed("well") == Step(0, status="error")

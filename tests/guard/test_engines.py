"""Engines by themselves: they say the same, and what the binding of hyperscan does badly stays known."""

import contextlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Self

import hyperscan
import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.corpus import needles
from tests.guard.test_scan import found, leaks, pieces, steps
from understudy.guard import portable_engine
from understudy.guard.engines import EngineError, MakeEngine, UnusableError
from understudy.guard.hyperscan_engine import HyperscanEngine, compile_needles, hyperscan_engine, kind, load
from understudy.guard.needles import Needle, Pattern, PatternError, prepare
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner
from understudy.guard.views import WORDS

WORD_NEEDLES = [needle for needle in needles() if needle.view == WORDS]


def literal(text: str) -> Needle:
    return prepare(Pattern("d", text, "c", 6, literal=text), 100)


def broken(expression: str) -> Needle:
    """A pattern that no reader of ours would let through."""
    return Needle(Pattern("d", "broken", "c", 6), WORDS, expression, 3, False, False, chars="abc")


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
def test_ends_count_characters_of_the_view_from_the_beginning_of_the_stream(make: MakeEngine) -> None:
    matcher = make([literal("ab"), literal("人殺")]).open()
    assert matcher.scan("é a") == []
    assert matcher.scan("b 人") == [(0, 4)]
    assert matcher.scan("殺人殺") == [(1, 7), (1, 9)]
    matcher.close()
    matcher.close()


def test_a_compiled_database_is_loaded_where_it_was_not_compiled() -> None:
    database = compile_needles(WORD_NEEDLES)
    assert isinstance(database, bytes)
    assert load(database).open().scan("oh darn") == hyperscan_engine(WORD_NEEDLES).open().scan("oh darn") != []


def test_streams_of_one_engine_know_nothing_of_each_other() -> None:
    engine = hyperscan_engine([literal("ab")])
    first, second = engine.open(), engine.open()
    assert (first.scan("a"), second.scan("b"), first.scan("b")) == ([], [], [(0, 2)])


def test_a_stream_outlives_the_engine_that_opened_it() -> None:
    matcher = hyperscan_engine([literal("ab")]).open()
    assert matcher.scan("ab") == [(0, 2)]


def test_an_expression_that_hyperscan_does_not_take_is_named() -> None:
    with pytest.raises(PatternError, match=r"pattern 'broken': hyperscan does not take it .*: write it simpler"):
        compile_needles([literal("ab"), broken("(")])


def test_expressions_that_hyperscan_does_not_take_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_for_two(_database: object, needles: Sequence[Needle]) -> None:
        if len(needles) > 1:
            raise hyperscan.error("planted")

    monkeypatch.setattr("understudy.guard.hyperscan_engine._compile", fails_for_two)
    with pytest.raises(PatternError, match="hyperscan does not take these 2 patterns together: planted"):
        compile_needles([literal("ab"), literal("cd")])


def test_an_expression_that_re2_does_not_take_is_named() -> None:
    with pytest.raises(PatternError, match=r"pattern 'broken': RE2 does not take it .*: write it simpler"):
        portable_engine._expression_set([broken("(")])


class Terminated:
    """A database whose scans end early, as they do when a callback raises."""

    def stream(self, match_event_handler: object) -> "Terminated":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def scan(self, _data: bytes) -> None:
        raise hyperscan.ScanTerminated("planted")


def test_a_scan_that_was_ended_is_a_failure_and_no_answer() -> None:
    matcher = HyperscanEngine(Terminated()).open()  # type: ignore[arg-type]  # a fake, to inject the fault
    with pytest.raises(EngineError, match="hyperscan ended a scan: ScanTerminated"):
        matcher.scan("abc")


def test_an_error_of_re2_is_a_failure_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PortableEngine([literal("ab")])

    def fails(_text: str, _after: int) -> list[tuple[int, int]]:
        raise re2.error("planted")

    monkeypatch.setattr(engine, "ends", fails)
    with pytest.raises(EngineError, match="RE2 ended a scan: planted"):
        engine.open().scan("abc")


def crash(body: str) -> subprocess.CompletedProcess[bytes]:
    """What becomes of a process that uses the binding so."""
    prelude = "import hyperscan\ndb = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)\n"
    prelude += "db.compile(expressions=[b'a'], ids=[0], elements=1, flags=[0])\n"
    script = prelude + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, check=False)


# These hold what the binding does wrong. When one fails after an upgrade, the binding has become better: read what
# hyperscan_engine.py says about it, and drop the care that is not needed any more.


@pytest.mark.slow
def test_the_pinned_binding_dies_when_a_stream_is_asked_for_its_size() -> None:
    died = crash(
        """
        stream = db.stream(match_event_handler=lambda *_: None)
        stream.__enter__()
        stream.size()
        """
    )
    assert died.returncode == -signal.SIGSEGV


@pytest.mark.slow
def test_the_pinned_binding_keeps_no_reference_to_a_callback() -> None:
    counted = crash(
        """
        import sys
        def note(*_): pass
        before = sys.getrefcount(note)
        stream = db.stream(match_event_handler=note)
        sys.exit(sys.getrefcount(note) - before)
        """
    )
    assert counted.returncode == 0


@pytest.mark.slow
def test_the_pinned_binding_ends_a_scan_whose_callback_raises() -> None:
    ended = crash(
        """
        def note(*_): raise ValueError
        with db.stream(match_event_handler=note) as stream:
            try:
                stream.scan(b"xa")
            except hyperscan.ScanTerminated:
                raise SystemExit(42)
        """
    )
    assert ended.returncode == 42


@pytest.mark.slow
def test_a_stream_of_ours_lives_through_all_of_this() -> None:
    script = textwrap.dedent(
        """
        import gc
        from understudy.guard.hyperscan_engine import hyperscan_engine
        from understudy.guard.needles import Pattern, prepare
        needle = prepare(Pattern("d", "ab", "c", 6, literal="ab"), 100)
        for _ in range(200):
            matchers = [hyperscan_engine([needle]).open() for _ in range(5)]
            gc.collect()
            assert all(matcher.scan("xx ab") == [(0, 5)] for matcher in matchers)
        """
    )
    lived = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, check=False)
    assert (lived.returncode, lived.stderr) == (0, b"")


def test_expressions_that_re2_does_not_take_together_are_refused() -> None:
    looked_for = [prepare(Pattern("d", "n", "c", 6, regex=f"k{at}.{{0,900}}q"), 1000) for at in range(12)]
    with pytest.raises(PatternError, match=r"RE2 does not take these 12 patterns together .*: write smaller bounds"):
        PortableEngine(looked_for)


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
@pytest.mark.parametrize(
    ("source", "end"), [(r"(?:e.|\$)\s", "$ "), (r"a\d?\s(?:\s\s|[^a]?|)", "a "), (r"(?:é.\w|\$)\s", "$\n")]
)
def test_a_match_at_the_end_of_a_piece_is_found_however_long_the_piece_is(
    make: MakeEngine, source: str, end: str
) -> None:
    engine = make([prepare(Pattern("d", "n", "c", 6, regex=source), 100)])
    for length in range(80):
        assert engine.open().scan("z" * length + end) == [(0, length + 2)]


@pytest.mark.slow
def test_the_pinned_binding_dies_when_a_closed_stream_is_asked() -> None:
    died = crash(
        """
        stream = db.stream(match_event_handler=lambda *_: None)
        stream.__enter__()
        stream.__exit__(None, None, None)
        stream.scan(b"xa")
        """
    )
    assert died.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
def test_a_stream_that_was_closed_fails_and_does_not_answer(make: MakeEngine) -> None:
    matcher = make([literal("ab")]).open()
    matcher.close()
    with pytest.raises(EngineError, match="was asked about a stream that was closed"):
        matcher.scan("ab")


def test_a_database_is_loaded_where_it_was_made_and_nothing_else_is() -> None:
    assert kind() == kind() != ""
    assert isinstance(load(compile_needles([literal("darn")])), HyperscanEngine)
    with pytest.raises(UnusableError, match="not a database of this library"):
        load(b"something else")


def test_where_the_library_does_not_run_there_are_no_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise hyperscan.error("arch")

    monkeypatch.setattr("understudy.guard.hyperscan_engine._compile", refuses)
    with pytest.raises(UnusableError, match="does not run on this processor"):
        kind.__wrapped__()


ALPHABET = "ab1 é人l!|νη바\u0e31\u0301\u200b-"
ATOMS = st.sampled_from(["a", "b", "1", "l", "é", "人", "-", ".", r"\d", r"\s", "[ab]", "[^ab ]", r"[^\w]"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["?", "{2}", "{0,3}", "{1,12}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)
PATTERNS = st.one_of(
    st.builds(
        lambda text, inside: Pattern("d", text, "c", 6, literal=text, inside=inside),
        st.text(ALPHABET, min_size=1, max_size=4),
        st.tuples(st.booleans(), st.booleans()),
    ),
    st.builds(
        lambda before, source, after: Pattern("d", source, "c", 6, regex=f"{before}(?:{source}){after}"),
        st.sampled_from(["", r"\b"]),
        EXPRESSIONS,
        st.sampled_from(["", r"\b"]),
    ),
)


@settings(max_examples=40)
@given(st.lists(PATTERNS, min_size=1, max_size=4), st.text(ALPHABET, max_size=16), st.data())
def test_engines_agree_on_any_policy_however_the_text_is_cut(
    patterns: list[Pattern], text: str, data: st.DataObject
) -> None:
    looked_for = []
    for pattern in patterns:
        with contextlib.suppress(PatternError):
            looked_for.append(prepare(pattern, 200))
    scanners = [Scanner(looked_for, make, {}) for make in (hyperscan_engine, PortableEngine)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    whole = [found(steps(scanner, [text])) for scanner in scanners]
    said = [steps(scanner, pieces(text, cuts)) for scanner in scanners]
    assert whole[0] == whole[1] == found(said[0]) == found(said[1])
    assert [leaks(each) for each in said] == [0, 0]

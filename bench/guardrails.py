"""What it costs to look at every piece of every stream, and how much is held back: docs/benchmarks/guardrails.md.

    python -m bench.guardrails [--streams 200] [--pieces 250] [--out FILE]

One process, one core. The words are made up, so that no list of insults lies here: from letters that follow each other
in the text that is streamed, which gives them beginnings in common with it. That text is this project's documentation.
"""

import argparse
import collections
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.guard.engines import Engine, MakeEngine
from understudy.guard.gate import Gate
from understudy.guard.hyperscan_engine import compile_needles, load
from understudy.guard.merge import merge
from understudy.guard.needles import Needle
from understudy.guard.pii import ENTITIES
from understudy.guard.plan import Plan
from understudy.guard.policy import compile_policy
from understudy.guard.portable_engine import PortableEngine

ROOT = Path(__file__).resolve().parents[1]
WORDS = 1600
PIECE = 4
# What an address may be that goes on: nothing that ends like this can leave before the next character has come.
ADDRESS = re.compile(r"(?<![a-z0-9])[a-z0-9][a-z0-9._%+'-]{0,63}\Z")
# What text is like that an attacker writes, to see what a piece of it costs; each is repeated.
HOSTILE = {
    "zero-width characters within a word": "da" + "\u200b" * 40,
    "forty accents on each letter": "d" + "\u0301" * 40 + "a" + "\u0336" * 40,
    "digits": "4111 1111 ",
    "what may be an address": "a.b-c_d+",
    "mathematical letters": "\U0001d586\U0001d597\U0001d593 ",
    "marks of Thai on Latin letters": "d\u0e31a\u0e48r\u0e31",
    "directions, joiners and tags": "\u202ea\u200db\U000e0061\u2066c",
    "found in every piece": "4111 1111 1111 1111 a@b.co ",
}
# Milliseconds for a piece, and characters held back on benign text: what is wanted, of the words alone.
P99_MS, MEAN_HOLD, P99_HOLD = 1.0, 1.0, 8


@dataclass(frozen=True)
class Measured:
    """Of one policy: seconds of processor time for each piece, and characters held back after it."""

    name: str
    seconds: list[float]
    holds: list[int]
    ended: int
    compiled: float
    loaded: float
    size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--pieces", type=int, default=250, help="of each stream")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = documentation()
    words = made_up_words(text, WORDS)
    rest = [entity for entity in ENTITIES if entity != "EMAIL"]
    cases = {
        f"{WORDS} words": policy(words, []),
        f"{WORDS} words, numbers and keys": policy(words, rest),
        f"{WORDS} words, numbers, keys and e-mail": policy(words, list(ENTITIES)),
    }
    results = [measure(name, spec, text, options.streams, options.pieces) for name, spec in cases.items()]
    portable = f"{WORDS} words, by the portable engine"
    results.append(measure(portable, cases[f"{WORDS} words"], text, options.streams, options.pieces, PortableEngine))
    alone = [measure(entity, policy([], [entity]), text, options.streams, options.pieces) for entity in ENTITIES]
    hostile = [
        measure(name, cases[f"{WORDS} words, numbers, keys and e-mail"], unit * (4000 // len(unit)), 20, 250)
        for name, unit in HOSTILE.items()
    ]
    ends = tails(text, options.streams, options.pieces)
    least = {f"{WORDS} words": least_of_words(ends, words), "EMAIL": least_of_addresses(ends)}
    page = report(results, alone, hostile, least, options.streams)
    if options.out:
        options.out.write_text(page)
    sys.stdout.write(page)


def documentation() -> str:
    """The text that is streamed."""
    # The page on the proof is a table of names of tests.
    pages = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "proof.md"]
    return "\n".join(path.read_text() for path in pages)


def made_up_words(text: str, count: int) -> list[str]:
    """Words that are not in `text`, of 4 to 11 letters, by which letter follows which two in it."""
    chance = random.Random(1)
    known = {word for word in "".join(c if c.isalpha() else " " for c in text.lower()).split() if word.isascii()}
    after = collections.defaultdict(list)
    for word in sorted(known):
        padded = f"  {word} "
        for position in range(len(word) + 1):
            after[padded[position : position + 2]].append(padded[position + 2])
    made: dict[str, None] = {}
    while len(made) < count:
        word = "  "
        while len(word) < 14 and (letter := chance.choice(after[word[-2:]])) != " ":
            word += letter
        if len(word) > 5 and word[2:] not in known:
            made[word[2:]] = None
    return list(made)


def policy(
    words: Sequence[str], entities: Sequence[str], where: Sequence[str] = ("input", "output")
) -> tuple[dict[str, object], str]:
    """The spec of a Guardrail that blocks these words and takes these entities out; and the list of words."""
    detectors: list[dict[str, object]] = []
    rules: list[dict[str, object]] = []
    if words:
        detectors.append({"name": "words", "type": "lexicon", "configMapRef": {"name": "words"}})
        rules.append({"category": "words", "where": [*where], "actions": {"high": ["Block"]}})
    if entities:
        detectors.append({"name": "pii", "type": "pii", "entities": list(entities)})
        rules.append({"category": "pii", "where": [*where], "actions": {"medium": ["Redact"]}})
    return {"detectors": detectors, "rules": rules}, "\n".join(words)


def measure(
    name: str,
    spec: tuple[dict[str, object], str],
    text: str,
    streams: int,
    pieces: int,
    make: MakeEngine | None = None,
) -> Measured:
    """Streams in turns, so many pieces of each, one at a time. Each begins elsewhere in the text."""
    compiled = loaded = 0.0
    size = 0

    def by_hyperscan(needles: Sequence[Needle]) -> Engine:
        nonlocal compiled, loaded, size
        began = time.perf_counter()
        database = compile_needles(needles)
        half = time.perf_counter()
        engine = load(database)
        compiled, loaded = compiled + half - began, loaded + time.perf_counter() - half
        size += len(database)
        return engine

    plan = merge([compile_policy("bench", spec[0], {"words": spec[1]})], "output", make or by_hyperscan)
    turns = [(text, at * len(text) // streams) for at in range(streams)]
    # The tables of what is under way are built as text comes: a process that serves has built them.
    collections.deque(run(plan, turns, pieces), maxlen=0)
    times, holds, ended = [], [], 0
    for took, held, end in run(plan, turns, pieces):
        times.append(took)
        holds.append(held)
        ended += end
    return Measured(name, sorted(times), sorted(holds), ended, compiled, loaded, size)


def tails(text: str, streams: int, pieces: int) -> list[str]:
    """What was read last after each piece, in small letters."""
    starts = [stream * len(text) // streams for stream in range(streams)]
    ends = range(PIECE, (pieces + 1) * PIECE, PIECE)
    return [text[start : start + end][-100:].lower() for start in starts for end in ends]


def least_of_addresses(ends: Sequence[str]) -> list[int]:
    """Characters that no detector of addresses could let out without letting out part of one that may follow."""
    return sorted(len(match[0]) if (match := ADDRESS.search(end)) else 0 for end in ends)


def least_of_words(ends: Sequence[str], words: Sequence[str]) -> list[int]:
    """The same of words: as much as is the beginning of one. Digits that are read as letters are left out."""
    begins = {word[:length] for word in words for length in range(1, len(word) + 1)}

    def held(end: str) -> int:
        places = (at for at in range(max(0, len(end) - 14), len(end)) if at == 0 or not end[at - 1].isalnum())
        return next((len(end) - at for at in places if end[at:] in begins), 0)

    return sorted(map(held, ends))


def run(plan: Plan, turns: Sequence[tuple[str, int]], pieces: int) -> Iterator[tuple[float, int, bool]]:
    """Processor seconds of each piece, what was held back after it, and whether it ended the answer."""
    gates = [Gate(plan) for _ in turns]
    read = [0] * len(turns)
    released = [0] * len(turns)
    for _ in range(pieces):
        for at, (text, start) in enumerate(turns):
            begin = (start + read[at]) % len(text)
            piece = text[begin : begin + PIECE]
            began = time.thread_time()
            release = gates[at].feed(piece)
            took = time.thread_time() - began
            read[at] += len(piece)
            released[at] += len(release.text)
            masked = any(each.decision.content for each in release.judged)
            if release.end or masked:
                # Nothing of what is masked counts as held back: the stream begins anew.
                gates[at].close()
                gates[at], released[at] = Gate(plan), read[at]
            yield took, read[at] - released[at], release.end is not None


def report(
    results: Sequence[Measured],
    alone: Sequence[Measured],
    hostile: Sequence[Measured],
    least: Mapping[str, Sequence[int]],
    streams: int,
) -> str:
    """The page."""
    first = results[0]
    reached = (
        at(first.seconds, 0.99) * 1000 <= P99_MS
        and mean(first.holds) <= MEAN_HOLD
        and at(first.holds, 0.99) <= P99_HOLD
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [
        "# Guardrails: what a piece of a stream costs, and what is held back",
        (
            "Written by `python -m bench.guardrails --out docs/benchmarks/guardrails.md`, which says how it measures. "
            f"Commit {commit.stdout.strip()};"
        ),
        (
            f"{os.cpu_count()} cores of {processor()}, others at work on them; Python {platform.python_version()}. "
            f"{streams} streams in turns on one core, pieces of {PIECE} characters."
        ),
        "",
        (
            f"Wanted of {first.name}: p99 of a piece at most {P99_MS} ms; at most {MEAN_HOLD} character held back in "
            f"the mean and {P99_HOLD} in p99, on benign text. {'Reached' if reached else 'NOT reached'}."
        ),
        "",
        "| looked for | pieces | p50 | p99 | p99.9 | longest | held back: mean | p99 | most | streams ended |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results:
        times = [
            each.seconds[len(each.seconds) // 2],
            at(each.seconds, 0.99),
            at(each.seconds, 0.999),
            each.seconds[-1],
        ]
        lines.append(
            f"| {each.name} | {len(each.seconds)} | "
            + " | ".join(f"{took * 1000:.3f} ms" for took in times)
            + f" | {mean(each.holds):.2f} | {at(each.holds, 0.99)} | {each.holds[-1]} | {each.ended} |"
        )
    lines += ["", "| looked for | compiled in | size | loaded in |", "|---|--:|--:|--:|"]
    lines += [
        f"| {each.name} | {each.compiled:.2f} s | {each.size / 1024:.0f} KiB | {each.loaded * 1000:.1f} ms |"
        for each in results
        if each.size
    ]
    lines += ["", "| looked for alone | held back: mean | p99 | most |", "|---|--:|--:|--:|"]
    held = [(each.name, each.holds) for each in alone]
    lines += [
        f"| {name} | {mean(holds):.2f} | {at(holds, 0.99)} | {holds[-1]} |"
        for name, holds in [*held, *((f"the least for {name}", holds) for name, holds in least.items())]
    ]
    lines += ["", "| hostile text, all looked for | p50 | p99 | longest |", "|---|--:|--:|--:|"]
    lines += [
        f"| {each.name} | {at(each.seconds, 0.5) * 1000:.3f} ms | {at(each.seconds, 0.99) * 1000:.3f} ms "
        f"| {each.seconds[-1] * 1000:.3f} ms |"
        for each in hostile
    ]
    return "\n".join([*lines, "", LIMITS])


LIMITS = """\
A time is the processor's, for the gate, both views, the engine and the automaton, whose tables a first run has built.
Compiling is by the clock. Words that are found end a stream, which then begins anew. The text is English prose about
software with tables and code: nothing was measured on adventures or other scripts.

**Of words, what is held back is the beginning of one**, and so the least that can be; the table has it counted by
another program. (Digits and signs that may be letters make the difference.) How much that is depends on the list: these
words begin as words of the text do, more than those that people would choose. The mean lies at one character, on either
side of it as the text of this documentation changes.

**E-mail addresses hold back the last word**, and a mean of one character cannot be had with them. Whatever ends in a
letter, digit or one of `._%+'-` may be followed by `@example.org`; then all of it is part of the address, and any
character that had left before would be one that the rule forbids. So the run of such characters at the end of what was
read is the least that can be held, whichever way an address is looked for; the table has that run, counted by another
program. To hold less, one would have to let the name out and take out only what stands behind it, which protects
nobody. Readers see each word one piece later: what comes after it shows that it is none. Leave `EMAIL` out where that
is too much.
"""


def at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def processor() -> str:
    names = [
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"an {names[0]}" if names else platform.machine()


if __name__ == "__main__":
    main()

"""The rulebook with one entry missing: each such mutant must break something that a test notices.

`casts` are table tests of this folder as plain calls, so that they can be run against a mutant in this process.
"""

import contextlib
import importlib
import inspect
import itertools
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tests.plan.world import Cluster
from understudy.plan.rollout import RULES
from understudy.plan.rulebook import Rulebook

# Which test notices which mutant: `chain/rule module::test[case]` in each line. `bench/proof.py --find` completes it.
NOTICED = Path(__file__).with_name("noticed.txt")
PATIENCE = 10.0
# Tests that play histories or search worlds, and tests of this very file.
APART = ("test_exhaustive", "test_histories", "test_mutants", "test_sequential")
LISTS = tuple(field.name for field in fields(Rulebook) if field.name != "phases")


@dataclass(frozen=True)
class Mutant:
    """`rules` lack the entry `name`, `chain/rule`."""

    name: str
    rules: Rulebook


@dataclass(frozen=True)
class Cast:
    """One table test with its arguments: `name` is `module::function[case]`."""

    name: str
    call: Callable[[], None]


def mutants(rules: Rulebook = RULES) -> tuple[Mutant, ...]:
    """Every rulebook that lacks exactly one entry."""
    found = []
    for chain, entries in rules.phases.items():
        for i, rule in enumerate(entries):
            phases = {**rules.phases, chain: entries[:i] + entries[i + 1 :]}
            found.append(Mutant(f"{chain}/{rule.__name__}", replace(rules, phases=phases)))
    for name in LISTS:
        listed = getattr(rules, name)
        for i, entry in enumerate(listed):
            without = listed[:i] + listed[i + 1 :]
            found.append(Mutant(f"{name}/{entry.__name__}", replace(rules, **{name: without})))
    return tuple(found)


@contextlib.contextmanager
def ruled_by(rules: Rulebook) -> Iterator[None]:
    """Every simulated cluster that is made meanwhile decides by these rules."""
    usual = Cluster.__init__.__defaults__
    assert usual is not None
    try:
        Cluster.__init__.__defaults__ = tuple(rules if value is RULES else value for value in usual)
        yield
    finally:
        Cluster.__init__.__defaults__ = usual


@contextlib.contextmanager
def ended() -> Iterator[None]:
    """What takes more than `PATIENCE` seconds of this process waits for something that never comes."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no end in {PATIENCE} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def noticed() -> dict[str, str]:
    """The name of the test that notices each mutant, as far as it is written down."""
    lines = (line.partition(" ") for line in NOTICED.read_text().splitlines())
    return {mutant: cast for mutant, _, cast in lines}


def casts(*modules: str) -> Iterator[Cast]:
    """The table tests of these modules (of all, if none is named) that take nothing but their own cases."""
    for name in modules or sorted(path.stem for path in NOTICED.parent.glob("test_*.py") if path.stem not in APART):
        module = importlib.import_module(f"tests.plan.{name}")
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__name__.startswith("test_"):
                yield from _cases(name, function)


def broken_by(mutant: Mutant, cast: Cast) -> str:
    """How a test fails with the mutant's rules, be it that it never ends; "" if it passes."""
    try:
        with ruled_by(mutant.rules), ended():
            cast.call()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong under a mutant has noticed it
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _cases(module: str, function: Callable[..., None]) -> Iterator[Cast]:
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    tables = [list(_rows(mark.args[0], mark.args[1])) for mark in marks]
    wanted = set(inspect.signature(function).parameters)
    for index, row in enumerate(itertools.product(*tables)):
        arguments = {name: value for part in row for name, value in part.items()}
        if set(arguments) == wanted:
            number = f"[{index}]" if tables else ""
            yield Cast(f"{module}::{function.__name__}{number}", partial(function, **arguments))


def _rows(names: str | tuple[str, ...], values: Any) -> Iterator[Mapping[str, Any]]:
    split = tuple(n.strip() for n in names.split(",")) if isinstance(names, str) else names
    for value in values:
        if hasattr(value, "marks"):
            row = tuple(value.values)  # of a pytest.param
        else:
            row = (value,) if len(split) == 1 else tuple(value)
        yield dict(zip(split, row, strict=True))

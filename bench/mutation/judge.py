"""Judges mutants in one warm process: all tests are collected once, and each mutant lives in a fork of it.

The fork runs the tests that reach the changed line, those first that have caught a neighbour, then the quickest of each
file, until one fails. A mutant survives if none fails, if no test reaches it, or if the time that one mutant may take
is over (`PATIENCE`); it is caught too if a test takes far longer than usual, by which an endless loop is seen.
"""

import contextlib
import importlib
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings

from bench.mutation.mutants import Module, Mutant, Place
from bench.mutation.reach import Reach, measure

# Seconds of processor time that the tests of one mutant may take, by what they take without a change. Most that are
# caught are caught within half a second; who would be caught later counts as missed, so that the score is a lower one.
PATIENCE = 2.0
# A test that takes so many times longer than usual, and so many seconds more, does not end.
LONGER, GRACE = 10.0, 2.0
MEMORY = 4 << 30
_SEEN = "-Wignore::pytest.PytestAssertRewriteWarning"
# In a process that has imported tests and plugins already.
QUIETLY = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--capture=no",
    "-Wignore::pytest.PytestAssertRewriteWarning",
)
_BROKEN = 3
Said = TypeVar("Said")
CAUGHT, SURVIVED, UNREACHED, ENDLESS = "caught", "survived", "unreached", "endless"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and the test that caught it."""

    mutant: Mutant
    outcome: str
    test: str = ""

    @property
    def caught(self) -> bool:
        """Some test noticed."""
        return self.outcome in (CAUGHT, ENDLESS)


@dataclass(frozen=True)
class Task:
    """What is judged: one group of mutants after the other, `least` of each and more until `seconds` are over.

    `seconds` are by the clock, for all groups together. `source` is the folder that `package` lies in. `jobs` processes
    do it. `judged` is told what became of a group as soon as that is known.
    """

    modules: dict[Path, Module]
    groups: Sequence[Sequence[Mutant]]
    package: str
    source: Path
    seconds: float
    least: int
    jobs: int
    tell: Callable[[str], None]
    judged: Callable[[Sequence[Verdict]], None]


class Quick:
    """A pytest plugin: examples that fail are not made smaller, since that they fail is enough."""

    def pytest_configure(self) -> None:
        """After the tests' own profile was loaded, before the tests are."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutation", parent=settings.get_profile("understudy"), phases=phases)
        settings.load_profile("mutation")


class Judge(Quick):
    """A pytest plugin that, where the tests would be run, runs them against one mutant after another."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.failing: list[str] = []
        self.verdicts: list[Verdict] = []
        self._items: dict[str, pytest.Item] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        if session.testsfailed:
            raise session.Failed(f"{session.testsfailed} errors during collection")
        began = time.monotonic()
        self._items = {item.nodeid: item for item in session.items}
        reach = self._measure()
        self.task.tell(f"{len(self._items)} tests, measured in {time.monotonic() - began:.0f} s")
        if not self.failing:
            end = began + self.task.seconds
            for number, group in enumerate(self.task.groups):
                if number and time.monotonic() > end:
                    break
                shares = [group[job :: self.task.jobs] for job in range(self.task.jobs)]
                found = list(_forks([partial(self._judge, share, reach, end) for share in shares]))
                self.verdicts += found
                self.task.judged(found)
        return True

    def _measure(self) -> Reach:
        tests, paths, jobs = list(self._items), list(self.task.modules), self.task.jobs
        shares = [partial(measure, tests[number::jobs], self._passes, paths) for number in range(jobs)]
        parts = list(_forks(shares))
        self.failing = [test for part in parts for test in part.failed]
        return Reach(parts, paths)

    def _passes(self, test: str) -> bool:
        return all(report.outcome != "failed" for report in runtestprotocol(self._items[test], log=False))

    def _judge(self, mutants: Sequence[Mutant], reach: Reach, end: float) -> Iterator[Verdict]:
        caught: dict[tuple[Path, str], Counter[str]] = defaultdict(Counter)
        controlled = False
        for number, mutant in enumerate(mutants):
            if time.monotonic() > end and number >= self.task.least:
                return
            module = self.task.modules[mutant.place.path]
            code = module.code(mutant)
            if code is None:
                continue
            here, near = caught[mutant.place.path, mutant.place.owner], caught[mutant.place.path, "*"]
            known = sorted(reach.tests(mutant.place), key=lambda test: (-here[test], -near[test]))
            tests = _affordable(known, reach)
            if tests and not mutant.place.owner and not controlled:
                if self._verdict(mutant, module.compiled(), tests, reach).outcome != SURVIVED:
                    raise RuntimeError(f"{mutant.place.path}: imported anew and not changed, its tests fail")
                controlled = True
            verdict = self._verdict(mutant, code, tests, reach)
            for counter in (here, near) if verdict.test else ():
                counter[verdict.test] += 1
            yield verdict

    def _verdict(self, mutant: Mutant, code: CodeType, tests: Sequence[str], reach: Reach) -> Verdict:
        if not tests:
            return Verdict(mutant, UNREACHED)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = _BROKEN
            with contextlib.suppress(BaseException):
                os.close(read)
                _muffle()
                number = self._first_failing(mutant.place, code, tests, reach)
                os.write(write, str(number).encode())
                status = 0
            os._exit(status)
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return Verdict(mutant, ENDLESS)
        if os.WEXITSTATUS(status) == _BROKEN:
            raise RuntimeError(f"{mutant.place.path}:{mutant.place.line} ({mutant.change}) could not be judged")
        number = int(said)
        return Verdict(mutant, SURVIVED) if number < 0 else Verdict(mutant, CAUGHT, tests[number])

    def _first_failing(self, place: Place, code: CodeType, tests: Sequence[str], reach: Reach) -> int:
        """The number of the first test that fails with this code, -1 if none does."""
        name = _name(place.path, self.task.source)
        function, inner = _function(sys.modules[name], place.owner), _inner(code, place.owner)
        if function is None or inner is None or inner.co_freevars != function.__code__.co_freevars:
            return self._anew(name, code, tests, reach)
        function.__code__ = inner
        for number, test in enumerate(tests):
            signal.setitimer(signal.ITIMER_PROF, GRACE + LONGER * reach.seconds[test])
            if not self._passes(test):
                return number
        return -1

    def _anew(self, name: str, code: CodeType, tests: Sequence[str], reach: Reach) -> int:
        """The same, with everything of the project imported again, and this module changed."""
        signal.setitimer(signal.ITIMER_PROF, 5 * GRACE + LONGER * sum(reach.seconds[test] for test in tests))
        for loaded in [m for m in sys.modules if m.partition(".")[0] in (self.task.package, "tests")]:
            del sys.modules[loaded]
        sys.meta_path.insert(0, _Changed(name, code))
        try:
            for path in self.task.modules:
                importlib.import_module(_name(path, self.task.source))
        except Exception:  # noqa: BLE001 - what cannot be imported fails every test
            return 0
        first = _First()
        arguments = ["-x", *QUIETLY, *tests]
        pytest.main(arguments, plugins=[first])
        if first.uncollected:
            return 0
        return tests.index(first.failed) if first.failed else -1


class _First(Quick):
    """Remembers the first test that fails."""

    def __init__(self) -> None:
        self.failed = ""
        self.uncollected = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of tests that can be imported no longer fails as a whole."""
        self.uncollected |= report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """For pytest."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Changed(Loader, MetaPathFinder):
    """Finds one module, with other code than its file's."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name, self._code = name, code

    def find_spec(self, fullname: str, path: Any, _target: ModuleType | None = None) -> ModuleSpec | None:
        """For the import system."""
        spec = PathFinder.find_spec(fullname, path) if fullname == self._name else None
        if spec is not None:
            spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code in it."""
        exec(self._code, vars(module))  # noqa: S102 - that is what importing is


def _affordable(tests: Sequence[str], reach: Reach) -> list[str]:
    """As many as take no longer than `PATIENCE` together, one at least."""
    taken: list[str] = []
    total = 0.0
    for test in tests:
        total += reach.seconds[test]
        if taken and total > PATIENCE:
            break
        taken.append(test)
    return taken


def _forks(works: Sequence[Callable[[], Iterable[Said]]]) -> Iterator[Said]:
    """What these say, each in a process of its own, all at once."""
    children = []
    for work in works:
        heard = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, when the child has said all
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what tests print
                for said in work():
                    pickle.dump(said, heard)
                heard.flush()
                status = 0
            except BaseException:  # noqa: BLE001 - nothing may come back from a fork
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append((child, heard))
    ends = [os.waitpid(child, 0)[1] for child, _ in children]
    if any(ends):
        raise RuntimeError("a process that judged mutants ended before its work was done")
    for _, heard in children:
        heard.seek(0)
        with heard, contextlib.suppress(EOFError):
            while True:
                yield pickle.load(heard)  # noqa: S301 - our own child's words


def _muffle() -> None:
    """Nothing of what a broken program prints is of interest, nor may it fill the memory."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _name(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _function(module: Any, owner: str) -> FunctionType | None:
    """The function of that qualified name, from under what decorators have made of it."""
    found = module
    for name in owner.split("."):
        found = vars(found).get(name)
        for inner in ("fget", "__func__", "__wrapped__", "func"):
            found = getattr(found, inner, None) or found
    return found if isinstance(found, FunctionType) and found.__qualname__ == owner else None


def _inner(code: CodeType, owner: str) -> CodeType | None:
    """The code of the function of that qualified name."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == owner:
                return constant
            if owner.startswith(f"{constant.co_qualname}.") and (found := _inner(constant, owner)) is not None:
                return found
    return None

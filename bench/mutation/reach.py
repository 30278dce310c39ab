"""Which tests run which lines, and how long each takes: one run of all tests with coverage's contexts."""

import ast
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import coverage

from bench.mutation.mutants import FUNCTIONS, Place

Lines = Mapping[Path, Mapping[int, frozenset[str]]]


@dataclass(frozen=True)
class Measured:
    """`seconds` of this process for each test, the tests that run each line, and those that fail as it is."""

    seconds: Mapping[str, float]
    lines: Lines
    failed: Sequence[str]


def measure(tests: Sequence[str], passes: Callable[[str], bool], paths: Sequence[Path]) -> Iterator[Measured]:
    """Run each test once."""
    counted = coverage.Coverage(data_file=None, include=[str(path) for path in paths], config_file=False)
    seconds, failed = {}, []
    counted.start()
    for test in tests:
        counted.switch_context(test)
        began = time.process_time()
        failed += [] if passes(test) else [test]
        seconds[test] = time.process_time() - began
    counted.stop()
    data = counted.get_data()
    lines = {
        Path(file): {line: frozenset(filter(None, names)) for line, names in data.contexts_by_lineno(file).items()}
        for file in data.measured_files()
    }
    yield Measured(seconds, lines, failed)


class Reach:
    """Which tests may notice a change of what."""

    def __init__(self, parts: Iterable[Measured], paths: Iterable[Path]) -> None:
        self.seconds: dict[str, float] = {}
        self._lines: dict[Path, dict[int, frozenset[str]]] = {}
        for part in parts:
            self.seconds |= part.seconds
            for path, lines in part.lines.items():
                mine = self._lines.setdefault(path, {})
                for line, tests in lines.items():
                    mine[line] = mine.get(line, frozenset()) | tests
        self._users = self._by_name(paths)

    def tests(self, place: Place) -> list[str]:
        """Those that run the changed statement: the quickest of each file, then the second of each, and so on.

        A change of what is worked out at import may be noticed by whoever runs a function that speaks of it by name.
        """
        if place.owner:
            found = self._of(place.path, place.first, place.last)
        else:
            found = frozenset[str]().union(*(self._users.get(name, frozenset()) for name in place.names))
        files: dict[str, list[str]] = {}
        for test in sorted(found, key=lambda test: (self.seconds[test], test)):
            files.setdefault(test.partition("::")[0], []).append(test)
        return [test for row in zip_longest(*files.values()) for test in row if test is not None]

    def _of(self, path: Path, first: int, last: int) -> frozenset[str]:
        lines = self._lines.get(path, {})
        return frozenset[str]().union(*(lines.get(number, frozenset()) for number in range(first, last + 1)))

    def _by_name(self, paths: Iterable[Path]) -> dict[str, frozenset[str]]:
        users: dict[str, frozenset[str]] = {}
        derived: list[tuple[set[str], set[str]]] = []
        for path in paths:
            tree = ast.parse(path.read_text())
            for names, first, last in _functions(tree):
                tests = self._of(path, first, last)
                for name in names:
                    users[name] = users.get(name, frozenset()) | tests
            derived += _constants(tree)
        # Who uses a constant, uses those that it is made of; some rounds reach the ends of the chains.
        for _ in range(4):
            for made, of in derived:
                tests = frozenset[str]().union(*(users.get(name, frozenset()) for name in made))
                for name in of:
                    users[name] = users.get(name, frozenset()) | tests
        return users


def _functions(tree: ast.AST) -> Iterator[tuple[set[str], int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            names = {name for part in ast.walk(node) for name in _spoken(part)} | {node.name}
            yield names, node.body[0].lineno, node.end_lineno or node.lineno


def _constants(tree: ast.Module) -> Iterator[tuple[set[str], set[str]]]:
    """What is worked out at import: the names it gets, and the names it is made of."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            made = {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
            yield made, {name for part in ast.walk(node.value) for name in _spoken(part)}


def _spoken(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.keyword(arg=str() as name):
            yield name

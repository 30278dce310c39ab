"""The tool that changes the code a little and waits for a test to notice: what it changes, and how it judges."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from bench.mutation.__main__ import changed as changed_files
from bench.mutation.judge import CAUGHT, SURVIVED, UNREACHED, Verdict
from bench.mutation.mutants import Module, Mutant, Place
from bench.mutation.operators import changed
from bench.mutation.record import Record
from bench.mutation.score import ROOT, Score, missed


def variants(source: str) -> list[str]:
    """The changes of the outermost node of an expression or statement."""
    statement = ast.parse(source).body[0]
    node = statement.value if isinstance(statement, ast.Expr) else statement
    return [ast.unparse(ast.fix_missing_locations(new)) for new in changed(node)]


@pytest.mark.parametrize(
    ("source", "become"),
    [
        ("a < b", ["a <= b"]),
        ("a is b not in c", ["a is not b not in c", "a is b in c"]),
        ("a and b", ["a or b"]),
        ("a + b", ["a - b"]),
        ("a // b", ["a / b"]),
        ("a @ b", []),
        ("not a", ["a"]),
        ("-a", ["+a"]),
        ("30.0", ["31.0"]),
        ("True", ["False"]),
        ("'word'", ["'XXwordXX'"]),
        ("None", []),
        ("a += 1", ["a -= 1", "a = 1"]),
        ("a = f()", ["a = None"]),
        ("a: int = None", ["a: int = ''"]),
        ("a: int", []),
        ("lambda: 1", ["lambda: None"]),
        ("lambda: None", ["lambda: 0"]),
        ("a if b else c", ["a if b and False else c", "a if b or True else c"]),
        ("f(a, k=b)", ["f(None, k=b)", "f(a, k=None)", "f(k=b)", "f(a)"]),
        ("f(None)", []),
        ("f(*a)", []),
        ("dict(k=a)", ["dict(k=None)", "dict(kXX=a)"]),
        ("a.lower()", ["a.upper()"]),
        ("a.split(b)", ["a.split(None)"]),
        ("a.split(b, 1)", ["a.split(None, 1)", "a.split(b, None)", "a.split(1)", "a.split(b)", "a.rsplit(b, 1)"]),
    ],
)
def test_small_changes(source: str, become: list[str]) -> None:
    assert variants(source) == become


def test_one_case_of_a_match_is_left_out_and_a_loop_ends_otherwise() -> None:
    assert variants("match a:\n  case 1: x\n  case 2: y") == [
        "match a:\n    case 2:\n        y",
        "match a:\n    case 1:\n        x",
    ]
    assert [type(new) for new in changed(ast.Break())] == [ast.Return]
    assert [type(new) for new in changed(ast.Continue())] == [ast.Break]


def module(tmp_path: Path, source: str) -> Module:
    path = tmp_path / "changed.py"
    path.write_text(dedent(source))
    return Module(path)


def test_types_and_words_for_people_are_not_changed(tmp_path: Path) -> None:
    found = module(
        tmp_path,
        '''
        """What for."""
        from a import b
        Rule = dict[str, int | None]
        Track = Literal["a", "b"]

        @cache(maxsize=1)
        def f(a: "int", b: Literal["x"]) -> "str":
            """What it does."""
            return f"seen {a:>3} times"
        ''',
    )
    assert [mutant.change for mutant in found.mutants] == []


def test_a_place_says_whose_it_is_and_what_it_is_known_by(tmp_path: Path) -> None:
    found = module(
        tmp_path,
        """
        LIMIT: Final = 3
        class Terms:
            tolerance: float = 1.5
            def passes(self, n=1):
                if (n <
                        LIMIT):
                    return [k for k in n if k > 2]
        """,
    )
    places = {mutant.change: mutant.place for mutant in found.mutants}
    assert places["3 -> 4"].names == ("LIMIT",)
    assert places["1.5 -> 2.5"].names == ("Terms", "tolerance")
    assert places["1 -> 2"].names == ("Terms", "passes")
    assert [places[c].owner for c in ("3 -> 4", "1.5 -> 2.5", "1 -> 2")] == ["", "", ""]
    inner = places["k > 2 -> k >= 2"]
    assert (inner.owner, inner.names, inner.first) == ("Terms.passes", (), 8)
    head = places["n < LIMIT -> n <= LIMIT"]
    assert (head.owner, head.first, head.last) == ("Terms.passes", 6, 7)


def test_each_mutant_has_its_one_change_and_no_other(tmp_path: Path) -> None:
    found = module(tmp_path, "def f(a):\n    return a + 1\n")
    results = {}
    for mutant in found.mutants:
        names: dict[str, object] = {}
        code = found.code(mutant)
        assert code is not None
        exec(code, names)  # noqa: S102 - that is what the mutant is for
        results[mutant.change] = names["f"](10)  # type: ignore[operator]
    assert results == {"a + 1 -> a - 1": 9, "1 -> 2": 12}
    names = {}
    exec(found.compiled(), names)  # noqa: S102
    assert names["f"](10) == 11  # type: ignore[operator]


def verdicts(caught: int, survived: int, unreached: int = 0) -> list[Verdict]:
    place = Place(ROOT / "operator" / "understudy" / "plan" / "x.py", 1, 1, 1, "f")
    outcomes = [CAUGHT] * caught + [SURVIVED] * survived + [UNREACHED] * unreached
    return [Verdict(Mutant(place, number, "a -> b"), outcome) for number, outcome in enumerate(outcomes)]


def test_what_no_test_runs_counts_as_missed() -> None:
    score = Score(verdicts(8, 1, 1), among=10, seed=0)
    assert (score.percent, score.interval) == (80.0, (80.0, 80.0))
    assert (score.holds(80), score.holds(80.1)) == (True, False)
    assert list(missed(score.verdicts)) == ["plan/x.py:1: a -> b", "plan/x.py:1: a -> b (no test runs it)"]
    assert score.by_module() == {"plan/x.py": (8, 10)}


def test_a_sample_fails_only_where_it_leaves_no_doubt() -> None:
    # Wilson's interval of 70 of 100: 60.4 to 78.1 %.
    few, many = Score(verdicts(7, 3), among=1000, seed=0), Score(verdicts(70, 30), among=1000, seed=0)
    assert [round(bound, 1) for bound in many.interval] == [60.4, 78.1]
    assert (few.holds(80), many.holds(80)) == (True, False)
    assert "drawn from 1000" in many.sentence()


def test_what_is_known_of_a_module_is_kept_until_it_changes(tmp_path: Path) -> None:
    plan = ROOT / "operator" / "understudy" / "plan"
    some = {path: Module(path) for path in (plan / "clocks.py", plan / "names.py")}
    kept = tmp_path / "mutation.json"
    record = Record(kept, some)
    few, many = record.lacking()
    assert len(few.mutants) < len(many.mutants)
    record.add([Verdict(mutant, SURVIVED if mutant.number == 0 else CAUGHT) for mutant in reversed(few.mutants)])
    again = Record(kept, some)
    assert [module.path for module in again.lacking()] == [many.path]
    assert again.document() == {
        "mutants": len(few.mutants) + len(many.mutants),
        "judged": len(few.mutants),
        "caught": len(few.mutants) - 1,
        "endless": 0,
        "percent": round(100 * (len(few.mutants) - 1) / len(few.mutants), 2),
        "modules": {f"plan/{few.path.name}": [len(few.mutants) - 1, len(few.mutants)]},
    }
    (line,) = again.found[f"plan/{few.path.name}"].missed
    assert line == f"plan/{few.path.name}:{few.mutants[0].place.line}: {few.mutants[0].change}"
    # of another content nothing is known
    written = json.loads(kept.read_text())
    written[f"plan/{few.path.name}"]["digest"] = "of before"
    kept.write_text(json.dumps(written))
    assert len(Record(kept, some).lacking()) == 2


PROJECT = {
    "lib/shop/__init__.py": "",
    "lib/shop/price.py": """
        LIMIT = 10
        HIDDEN = 5
        NAMES = ("a", "b")

        def total(n):
            while n > LIMIT:
                n = n - LIMIT
            return n + 1

        class Till:
            @property
            def open(self):
                return not self.shut

            def __init__(self, shut):
                self.shut = shut

        def untold(n):
            return n * HIDDEN

        def named():
            return NAMES

        def never():
            return 1 < 2
        """,
    "tests/test_price.py": """
        from shop.price import LIMIT, NAMES, Till, named, total, untold

        FIRST, SECOND = NAMES

        def test_total():
            assert total(25) == 6
            assert LIMIT == 10

        def test_open():
            assert Till(False).open

        def test_untold():
            untold(3)

        def test_named():
            assert len(named()) == 2
        """,
    "pytest.ini": "[pytest]\npythonpath = lib\naddopts = --import-mode=importlib\n",
    "tests/conftest.py": """
        from hypothesis import settings
        settings.register_profile("understudy", deadline=None)
        """,
}
RUN = """
import json, sys
from pathlib import Path
import pytest
from bench.mutation.judge import QUIETLY, Judge, Task
from bench.mutation.mutants import Module
root = Path.cwd()
modules = {path: Module(path) for path in sorted((root / "lib").rglob("*.py"))}
groups = [module.mutants for module in modules.values()]
told = []
judge = Judge(Task(modules, groups, "shop", root / "lib", 600.0, 0, 2, print, told.extend))
pytest.main([*QUIETLY, "tests"], plugins=[judge])
assert told == judge.verdicts
seen = {f"{v.mutant.place.owner or v.mutant.place.names[0]}: {v.mutant.change}": v.outcome for v in judge.verdicts}
Path("verdicts.json").write_text(json.dumps([seen, judge.failing]))
"""


def judged(root: Path, **files: str) -> tuple[dict[str, str], list[str]]:
    for name, text in (PROJECT | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    command = [sys.executable, "-c", RUN]
    subprocess.run(command, cwd=root, check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=600)
    seen, failing = json.loads((root / "verdicts.json").read_text())
    return seen, failing


@pytest.mark.slow
def test_mutants_are_caught_missed_never_run_or_endless(tmp_path: Path) -> None:
    seen, failing = judged(tmp_path)
    assert failing == []
    assert seen["total: n + 1 -> n - 1"] == "caught"
    assert seen["total: n - LIMIT -> n + LIMIT"] == "endless"
    assert seen["Till.open: not self.shut -> self.shut"] == "caught"
    # What is worked out at import is changed wherever it was copied to.
    assert seen["LIMIT: 10 -> 11"] == "caught"
    # A file of tests that can be imported no longer notices too.
    assert seen["NAMES: NAMES = ('a', 'b') -> NAMES = None"] == "caught"
    assert seen["NAMES: 'a' -> 'XXaXX'"] == "survived"
    assert seen["untold: n * HIDDEN -> n / HIDDEN"] == "survived"
    assert seen["HIDDEN: 5 -> 6"] == "survived"
    assert seen["never: 1 < 2 -> 1 <= 2"] == "unreached"


@pytest.mark.slow
def test_nothing_is_judged_by_tests_that_fail_anyway(tmp_path: Path) -> None:
    seen, failing = judged(tmp_path, **{"tests/test_broken.py": "def test_it():\n    assert 1 == 2\n"})
    assert (seen, failing) == ({}, ["tests/test_broken.py::test_it"])


def test_a_branch_answers_for_what_it_changes_and_main_for_its_last_commit(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(name: str) -> None:
        (tmp_path / name).write_text(name)
        git("add", "-A")
        git("commit", "-m", name)

    def names() -> set[str]:
        return {path.name for path in changed_files(tmp_path)}

    git("init", "--initial-branch=main")
    commit("first")
    assert names() == set()
    commit("second")
    assert names() == {"second"}
    git("checkout", "-b", "branch")
    commit("third")
    commit("fourth")
    assert names() == {"third", "fourth"}
    (tmp_path / "first").write_text("edited")
    assert names() == {"first", "third", "fourth"}

"""Where a module can be changed, and the code that it becomes.

A change inside a function is put into the running program by giving the function other code; whoever holds the
function, be it a chain of rules, then runs the changed one. What is worked out when the module is imported (constants,
defaults of fields and of arguments) has been copied by then to wherever it is used: such a module is imported anew.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType

from bench.mutation.operators import changed

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Fields of a syntax tree that hold types, documentation and the like: nothing at run time depends on them.
_MEANINGLESS = ("annotation", "returns", "decorator_list", "type_params", "format_spec", "ctx")


@dataclass(frozen=True)
class Place:
    """Where changes are: `first` to `last` are the lines of the statement (of its head, if it holds others).

    `owner` is the qualified name of the outermost function around it, empty for what runs at import; then `names` are
    those that other code knows the value by.
    """

    path: Path
    line: int
    first: int
    last: int
    owner: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mutant:
    """The `number`-th change of a module. `change` says in code what becomes of what."""

    place: Place
    number: int
    change: str


class Module:
    """One source file and all small changes of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tree = ast.parse(path.read_text())
        self._changes = [
            change
            for index, statement in enumerate(self._tree.body)
            for change in _walk(statement, (self._tree, "body", index), _Scope(path))
        ]
        self.mutants = tuple(
            Mutant(place, number, f"{_text(node)} -> {_text(new)}")
            for number, (place, node, new, _) in enumerate(self._changes)
        )

    def code(self, mutant: Mutant) -> CodeType | None:
        """The whole module with this one change; None if it is no Python."""
        _, node, new, (holder, field, index) = self._changes[mutant.number]
        ast.copy_location(new, node)
        try:
            _put(holder, field, index, new)
            return self.compiled()
        except (SyntaxError, ValueError, TypeError):
            return None
        finally:
            _put(holder, field, index, node)

    def compiled(self) -> CodeType:
        """The whole module as it is."""
        return compile(ast.fix_missing_locations(self._tree), str(self.path), "exec", dont_inherit=True)


Spot = tuple[ast.AST, str, int | None]
Change = tuple[Place, ast.AST, ast.AST, Spot]


def _put(holder: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(holder, field, node)
    else:
        getattr(holder, field)[index] = node


@dataclass(frozen=True)
class _Scope:
    """Where the walk through a module is."""

    path: Path
    inside: tuple[str, ...] = ()
    owner: str = ""
    names: tuple[str, ...] = ()
    first: int = 0
    last: int = 0

    def at(self, statement: ast.stmt) -> "_Scope":
        """A statement begins."""
        body = statement.cases[0].body if isinstance(statement, ast.Match) else getattr(statement, "body", ())
        end = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
        names = () if self.owner else (*self.names, *_names(statement))
        return replace(self, first=statement.lineno, last=max(statement.lineno, end), names=names)

    def into(self, node: ast.AST, field: str) -> "_Scope":
        """What is found in one field of a node."""
        if field != "body" or not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return self
        inside = (*self.inside, node.name)
        owner = ".".join(inside) if isinstance(node, FUNCTIONS) and not self.owner else self.owner
        return replace(self, inside=inside, owner=owner)

    def place(self, node: ast.AST) -> Place:
        """Where this node is."""
        line = getattr(node, "lineno", self.first)
        return Place(self.path, line, self.first, self.last, self.owner, self.names if not self.owner else ())


def _walk(node: ast.AST, spot: Spot, scope: _Scope) -> Iterator[Change]:
    """Every change of a node and of what is inside it."""
    if _is_no_code(node) or (not scope.owner and _is_type(node)):
        return
    if isinstance(node, ast.stmt):
        scope = scope.at(node)
    yield from ((scope.place(node), node, new, spot) for new in changed(node))
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            words = isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)
            if isinstance(child, ast.AST) and field not in _MEANINGLESS and not words:
                yield from _walk(child, (node, field, index), scope.into(node, field))


def _is_no_code(node: ast.AST) -> bool:
    """Imports, docstrings and literal types."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Subscript(value=ast.Name(id="Literal")):
            return True
        case _:
            return False


def _is_type(node: ast.AST) -> bool:
    """`Rule = Callable[...]`: a name for a type, which is no constant's name and calls nothing."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp() as value):
            return not name.isupper() and not any(isinstance(part, ast.Call) for part in ast.walk(value))
        case _:
            return False


def _names(node: ast.stmt) -> tuple[str, ...]:
    """What a value that is worked out at import is known by."""
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return (node.name,)
        case ast.Assign():
            return tuple(part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name))
        case ast.AnnAssign(target=ast.Name() as target):
            return (target.id,)
        case _:
            return ()


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= 70 else f"{text[:66]} ..."

"""What one small change of a piece of code is: the operators of mutmut 3, as changes of a syntax tree.

Not changed, because nothing at run time depends on it: annotations and other types, docstrings, decorators. Nor, as in
mutmut, the words of f-strings (the expressions in them are).
"""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

Node = TypeVar("Node", bound=ast.AST)
Item = TypeVar("Item")

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}
_PAIRS: Final = (
    ("lower", "upper"),
    ("lstrip", "rstrip"),
    ("find", "rfind"),
    ("ljust", "rjust"),
    ("index", "rindex"),
    ("removeprefix", "removesuffix"),
    ("partition", "rpartition"),
)
_METHODS: Final = {old: new for a, b in _PAIRS for old, new in ((a, b), (b, a))}


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Every small change of this node itself (not of what is inside it)."""
    for kind, change in _CHANGES:
        if isinstance(node, kind):
            yield from change(node)


def _comparison(node: ast.Compare) -> Iterator[ast.AST]:
    for i, operator in enumerate(node.ops):
        yield _with(node, ops=_swapped(node.ops, i, _COMPARISONS[type(operator)]()))


def _connective(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _arithmetic(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in _ARITHMETIC:
        yield _with(node, op=_ARITHMETIC[type(node.op)]())


def _in_place(node: ast.AugAssign) -> Iterator[ast.AST]:
    yield ast.Assign([node.target], node.value)


def _sign(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.UAdd()) if isinstance(node.op, ast.USub) else node.operand


def _lambda(node: ast.Lambda) -> Iterator[ast.AST]:
    yield _with(node, body=ast.Constant(0 if _is_none(node.body) else None))


def _choice(node: ast.IfExp) -> Iterator[ast.AST]:
    yield _with(node, test=ast.BoolOp(ast.And(), [node.test, ast.Constant(value=False)]))
    yield _with(node, test=ast.BoolOp(ast.Or(), [node.test, ast.Constant(value=True)]))


def _match(node: ast.Match) -> Iterator[ast.AST]:
    if len(node.cases) > 1:
        for i in range(len(node.cases)):
            yield _with(node, cases=[*node.cases[:i], *node.cases[i + 1 :]])


def _break(_: ast.Break) -> Iterator[ast.AST]:
    yield ast.Return()


def _continue(_: ast.Continue) -> Iterator[ast.AST]:
    yield ast.Break()


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int() | float():
            if node.value + 1 != node.value:
                yield ast.Constant(node.value + 1)
        case str():
            yield ast.Constant(f"XX{node.value}XX")


def _assignment(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.AST]:
    if node.value is None:
        return
    yield _with(node, value=ast.Constant("" if _is_none(node.value) else None))


def _call(node: ast.Call) -> Iterator[ast.AST]:
    for i, argument in enumerate(node.args):
        if not isinstance(argument, ast.Starred) and not _is_none(argument):
            yield _with(node, args=_swapped(node.args, i, ast.Constant(None)))
    for i, keyword in enumerate(node.keywords):
        if keyword.arg is not None and not _is_none(keyword.value):
            yield _with(node, keywords=_swapped(node.keywords, i, _with(keyword, value=ast.Constant(None))))
    if len(node.args) + len(node.keywords) > 1:
        for i in range(len(node.args)):
            yield _with(node, args=[*node.args[:i], *node.args[i + 1 :]])
        for i in range(len(node.keywords)):
            yield _with(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])
    if isinstance(node.func, ast.Name) and node.func.id == "dict":
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _with(node, keywords=_swapped(node.keywords, i, _with(keyword, arg=f"{keyword.arg}XX")))
    if isinstance(node.func, ast.Attribute) and (other := _other_method(node.func.attr, node)):
        yield _with(node, func=_with(node.func, attr=other))


def _other_method(name: str, call: ast.Call) -> str:
    if name in ("split", "rsplit"):
        # Without a limit both are the same.
        limited = len(call.args) == 2 or any(keyword.arg == "maxsplit" for keyword in call.keywords)
        return {"split": "rsplit", "rsplit": "split"}[name] if limited else ""
    return _METHODS.get(name, "")


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: Node, **fields: object) -> Node:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _swapped(items: list[Item], index: int, item: Item) -> list[Item]:
    return [*items[:index], item, *items[index + 1 :]]


_CHANGES: Final[tuple[tuple[type[ast.AST], Callable[[Any], Iterator[ast.AST]]], ...]] = (
    (ast.Constant, _constant),
    (ast.Compare, _comparison),
    (ast.BoolOp, _connective),
    (ast.BinOp, _arithmetic),
    (ast.AugAssign, _arithmetic),
    (ast.AugAssign, _in_place),
    (ast.UnaryOp, _sign),
    (ast.Assign, _assignment),
    (ast.AnnAssign, _assignment),
    (ast.Call, _call),
    (ast.Lambda, _lambda),
    (ast.IfExp, _choice),
    (ast.Match, _match),
    (ast.Break, _break),
    (ast.Continue, _continue),
)

"""Argo CD's script engine as far as it matters: Lua 5.1 with base, table, and the clock of an os that is required."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lupa.lua51 import LuaRuntime, lua_type

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "argocd" / "resource_customizations" / "understudy.dev"
DUMPS = Path(__file__).parent / "testdata"

# What scripts from argocd-cm do not have there, unless useOpenLibs is set for the kind.
_ABSENT = (*("string", "math", "os", "io", "debug", "coroutine", "dofile", "loadfile", "load", "loadstring", "python"),)
_SANDBOX = "local kept = {os = {date = os.date, time = os.time}}; function require(name) return kept[name] end; " + (
    "; ".join(f"{name} = nil" for name in _ABSENT)
)


def dump(name: str) -> dict[str, Any]:
    """A resource as a real cluster showed it."""
    found: dict[str, Any] = yaml.safe_load((DUMPS / f"{name}.yaml").read_text())
    return found


def run(script: str, obj: Mapping[str, Any]) -> Any:
    """What the script returns for `obj`, as plain data."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.execute(_SANDBOX)
    lua.globals()["obj"] = _table(lua, obj)
    return _plain(lua.execute(script))


def script(kind: str, *path: str) -> str:
    """Text of one of the kind's scripts."""
    return SCRIPTS.joinpath(kind, *path).read_text()


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({key: _table(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, item) for item in value])
    return value


def _plain(value: Any) -> Any:
    if lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys and keys == list(range(1, len(keys) + 1)):
        return [_plain(value[key]) for key in keys]
    return {key: _plain(value[key]) for key in keys}

"""YAML from anywhere, within bounds: a file that somebody sent must neither hang the command nor fill the memory.

A few lines of aliases can stand for billions of values, and a device never ends. Nothing of use is refused here: the
API server takes no object above three megabytes.
"""

import math
from collections.abc import Iterator
from typing import Any, Final, TextIO

import orjson
import yaml

from understudy.cli.plugin.failure import PluginError

MAX_TEXT: Final = 3 * 1024 * 1024  # characters of one file
MAX_VALUES: Final = 100_000  # of one document, each alias counted as all that it stands for
MAX_DEPTH: Final = 100
_Measure = tuple[int, int]  # values, levels


class _Loader(yaml.SafeLoader):
    """What looks like a date stays the text that Kubernetes takes it for."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text_of(name: str, stream: TextIO) -> str:
    """All of a file; PluginError if it is too long."""
    text = stream.read(MAX_TEXT + 1)
    if len(text) > MAX_TEXT:
        raise PluginError(
            f"{name} is longer than {MAX_TEXT // 2**20} million characters: leave out what the forecast is not about"
        )
    return text


def documents(name: str, text: str) -> list[Any]:
    """Its documents, of nothing that JSON has not; None for an empty one. PluginError says what is wrong."""
    try:
        return list(_documents(name, text))
    except (yaml.YAMLError, ValueError) as error:
        # A tag such as !!int before something else is a ValueError of Python's own.
        raise PluginError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise PluginError(_deep(name)) from error


def _documents(name: str, text: str) -> Iterator[Any]:
    for node in yaml.compose_all(text, Loader=_Loader):
        # Before anything is made of it: merge keys alone can take for ever.
        values, levels = _measured(node, {})
        if levels > MAX_DEPTH:
            raise PluginError(_deep(name))
        if values > MAX_VALUES:
            raise PluginError(
                f"{name} has a document of more than {MAX_VALUES} values, counting all that its aliases stand for: "
                "write them out where they are needed"
            )
        yield _plain(name, "", _Loader("").construct_document(node))


def _deep(name: str) -> str:
    return f"{name} has more than {MAX_DEPTH} levels, or an alias inside of what it stands for: write it flatter"


def _measured(node: yaml.Node, known: dict[int, _Measure]) -> _Measure:
    if id(node) not in known:
        known[id(node)] = (1, MAX_DEPTH + 1)  # met again on the way down, it has no end
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for pair in children for part in pair] if isinstance(node, yaml.MappingNode) else children
        measures = [_measured(part, known) for part in parts]
        known[id(node)] = (1 + sum(m[0] for m in measures), 1 + max((m[1] for m in measures), default=0))
    return known[id(node)]


def _plain(name: str, path: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(name, path, key): _plain(name, f"{path}.{key}", item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(name, f"{path}[{at}]", item) for at, item in enumerate(value)]
    if _in_json(value):
        return value
    where = f"{path[1:]} in {name}" if path else name
    raise PluginError(f"{where} is {value!r:.80}, which JSON cannot say: write a text in quotes")


def _key(name: str, path: str, key: Any) -> str:
    if isinstance(key, str) and _in_json(key):
        return key
    where = f"{path[1:]} in {name}" if path else name
    raise PluginError(f"{where} has the key {key!r:.80}, which is no text: write it in quotes")


def _in_json(value: Any) -> bool:
    """A scalar that goes to the API server as it is: no bytes, no half of a character, no endless number."""
    if isinstance(value, float):
        return math.isfinite(value)
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return value is None or isinstance(value, str | int)

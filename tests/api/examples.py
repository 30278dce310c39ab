"""Valid manifests of every kind, and how a test changes one."""

import copy
import functools
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml

Object = dict[str, Any]
NAMESPACE: Final = "understudy-api-tests"
KINDS: Final = ("Guardrail", "Model", "ModelDeployment", "ModelSnapshot", "RoutingTable")


class Gone(Enum):
    """In a table of changes: the field goes. An enumeration, so that it prints the same in every process."""

    GONE = "gone"


GONE: Final = Gone.GONE
_FOLDER: Final = Path(__file__).parent / "manifests"


def examples(kind: str) -> list[Object]:
    """All valid manifests of a kind; the first has every field that can stand together."""
    return copy.deepcopy(_parsed(kind))


@functools.cache  # thousands of tests begin with one of them, and to parse takes longer than most of them
def _parsed(kind: str) -> list[Object]:
    documents = list(yaml.safe_load_all((_FOLDER / f"{kind.lower()}.yaml").read_text()))
    for document in documents:
        document["metadata"]["namespace"] = NAMESPACE
    return documents


def example(kind: str, name: str = "") -> Object:
    """The example of that name, or the first of its kind."""
    return next(document for document in examples(kind) if name in ("", document["metadata"]["name"]))


def changed(obj: Object, changes: Mapping[str, Any]) -> Object:
    """A copy with values set (or GONE) at dotted paths; whole numbers are list indices."""
    result = copy.deepcopy(obj)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        target: Any = result
        for part in parents:
            target = target[part] if isinstance(part, int) else target.setdefault(part, {})
        if value is GONE:
            del target[last]
        else:
            target[last] = value
    return result


def to_store(obj: Object) -> Object:
    """The example under a name of its own, so that dry runs can create the other one beside it."""
    return changed(obj, {"metadata.name": f"stored-{obj['metadata']['name']}"})

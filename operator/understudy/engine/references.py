"""Which ConfigMaps and Secrets an object names, found by the field names that Kubernetes uses for it.

One walk over the whole spec instead of a list of places: a reference in a projected volume of an
init container is found like one in `env`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

Reference = tuple[Literal["ConfigMap", "Secret"], str]

_CONFIG_MAP_FIELDS: Final = frozenset({"configMap", "configMapRef", "configMapKeyRef"})
_SECRET_FIELDS: Final = frozenset({"secret", "secretRef", "secretKeyRef", "tokenSecretRef"})


def references(spec: Any) -> frozenset[Reference]:
    """Every (kind, name) in `spec`, a whole spec or any part of one."""
    return frozenset(_walk(spec))


def _walk(node: Any) -> Iterator[Reference]:
    if isinstance(node, Mapping):
        for field, value in node.items():
            yield from _named(field, value)
            yield from _walk(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _walk(item)


def _named(field: str, value: Any) -> Iterator[Reference]:
    if field == "imagePullSecrets" and isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Mapping) and isinstance(item.get("name"), str):
                yield "Secret", item["name"]
    if not isinstance(value, Mapping):
        return
    if field in _CONFIG_MAP_FIELDS and isinstance(value.get("name"), str):
        yield "ConfigMap", value["name"]
    if field in _SECRET_FIELDS:
        # A secret volume says secretName, every other reference says name.
        name = value.get("secretName") or value.get("name")
        if isinstance(name, str):
            yield "Secret", name

"""Which ConfigMaps and Secrets an object names, found by the field names that Kubernetes uses for it.

One walk over the whole spec instead of a list of places: a reference in a projected volume of an
init container is found like one in `env`.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

Reference = tuple[Literal["ConfigMap", "Secret"], str]

_CONFIG_MAP_FIELDS: Final = frozenset({"caRef", "configMap", "configMapRef", "configMapKeyRef"})
_SECRET_FIELDS: Final = frozenset({"secret", "secretRef", "secretKeyRef", "tokenSecretRef"})
_FIELDS: Final = _CONFIG_MAP_FIELDS | _SECRET_FIELDS | {"imagePullSecrets"}


def references(spec: Any) -> frozenset[Reference]:
    """Every (kind, name) in `spec`, a whole spec or any part of one, of dicts, lists and tuples."""
    found: set[Reference] = set()
    ahead = [spec]
    while ahead:
        node = ahead.pop()
        if isinstance(node, dict):
            for field, value in node.items():
                if isinstance(value, dict | list | tuple):
                    ahead.append(value)
                    if field in _FIELDS:
                        found.update(_named(field, value))
        elif isinstance(node, list | tuple):
            ahead.extend(node)
    return frozenset(found)


def _named(field: str, value: Any) -> Iterator[Reference]:
    if field == "imagePullSecrets" and isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                yield "Secret", item["name"]
    if not isinstance(value, dict):
        return
    if field in _CONFIG_MAP_FIELDS and isinstance(value.get("name"), str):
        yield "ConfigMap", value["name"]
    if field in _SECRET_FIELDS:
        # A secret volume says secretName, every other reference says name.
        name = value.get("secretName") or value.get("name")
        if isinstance(name, str):
            yield "Secret", name

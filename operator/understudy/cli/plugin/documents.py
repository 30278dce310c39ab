"""The same facts for machines: JSON and YAML with the names that manifests use."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import yaml


def document(value: Any) -> Any:
    """A dataclass as a mapping in camelCase; None and empty collections are left out of mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((_camel(f.name), document(getattr(value, f.name))) for f in fields(value))
        return {name: item for name, item in pairs if item is not None and item not in ([], {}, "")}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    return value


def rendered(value: Any, form: str) -> str:
    """`value` as `json` or `yaml` text, ending in a newline."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

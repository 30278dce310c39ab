"""The ConfigMap patch that teaches Argo CD our kinds, put together from the Lua files beside it.

The files lie as Argo CD keeps its own (`resource_customizations/<group>/<Kind>/…`), so that they can be
tested one by one, and handed in there.
"""

from pathlib import Path
from typing import Any

import yaml

from understudy.crdgen.yamltext import HEADER


class _Text(str):
    """Text that YAML writes as a block, as people read scripts."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Knows blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")


_Dumper.add_representer(_Text, _block)


def config_map(folder: Path) -> str:
    """YAML of the patch for `argocd-cm`, from the customizations below the folder."""
    data: dict[str, str] = {}
    for kind in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        name = f"{kind.parent.name}_{kind.name}"
        data[f"resource.customizations.health.{name}"] = _Text((kind / "health.lua").read_text(encoding="utf-8"))
        if (kind / "actions").is_dir():
            data[f"resource.customizations.actions.{name}"] = _Text(_dump(_actions(kind / "actions")))
    metadata = {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}}
    return HEADER + _dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _actions(folder: Path) -> dict[str, Any]:
    scripts = sorted(folder.glob("*/action.lua"))
    return {
        "discovery.lua": _Text((folder / "discovery.lua").read_text(encoding="utf-8")),
        "definitions": [
            {"name": path.parent.name, "action.lua": _Text(path.read_text(encoding="utf-8"))} for path in scripts
        ],
    }


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=110)

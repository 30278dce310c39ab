"""Every generated file with its content: what `make generate` writes and `make verify` compares."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from understudy.crdgen import argocd, rbac, reference
from understudy.crdgen.compat import breaking
from understudy.crdgen.crd import crd, crd_name
from understudy.crdgen.kinds import KINDS, Kind
from understudy.crdgen.structural import Schema
from understudy.crdgen.values import values_schema, values_yaml
from understudy.crdgen.yamltext import HEADER, for_helm, to_yaml

_CHART = PurePosixPath("charts/understudy")
_ARGOCD = PurePosixPath("argocd")
_CRDS = PurePosixPath("crds")
_CHART_CRDS = _CHART / "templates" / "crds"
_REFERENCE = PurePosixPath("docs/reference")
# Folders whose every file is generated: what is left over there belongs to a kind that is gone.
_OWNED = (_CRDS, _CHART_CRDS, _REFERENCE)


def generated(root: Path) -> dict[PurePosixPath, str]:
    """Content by path below the top of the repository, which also holds the Lua files for Argo CD."""
    files = {
        _CHART / "values.yaml": HEADER + values_yaml(),
        _CHART / "values.schema.json": json.dumps(values_schema(), indent=2, sort_keys=True) + "\n",
        _CHART / "templates" / "_rules.tpl": _helm_comment() + rbac.template(),
        _ARGOCD / "argocd-cm.yaml": argocd.config_map(root / _ARGOCD / "resource_customizations"),
    }
    for kind in KINDS:
        files[_CRDS / f"{crd_name(kind)}.yaml"] = HEADER + to_yaml(crd(kind))
        files[_CHART_CRDS / f"{crd_name(kind)}.yaml"] = _chart_crd(kind)
        files[_REFERENCE / f"{kind.name.lower()}.md"] = reference.page(kind)
    return files


def _chart_crd(kind: Kind) -> str:
    """The CRD as a template, so that upgrades reach it; kept on uninstall, or every object would go with it."""
    definition = crd(kind)
    definition["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    return f"{_helm_comment()}{{{{- if .Values.crds.install }}}}\n{for_helm(to_yaml(definition))}{{{{- end }}}}\n"


def _helm_comment() -> str:
    return f"{{{{- /* {HEADER[2:-1]} */ -}}}}\n"


def differing(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    """Paths whose file on disk is missing, another one, or left over; sorted."""
    changed = [path for path, text in files.items() if _read(root / path) != text]
    return sorted([*changed, *_left_over(files, root)])


def write(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    """Write what differs and remove what is left over; the paths touched, sorted."""
    touched = differing(files, root)
    for path in touched:
        target = root / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        else:
            target.unlink()
    return touched


def broken_by(files: Mapping[PurePosixPath, str], root: Path) -> list[str]:
    """Incompatible changes of the CRDs on disk; none where there is no file yet."""
    changes: list[str] = []
    for path in sorted(path for path in files if path.parent == _CRDS):
        before = _read(root / path)
        if before is not None:
            old, new = _stored_schema(before), _stored_schema(files[path])
            changes += [f"{path.stem.split('.')[0]}{change}" for change in breaking(old, new)]
    return changes


def _stored_schema(text: str) -> Schema:
    version = yaml.safe_load(text)["spec"]["versions"][0]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _left_over(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    on_disk = (PurePosixPath(file.relative_to(root)) for folder in _OWNED for file in (root / folder).glob("*"))
    return [path for path in on_disk if path not in files]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

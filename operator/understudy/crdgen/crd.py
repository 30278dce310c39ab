"""The CustomResourceDefinition of a kind."""

from typing import Any

from understudy.crdgen.kinds import Column, Kind
from understudy.crdgen.structural import Schema, structural
from understudy.domain.names import GROUP, VERSION


def crd_name(kind: Kind) -> str:
    """`<plural>.<group>`, as the API server wants the CRD to be called."""
    return f"{kind.plural}.{GROUP}"


def schema(kind: Kind) -> Schema:
    """Structural schema of the whole object."""
    source = kind.model.model_json_schema(by_alias=True)
    # The API server owns the schema of these three; rules may look at metadata.name only.
    source["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    return structural({**source, "required": ["spec"]})


def crd(kind: Kind) -> dict[str, Any]:
    """The CRD as a plain object."""
    subresources: dict[str, Any] = {"status": {}} if kind.status else {}
    if kind.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema(kind)},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if subresources:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": crd_name(kind), "labels": {"app.kubernetes.io/name": "understudy"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["understudy"],
            },
            "versions": [version],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    extra: dict[str, Any] = {"priority": 1} if column.wide else {}
    if column.description:
        extra["description"] = column.description
    return {"name": column.name, "jsonPath": column.path, "type": column.type, **extra}

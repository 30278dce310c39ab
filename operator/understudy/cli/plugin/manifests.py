"""What stands in the files of -f: the deployments to forecast, and the objects that would be applied with them."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from understudy.cli.plugin import flags, parsing
from understudy.cli.plugin.failure import PluginError
from understudy.domain.names import API_VERSION
from understudy.kube.client import Object
from understudy.kube.resources import CONFIG_MAP, GUARDRAIL, MODEL, MODEL_DEPLOYMENT, SECRET, Resource

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_READ: Final[Mapping[tuple[str, str], Resource]] = {
    (resource.api_version, resource.kind): resource
    for resource in (MODEL_DEPLOYMENT, MODEL, GUARDRAIL, CONFIG_MAP, SECRET)
}
_OWN_KINDS: Final = (MODEL_DEPLOYMENT.kind, MODEL.kind, GUARDRAIL.kind)


@dataclass(frozen=True, slots=True)
class Manifests:
    """Objects of the files that a forecast looks at, with namespaces; `namespaces` are those that the files make."""

    objects: tuple[tuple[Resource, Object], ...]
    namespaces: frozenset[str]

    def of(self, resource: Resource) -> list[Object]:
        """Those of one kind, in the order of the files."""
        return [obj for kind, obj in self.objects if kind == resource]


def read(paths: list[str], namespace: str, *, given: bool) -> Manifests:
    """The files, folders or `-`; `namespace` is for objects that name none, `given` whether -n was said.

    PluginError says which document of which file is wrong, and what to write instead.
    """
    objects, namespaces = [], set()
    for where, document in (found for path in paths for found in _documents(path)):
        if document.get("kind") == "Namespace":
            namespaces.add(str((document.get("metadata") or {}).get("name", "")))
            continue
        resource = _resource(where, document)
        if resource is not None:
            objects.append((resource, _placed(where, document, namespace, given=given)))
    return Manifests(tuple(objects), frozenset(namespaces))


def _documents(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, text in _texts(path):
        parsed = parsing.documents(name, text)
        for number, document in enumerate(parsed, 1):
            where = f"{name}, document {number}" if len(parsed) > 1 else name
            if document is None:
                continue
            if not isinstance(document, Mapping):
                raise PluginError(f"{where} holds no object: write apiVersion, kind, metadata and spec")
            items = document.get("items") if str(document.get("kind", "")).endswith("List") else [document]
            if not isinstance(items, list | None):
                raise PluginError(f"{where} is a list without items: write its objects under items, each after a dash")
            yield from ((where, item) for item in items or () if isinstance(item, Mapping))


def _texts(path: str) -> Iterator[tuple[str, str]]:
    if path == "-":
        yield "standard input", parsing.text_of("standard input", sys.stdin)
        return
    folder = Path(path)
    files = sorted(f for f in folder.iterdir() if f.suffix in _SUFFIXES) if folder.is_dir() else [folder]
    for file in files:
        try:
            with file.open() as stream:
                yield str(file), parsing.text_of(str(file), stream)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise PluginError(f"cannot read {file}: {why}") from error


def _resource(where: str, document: Mapping[str, Any]) -> Resource | None:
    version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
    if not kind:
        raise PluginError(f"{where} has no kind: write kind: ModelDeployment and apiVersion: {API_VERSION}")
    if (
        kind in _OWN_KINDS
        and version.partition("/")[0] in ("", API_VERSION.partition("/")[0])
        and version != API_VERSION
    ):
        raise PluginError(f"{where}: {kind} has apiVersion {version or 'none'}: write apiVersion: {API_VERSION}")
    return _READ.get((version, kind))


def _placed(where: str, document: Mapping[str, Any], namespace: str, *, given: bool) -> dict[str, Any]:
    meta = document.get("metadata")
    if not isinstance(meta, Mapping) or not meta.get("name"):
        raise PluginError(f"{where} has no name: write metadata: {{name: …}}")
    own = meta.get("namespace")
    for what, word, right in (("name", meta["name"], flags.is_name), ("namespace", own, flags.is_namespace)):
        if word and not (isinstance(word, str) and right(word)):
            raise PluginError(f"{where}: metadata.{what} is {word!r:.80}: {flags.NAMES}")
    if own and given and own != namespace:
        raise PluginError(f"{where} is for namespace {own}, and -n says {namespace}: leave one of them out")
    return {**document, "metadata": {**meta, "namespace": own or namespace}}

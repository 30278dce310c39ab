"""Contents of the few ConfigMaps that a deployment names, read when they are needed.

The cache keeps only a hash of every ConfigMap; a plan that copies one for a revision needs the whole.
Kept per resourceVersion, so that an unchanged ConfigMap is read once per process.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from understudy.engine.cache import Cache, Ref
from understudy.engine.references import Reference
from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError, NotFound
from understudy.kube.resources import CONFIG_MAP
from understudy.kube.trim import CONTENT_HASH, content_hash

_KEPT = 256  # ConfigMaps; at most 1 MiB each, usually a few kB


class ConfigMapContents:
    """Reads ConfigMaps through the API server, remembering the last few versions."""

    def __init__(self, client: KubeClient, cache: Cache) -> None:
        self._client = client
        self._cache = cache
        self._read: OrderedDict[Ref, Object] = OrderedDict()

    async def read(self, namespace: str, references: Iterable[Reference]) -> dict[str, Object]:
        """By name, each existing ConfigMap among the references, with `data` and `binaryData`.

        Raises ApiError when one cannot be read now.
        """
        found: dict[str, Object] = {}
        for kind, name in sorted(references):
            if kind == "ConfigMap" and self._cache.get(CONFIG_MAP, namespace, name) is not None:
                obj = await self._whole(Ref(CONFIG_MAP, namespace, name))
                if obj is not None:
                    found[name] = obj
        return found

    async def _whole(self, ref: Ref) -> Object | None:
        cached = self._cache.get(ref.resource, ref.namespace, ref.name)
        known = self._read.get(ref)
        if known is not None and cached is not None and _version(known) == _version(cached):
            self._read.move_to_end(ref)
            return known
        try:
            raw = await self._client.get(ref.resource, ref.namespace, ref.name)
        except ApiError as error:
            if isinstance(error.failure, NotFound):
                return None
            raise
        whole: dict[str, Any] = {key: raw[key] for key in ("data", "binaryData", "immutable") if key in raw}
        meta = {key: raw["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")}
        self._read[ref] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            CONTENT_HASH: content_hash(raw),
            **whole,
        }
        while len(self._read) > _KEPT:
            self._read.popitem(last=False)
        return self._read[ref]


def _version(obj: Object) -> Any:
    return obj["metadata"].get("resourceVersion")

"""What the commands read from the cluster, and the annotations that are all they write."""

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.overview import Children
from understudy.domain.names import ANNOTATION_KEEP, ANNOTATION_REQUEST, LABEL_DEPLOYMENT
from understudy.kube.client import KubeClient, Object, Scope
from understudy.kube.errors import ApiError, Conflict, NotFound
from understudy.kube.resources import DEPLOYMENT, MODEL_DEPLOYMENT, MODEL_SNAPSHOT, POD, Resource

# Who owns these annotations.
FIELD_MANAGER = "kubectl-understudy"
_NAMED = 8  # as many names as a sentence lists


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one cluster; `namespace` is where names are looked up, "" = everywhere. Raises ApiError."""

    client: KubeClient
    namespace: str

    async def listed(self, resource: Resource, selector: str = "", namespace: str | None = None) -> list[Object]:
        """Every object of a resource, page by page; `namespace` instead of the reader's own."""
        where = self.namespace if namespace is None else namespace
        scope, found, token = Scope(resource, where, label_selector=selector), list[Object](), ""
        while True:
            page = await self.client.list_page(scope, continue_token=token)
            found.extend(page.items)
            token = page.continue_token
            if not token:
                return found

    async def found(self, resource: Resource, name: str) -> Object | None:
        """One object, None if it is not there."""
        try:
            return await self.client.get(resource, self.namespace, name)
        except ApiError as error:
            # A kind that the server does not know is no object that is missing.
            if isinstance(error.failure, NotFound) and "page not found" not in error.message:
                return None
            raise

    async def deployment(self, name: str) -> Object:
        """A ModelDeployment; PluginError with the names that there are."""
        found = await self.found(MODEL_DEPLOYMENT, name)
        if found is not None:
            return found
        names = sorted(obj["metadata"]["name"] for obj in await self.listed(MODEL_DEPLOYMENT))
        raise PluginError(f"there is no ModelDeployment {name} in namespace {self.namespace}; {_there_is(names)}")

    async def children(self, name: str = "") -> Children:
        """Snapshots, pools and pods of one deployment, or of all; what may not be read is noted."""
        selector = f"{LABEL_DEPLOYMENT}={name}" if name else LABEL_DEPLOYMENT
        notes: list[str] = []
        snapshots = await self._allowed(MODEL_SNAPSHOT, selector, notes)
        before = len(notes)
        pools = await self._allowed(DEPLOYMENT, selector, notes)
        pods = await self._allowed(POD, selector, notes)
        return Children(snapshots, pools, pods, tuple(notes), counted=len(notes) == before)

    async def snapshots(self, name: str = "") -> list[Object]:
        """The records of one deployment, or of all."""
        return await self.listed(MODEL_SNAPSHOT, f"{LABEL_DEPLOYMENT}={name}" if name else "")

    async def request(self, deployment: Object, value: str) -> None:
        """Annotate exactly this deployment with a request; PluginError if it is another one by now."""
        await self._annotate(MODEL_DEPLOYMENT, deployment, {ANNOTATION_REQUEST: value})

    async def keep(self, snapshot: Object, *, keep: bool) -> None:
        """Keep a record, or keep it no longer; PluginError if it is another one by now."""
        # A value that says no, since somebody else's annotation cannot be taken away by an apply.
        said = {ANNOTATION_KEEP: "true" if keep else "false"}
        await self._annotate(MODEL_SNAPSHOT, snapshot, said)

    async def _annotate(self, resource: Resource, obj: Object, annotations: dict[str, str]) -> None:
        meta = obj["metadata"]
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "annotations": annotations,
            },
        }
        try:
            await self.client.apply(resource, body, manager=FIELD_MANAGER)
        except ApiError as error:
            if isinstance(error.failure, Conflict):
                raise PluginError(f"{meta['name']} was deleted and made again meanwhile: look at it first") from error
            raise

    async def _allowed(self, resource: Resource, selector: str, notes: list[str]) -> list[Object]:
        try:
            return await self.listed(resource, selector)
        except ApiError as error:
            if error.status != 403:
                raise
            notes.append(f"not shown: {resource.plural}, which you may not list here")
            return []


def of(children: Children, deployment: Object) -> Children:
    """The part of the children that belongs to one deployment."""
    meta = deployment["metadata"]

    def own(objects: Sequence[Object]) -> list[Object]:
        return [
            obj
            for obj in objects
            if obj["metadata"].get("namespace") == meta["namespace"]
            and (obj["metadata"].get("labels") or {}).get(LABEL_DEPLOYMENT) == meta["name"]
        ]

    return Children(own(children.snapshots), own(children.pools), own(children.pods), children.notes, children.counted)


def _there_is(names: Sequence[str]) -> str:
    if not names:
        return "there is none; give -n NAMESPACE for another one"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"there is: {', '.join(names[:_NAMED])}{more}"

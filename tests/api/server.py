"""A real API server over one kept-alive connection: as fast as a few hundred dry runs need it to be."""

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import yaml

from tests.api.examples import Object, changed


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: HTTP status, decoded body, warning headers."""

    status: int
    body: Object
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Server:
    """Requests on plain dicts, by one thread; never raises on an HTTP status, OSError when the server is away."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "client.pem"
            both.touch(mode=0o600)
            both.write_text(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            context.load_cert_chain(both)
        address = urlsplit(cluster["server"])
        assert address.hostname
        self._connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=60, context=context)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        user: str = "",
        **query: str,
    ) -> Answer:
        """One request, as administrator or as `user`; a connection that was closed meanwhile is opened again."""
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": content_type, "Accept": accept}
        if user:
            headers["Impersonate-User"] = user
        data = json.dumps(body) if body is not None else None
        try:
            response, raw = self._exchanged(method, target, data, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            response, raw = self._exchanged(method, target, data, headers)
        warnings = tuple(response.headers.get_all("Warning") or ())
        try:
            decoded = json.loads(raw)
        except ValueError:
            decoded = {"message": raw.decode(errors="replace")}
        return Answer(response.status, decoded, warnings)

    def _exchanged(
        self, method: str, target: str, data: str | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer with its body; after anything else the next request finds a new connection."""
        try:
            self._connection.request(method, target, data, headers)
            response = self._connection.getresponse()
            return response, response.read()
        except http.client.HTTPException as error:
            self._connection.close()
            if isinstance(error, OSError):
                raise
            raise ConnectionError(f"{method} {target}: {error!r}") from error
        except OSError:
            self._connection.close()
            raise

    def create(self, obj: Object, **query: str) -> Answer:
        return self.request("POST", collection(obj), obj, **query)

    def dry_create(self, obj: Object) -> Answer:
        """Everything that a creation does but the writing; an unknown field is refused."""
        return self.create(obj, dryRun="All", fieldValidation="Strict")

    def dry_merge(self, obj: Object, patch: Object, subresource: str = "") -> Answer:
        """Everything that a merge patch of an existing object does but the writing."""
        path = f"{collection(obj)}/{obj['metadata']['name']}{subresource}"
        return self.request(
            "PATCH", path, patch, "application/merge-patch+json", dryRun="All", fieldValidation="Strict"
        )

    def first_event(self, path: str, name: str, after: str) -> Object:
        """The object in the first watch event of that name after a resourceVersion."""
        query = {"watch": "true", "resourceVersion": after, "timeoutSeconds": "60"}
        selected = urlencode({**query, "fieldSelector": f"metadata.name={name}"})
        self._connection.request("GET", f"{path}?{selected}", headers={"Accept": "application/json"})
        response = self._connection.getresponse()
        event: Object = json.loads(response.readline())
        self._connection.close()  # the rest of the watch is of no interest
        response.close()
        found: Object = event["object"]
        return found

    def delete(self, obj: Object) -> None:
        """Delete and wait until it is gone; fine when it never was."""
        path = f"{collection(obj)}/{obj['metadata']['name']}"
        self.request("DELETE", path)
        until(lambda: Answer(200 if self.request("GET", path).status == 404 else 409, {"message": f"{path} stays"}))

    def apply(self, obj: Object, manager: str, **query: str) -> Answer:
        path = f"{collection(obj)}/{obj['metadata']['name']}"
        return self.request(
            "PATCH", path, obj, "application/apply-patch+yaml", fieldManager=manager, force="true", **query
        )


def collection(obj: Object) -> str:
    """Path of the collection that the object belongs to."""
    version = obj["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = obj["metadata"].get("namespace")
    inside = f"/namespaces/{namespace}" if namespace else ""
    kind = obj["kind"].lower()
    return f"{root}{inside}/{kind.removesuffix('y') + 'ies' if kind.endswith('policy') else kind + 's'}"


def until(attempt: Callable[[], Answer], seconds: float = 180.0) -> Answer:
    """Ask again until the answer is ok; fails with the last answer's message when even a busy server should have."""
    deadline = time.monotonic() + seconds
    while not (answer := attempt()).ok:
        assert time.monotonic() < deadline, answer.message
        time.sleep(0.2)
    return answer


def installed(server: Server, crd: Object) -> None:
    """Write the CRD if the server's differs (an installed chart may own it), and wait until it is served."""
    path = f"{collection(crd)}/{crd['metadata']['name']}"
    live = server.request("GET", path)
    if live.ok and _same(live.body, crd):
        return
    answer = server.apply(changed(crd, _AS_THE_CHART), "helm")
    assert answer.ok, answer.message
    until(lambda: _established(server.request("GET", path)))
    # The server may answer by the old schema for a moment; its OpenAPI document changes last.
    time.sleep(3.0)


# As the chart writes them, and by its name: Helm then takes them for its own, before or after.
_AS_THE_CHART = {
    "metadata.labels": {"app.kubernetes.io/name": "understudy", "app.kubernetes.io/managed-by": "Helm"},
    "metadata.annotations": {
        "helm.sh/resource-policy": "keep",
        "meta.helm.sh/release-name": "understudy",
        "meta.helm.sh/release-namespace": "understudy-system",
    },
}


def _same(live: Object, crd: Object) -> bool:
    ours, theirs = crd["spec"]["versions"][0], live["spec"]["versions"][0]
    return all(ours.get(key) == theirs.get(key) for key in ("schema", "additionalPrinterColumns", "subresources"))


def _established(answer: Answer) -> Answer:
    conditions = answer.body.get("status", {}).get("conditions") or []
    up = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
    return answer if up else Answer(503, {"message": "the CRD is not established"})


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()

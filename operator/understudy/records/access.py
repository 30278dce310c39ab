"""Who may read which records: asked of the API server, which knows the caller's token and what RBAC gives him.

Records of a deployment are parts of it there, `modeldeployments/requests` and so on, which one may `get`; so a Role in
a namespace lets somebody read the records of that namespace, and a ClusterRole those of all.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.names import GROUP
from understudy.gateway import kubeapi
from understudy.gateway.reviews import user_of

LOG: Final = logging.getLogger(__name__)
RESOURCE: Final = "modeldeployments"
# Who lost a right reads on for so long.
_FRESH_SECONDS: Final = 10.0
_MOST: Final = 1000
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Asked:
    """Records of one kind, of a deployment, of a namespace, or ("") of all."""

    kind: str
    namespace: str = ""
    deployment: str = ""

    def right(self) -> str:
        """What one must have to read them, as a sentence says it."""
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        return f"get {RESOURCE}/{self.kind}.{GROUP} in {where}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who asks, "" for nobody who is known, and whether he may."""

    user: str
    allowed: bool


class Access:
    """Asks `server`, and remembers what it said for some seconds; `clock` gives monotonic ones."""

    def __init__(self, server: kubeapi.ApiServer | None, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._known: dict[tuple[bytes, Asked], tuple[float, Verdict]] = {}

    async def verdict(self, token: str, asked: Asked) -> Verdict:
        """Whether whoever shows the token may read; raises OSError or ApiError when nobody can say."""
        key = (hashlib.sha256(token.encode()).digest(), asked)
        at, verdict = self._known.get(key, (float("-inf"), Verdict("", allowed=False)))
        now = self._clock()
        if now - at >= _FRESH_SECONDS:
            verdict = await self._ask(token, asked)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (now, verdict)
        # What is read of people is to be known afterwards.
        LOG.info("%s %s %s", verdict.user or "nobody", "reads" if verdict.allowed else "may not read", asked.right())
        return verdict

    async def _ask(self, token: str, asked: Asked) -> Verdict:
        user = await user_of(self._server, token)
        if user is None or self._server is None:
            return Verdict("", allowed=False)
        attributes = {"group": GROUP, "resource": RESOURCE, "subresource": asked.kind, "verb": "get"}
        where = {"namespace": asked.namespace, "name": asked.deployment}
        said: dict[str, Any] = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "resourceAttributes": {**attributes, **{name: value for name, value in where.items() if value}},
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": said}
        status = (await kubeapi.request(self._server, "POST", _REVIEWS, review)).get("status", {})
        return Verdict(str(said["user"]), status.get("allowed") is True)

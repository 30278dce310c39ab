"""Who shows a token: asked of the API server, whose answer is good for a minute, and for ten while it is away."""

import hashlib
from typing import Any, Final

from understudy.domain.names import ADMIN_AUDIENCE
from understudy.gateway import kubeapi

_FRESH_SECONDS: Final = 60.0
_STALE_SECONDS: Final = 600.0
_MAX_REVIEWS: Final = 1000
_REVIEW_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


class Reviews:
    """Who a token belongs to, asked of the API server and remembered."""

    def __init__(self, server: kubeapi.ApiServer | None, subjects: tuple[str, ...]) -> None:
        self._server = server
        self._subjects = subjects
        self._known: dict[bytes, tuple[float, bool]] = {}

    async def allow(self, token: str, now: float) -> bool:
        """Whether the token is an allowed subject's; raises OSError or ApiError when nobody can say."""
        digest = hashlib.sha256(token.encode()).digest()
        at, allowed = self._known.get(digest, (float("-inf"), False))
        if now - at < _FRESH_SECONDS:
            return allowed
        try:
            said = await self._ask(token)
        except (OSError, kubeapi.ApiError):
            if allowed and now - at < _STALE_SECONDS:
                return True
            raise
        if len(self._known) >= _MAX_REVIEWS:
            self._known.clear()
        self._known[digest] = (now, said)
        return said

    async def _ask(self, token: str) -> bool:
        user = await user_of(self._server, token)
        return user is not None and user.get("username") in self._subjects


async def user_of(server: kubeapi.ApiServer | None, token: str) -> dict[str, Any] | None:
    """Whose token it is, as the API server tells it; None for one that is nobody's, or not meant for us.

    Raises OSError or ApiError when nobody can say.
    """
    if server is None:
        raise ConnectionError("there is no API server to ask")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [ADMIN_AUDIENCE]},
    }
    status = (await kubeapi.request(server, "POST", _REVIEW_PATH, review)).get("status", {})
    if not status.get("authenticated") or ADMIN_AUDIENCE not in (status.get("audiences") or ()):
        return None
    user: dict[str, Any] = status.get("user", {})
    return user

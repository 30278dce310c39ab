"""The token that a question shows."""

from fastapi import Request
from starlette.exceptions import HTTPException

from understudy.domain.names import ADMIN_AUDIENCE


def token_of(request: Request) -> str:
    """The bearer token; raises HTTPException 401 where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, f"send a ServiceAccount token with audience {ADMIN_AUDIENCE}")
    return token

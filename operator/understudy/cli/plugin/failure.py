"""A mistake or a cluster that cannot help: one sentence for whoever typed the command, never a traceback."""

from understudy.kube.errors import ApiError, NotFound


class PluginError(Exception):
    """Ends the command with this sentence and exit status 1."""


def sentence(error: ApiError, server: str, context: str) -> str:
    """What to tell a person about a request that did not succeed."""
    where = f"the API server at {server}" + (f" (context {context})" if context else "")
    if error.status == 0:
        return f"cannot reach {where}: {error.message}; is the cluster up, and is it the one that you mean?"
    if error.status == 401:
        return f"{where} does not accept these credentials: log in again, or choose another --context"
    if error.status == 403:
        return f"not allowed: {error.message}"
    if isinstance(error.failure, NotFound) and "page not found" in error.message:
        return f"{where} knows no ModelDeployments: install Understudy first (its Helm chart brings the CRDs)"
    return f"{where} says: {error.message or error.reason}"

"""Which of two ways leads to a cluster here: released images from a container registry, or everything from packages.

Decided by asking the registries once, quickly; a machine that reaches only package indexes says no or says nothing.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Literal

Way = Literal["registry", "packages"]
REGISTRIES = ("https://registry-1.docker.io/v2/", "https://registry.k8s.io/v2/")
SECONDS = 4.0


def choose(
    configured: str | None = None,
    reachable: Callable[[str], bool] | None = None,
    registries: Iterable[str] = REGISTRIES,
) -> Way:
    """The way to go: the one `configured` names (by default `$UNDERSTUDY_WAY`), otherwise what the registries say.

    Released images are pulled from all of `registries`, so every one of them must be reachable.

    Raises ValueError for any other configured word.
    """
    word = os.environ.get("UNDERSTUDY_WAY", "") if configured is None else configured
    if word in ("registry", "packages"):
        return "registry" if word == "registry" else "packages"
    if word not in ("", "auto"):
        raise ValueError(f"UNDERSTUDY_WAY is {word!r}; write registry, packages or auto")
    asks = answers if reachable is None else reachable
    return "registry" if all(asks(registry) for registry in registries) else "packages"


def answers(registry: str) -> bool:
    """Whether a registry's version endpoint says anything that a registry says: even "log in first" will do."""
    request = urllib.request.Request(registry, headers={"User-Agent": "understudy-local"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # nosec B310 - REGISTRIES above
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False

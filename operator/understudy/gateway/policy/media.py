"""Media in a request: engines load what a URL names, so a URL is a way to make them ask anybody anything.

Taken are `data:` URLs, and http(s) URLs whose host and port the deployment lists, in a form that no two parsers read
differently: a plain host, no user, no escapes in it, nothing beyond ASCII.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from understudy.gateway.policy.refusal import Refusal, bad_request

_URL: Final = re.compile(
    r"(https?)://([a-z0-9][-a-z0-9.]{0,252})(?::([0-9]{1,5}))?(?:[/?][!-\[\]-~]*)?", re.ASCII | re.IGNORECASE
)
_PORTS: Final = {"http": "80", "https": "443"}
# Where parts of messages, and inputs of embeddings and scores, hold what is to be loaded.
_LOADED: Final = frozenset({"image_url", "audio_url", "video_url", "file_url", "image", "audio", "video"})
# Tensors, which engines read with torch; an object that only the engine's own process can have; and the name by which
# a medium is kept in a cache that all tenants share.
_REFUSED: Final = frozenset({"image_embeds", "audio_embeds", "video_embeds", "prompt_embeds", "image_pil", "uuid"})
# What a medium stands under, or is.
_NAMES: Final = _LOADED | _REFUSED | {"input_audio"}
_NESTED: Final = (list, dict)
# Fields of a request that hold no media, whatever is in them: schemas, numbers, texts.
_WITHOUT: Final = frozenset(
    {
        "tools", "functions", "tool_choice", "function_call", "response_format", "structured_outputs", "text", "audio",
        "guided_json", "guided_choice", "chat_template_kwargs", "metadata", "logit_bias", "stop", "stop_token_ids",
        "stream_options", "prompt", "tokens", "bad_words", "allowed_token_ids", "reasoning", "prediction",
    }
)  # fmt: skip


def bad_media(body: Mapping[str, Any], hosts: Collection[str]) -> Refusal | None:
    """The refusal for the first medium that may not be loaded; `hosts` are the ones allowed, some with a port."""
    for name, value in body.items():
        if value.__class__ in _NESTED and name not in _WITHOUT and not _is_text(value):
            for loaded, url in _media(value):
                if url is None:
                    return bad_request(f"{name}: {loaded} is not taken from clients", name)
                if not is_allowed(url, hosts):
                    message = (
                        f"{name}: {loaded} must be a data: URL, or a plain one of a host that the deployment lists"
                    )
                    return bad_request(message, name)
    return None


def is_allowed(url: str, hosts: Collection[str]) -> bool:
    """Whether an engine may load `url`. A host without a port stands for the scheme's own port."""
    if url[:5].lower() == "data:":
        return True
    found = _URL.fullmatch(url) if hosts else None
    if found is None:
        return False
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    if port is None or port == _PORTS[scheme]:
        return host in hosts or f"{host}:{_PORTS[scheme]}" in hosts
    return f"{host}:{port}" in hosts


def weigh_media(body: Mapping[str, Any]) -> tuple[int, int]:
    """How many media a request has, and how many of its bytes are theirs, not text."""
    sizes: list[int] = []
    for name, value in body.items():
        if value.__class__ in _NESTED and name not in _WITHOUT and not _is_text(value):
            sizes += _sizes(value)
    return len(sizes), sum(sizes)


def _is_text(value: Any) -> bool:
    """Whether no medium can be in `value`. Most requests are texts, and to see that takes a third of a search."""
    if value.__class__ is dict:
        if not _NAMES.isdisjoint(value):
            return False
        kind = value.get("type")
        if kind.__class__ is str and kind in _REFUSED:
            return False
        value = value.values()
    for inner in value:  # noqa: SIM110  # on every request's path, and half as long as all() of a generator
        if inner.__class__ in _NESTED and not _is_text(inner):
            return False
    return True


def _sizes(value: Any) -> Iterator[int]:
    """The lengths of all media anywhere in `value`, those included that stand there without a URL."""
    if value.__class__ is list:
        for inner in value:
            if inner.__class__ in _NESTED:
                yield from _sizes(inner)
        return
    for key, inner in value.items():
        if key in _LOADED:
            yield from (len(url) for _, url in _urls(key, inner) if url is not None)
        elif key == "input_audio":
            data = inner.get("data") if inner.__class__ is dict else None
            yield len(data) if data.__class__ is str else 0
        elif inner.__class__ in _NESTED:
            yield from _sizes(inner)


def _media(value: Any) -> Iterator[tuple[str, str | None]]:
    """What is to be loaded anywhere in `value`: the key that it stands under and its URL, None for what has none."""
    if value.__class__ is list:
        for inner in value:
            if inner.__class__ in _NESTED:
                yield from _media(inner)
        return
    kind = value.get("type")
    if kind.__class__ is str and kind in _REFUSED:
        yield kind, None
    for key, inner in value.items():
        if key in _REFUSED:
            yield key, None
        elif key in _LOADED:
            yield from _urls(key, inner)
        elif inner.__class__ in _NESTED:
            yield from _media(inner)


def _urls(key: str, value: Any) -> Iterator[tuple[str, str | None]]:
    if value.__class__ is str:
        yield key, value
    elif value.__class__ is list:
        for inner in value:
            yield from _urls(key, inner)
    elif value.__class__ is dict:
        yield from _urls(key, value.get("url"))
        yield from _media(value)

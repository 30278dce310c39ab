"""What a simulated engine says: prompt in, tokens and OpenAI-shaped JSON out; no clock and no socket."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from understudy.sim.behaviour import Behaviour

Endpoint = Literal["chat", "completions", "responses"]
_STORY: Final = """
the moon harbour lantern a quiet fox opened door beneath old bridge and waited while river carried
paper boats toward morning someone sang about winter keys garden clock thunder compass silver map
"""
MAX_CHOICES: Final = 16


class RefusedError(ValueError):
    """A request that an engine refuses: HTTP status, OpenAI error type, and the field at fault."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, kind: str = "BadRequestError"):
        super().__init__(message)
        self.param = param
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Served:
    """What the engine serves: model id, path of the weights, and context length in tokens."""

    model_id: str
    root: str
    max_model_len: int


@dataclass(frozen=True, slots=True)
class Request:
    """A validated completion request; `limit` is the most tokens that it may be answered with."""

    endpoint: Endpoint
    prompt: str
    prompt_tokens: int
    limit: int
    stream: bool
    include_usage: bool
    continuous_usage: bool
    choices: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens of one answer, leading spaces included, and why it ends."""

    tokens: tuple[str, ...]
    finish_reason: Literal["stop", "length"]

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.tokens)


def read_request(endpoint: Endpoint, body: Any, served: Served, names: Sequence[str]) -> Request:
    """Check a request's JSON as an engine would; raises RefusedError with the field at fault."""
    if not isinstance(body, dict):
        raise RefusedError("the body must be a JSON object")
    model = body.get("model")
    if model not in names:
        raise RefusedError(f"The model `{model}` does not exist.", param="model", status=404, kind="NotFoundError")
    prompt = _prompt(endpoint, body)
    prompt_tokens = max(1, len(prompt.split()))
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RefusedError("stream_options must be an object", param="stream_options")
    stream = _flag(body, "stream")
    if options and not stream:
        raise RefusedError("stream_options is only allowed with stream", param="stream_options")
    return Request(
        endpoint=endpoint,
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        limit=_limit(body, prompt_tokens, served.max_model_len),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        choices=_whole(body, "n", 1, low=1, high=MAX_CHOICES),
    )


def answer(request: Request, behaviour: Behaviour, seed: str) -> Answer:
    """The answer to a request: the scripted text, or words drawn from `seed` and the prompt.

    The same prompt under the same seed is answered the same way, so a replayed conversation can be compared.
    """
    if behaviour.text:
        words: list[str] = behaviour.text.split()
    else:
        draw = random.Random(f"{seed}\n{request.prompt}")  # nosec B311
        words = draw.choices(_STORY.split(), k=behaviour.tokens)
    tokens = tuple(word if i == 0 else f" {word}" for i, word in enumerate(words))
    if len(tokens) > request.limit:
        return Answer(tokens=tokens[: request.limit], finish_reason="length")
    return Answer(tokens=tokens, finish_reason="stop")


def usage(request: Request, completion_tokens: int) -> dict[str, int]:
    """The usage object after `completion_tokens` tokens."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": request.prompt_tokens + completion_tokens,
    }


def models(served: Served, created: int) -> dict[str, Any]:
    """The answer of `/v1/models`."""
    card = {
        "id": served.model_id,
        "object": "model",
        "created": created,
        "owned_by": "understudy-sim",
        "root": served.root,
        "parent": None,
        "max_model_len": served.max_model_len,
    }
    return {"object": "list", "data": [card]}


def whole(request: Request, said: Answer, head: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is not streamed; `head` holds id, created, model and system_fingerprint."""
    chat = request.endpoint == "chat"
    said_as: dict[str, Any] = {"message": {"role": "assistant", "content": said.text}} if chat else {"text": said.text}
    end = {"logprobs": None, "finish_reason": said.finish_reason}
    return {
        **head,
        "object": "chat.completion" if chat else "text_completion",
        "choices": [{"index": index, **said_as, **end} for index in range(request.choices)],
        "usage": usage(request, len(said.tokens) * request.choices),
    }


class Chunks:
    """Server-sent events of one streamed answer, as bytes; only the parts that change are serialised per token."""

    def __init__(self, request: Request, head: Mapping[str, Any]) -> None:
        self._request = request
        kind = "chat.completion.chunk" if request.endpoint == "chat" else "text_completion"
        self._head = orjson.dumps({**head, "object": kind})[:-1]

    def opening(self) -> bytes:
        """The events before the first token: the role, for chat."""
        if self._request.endpoint == "completions":
            return b""
        return b"".join(self._event(i, {"delta": {"role": "assistant", "content": ""}}, 0) for i in self._indices())

    def token(self, text: str, said: int) -> bytes:
        """The event of one token; `said` counts the tokens so far, this one included."""
        part = {"delta": {"content": text}} if self._request.endpoint == "chat" else {"text": text}
        return b"".join(self._event(i, part, said) for i in self._indices())

    def closing(self, said: Answer) -> bytes:
        """Finish reason, usage if asked for, and the end mark."""
        last: dict[str, Any] = {"delta": {}} if self._request.endpoint == "chat" else {"text": ""}
        count = len(said.tokens)
        events = [self._event(i, last, count, finish=said.finish_reason) for i in self._indices()]
        if self._request.include_usage:
            total = orjson.dumps(usage(self._request, count * self._request.choices))
            events.append(b"data: " + self._head + b',"choices":[],"usage":' + total + b"}\n\n")
        events.append(b"data: [DONE]\n\n")
        return b"".join(events)

    def _indices(self) -> range:
        return range(self._request.choices)

    def _event(self, index: int, part: Mapping[str, Any], said: int, finish: str | None = None) -> bytes:
        choice = {"index": index, **part, "logprobs": None, "finish_reason": finish}
        event = b"data: " + self._head + b',"choices":[' + orjson.dumps(choice) + b"]"
        if self._request.continuous_usage:
            event += b',"usage":' + orjson.dumps(usage(self._request, said * self._request.choices))
        return event + b"}\n\n"


def _prompt(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    if endpoint == "chat":
        return _chat_prompt(body.get("messages"), "messages")
    if endpoint == "completions":
        return _text_prompt(body.get("prompt"))
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return f"{body.get('instructions') or ''}\n{_chat_prompt(messages, 'input')}"


def _chat_prompt(messages: Any, field: str) -> str:
    if not isinstance(messages, list) or not messages:
        raise RefusedError(f"{field} must be a list with at least one message", param=field)
    parts: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RefusedError("each message needs a role", param=field)
        content = message.get("content")
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if not isinstance(content, str | None):
            raise RefusedError("content must be a string or a list of parts", param=field)
        parts.append(f"{message['role']}: {content or ''}")
    return "\n".join(parts)


def _text_prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RefusedError("prompt must be a string", param="prompt")
    return prompt


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise RefusedError(f"{name} must be true or false", param=name)
    return bool(value)


def _whole(body: Mapping[str, Any], name: str, default: int, *, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RefusedError(f"{name} must be a whole number from {low} to {high}", param=name)
    return value


def _limit(body: Mapping[str, Any], prompt_tokens: int, context: int) -> int:
    names = ("max_completion_tokens", "max_output_tokens")
    name = next((name for name in names if body.get(name) is not None), "max_tokens")
    room = context - prompt_tokens
    if room < 1:
        raise RefusedError(f"the prompt has {prompt_tokens} tokens, the context holds {context}", param="messages")
    limit = _whole(body, name, room, low=1, high=10**9)
    if limit > room:
        message = f"{name} {limit} and a prompt of {prompt_tokens} tokens exceed the context of {context}"
        raise RefusedError(message, param=name)
    return limit

"""LiteLLM as a library: its own shapes of answers and errors from ours."""

import sys
from typing import Any

import litellm
import orjson
from pydantic import BaseModel


class Hero(BaseModel):
    """Who a story is about."""

    name: str
    age: int


ASKING: Any = [{"role": "user", "content": "Who is the hero?"}]
PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
TOOLS: Any = [{"type": "function", "function": {"name": "hero", "parameters": PARAMETERS}}]


def main(base: str, key: str) -> dict[str, Any]:
    """What was understood."""
    # Otherwise it prints where to give feedback.
    litellm.suppress_debug_info = True
    ours: dict[str, Any] = {"api_base": base, "api_key": key, "num_retries": 0}
    teller, smith = "openai/storyteller", "openai/toolsmith"
    plain = litellm.completion(model=teller, messages=ASKING, **ours)
    stream = litellm.completion(
        model=teller, messages=ASKING, stream=True, stream_options={"include_usage": True}, **ours
    )
    chunks = list(stream)
    call = litellm.completion(model=smith, messages=ASKING, tools=TOOLS, **ours).choices[0].message.tool_calls[0]
    pieces = list(litellm.completion(model=smith, messages=ASKING, tools=TOOLS, stream=True, **ours))
    built = litellm.stream_chunk_builder(pieces, messages=ASKING).choices[0].message.tool_calls[0]
    schema = litellm.completion(model=teller, messages=ASKING, response_format=Hero, **ours)
    response = litellm.responses(model=teller, input="Who is the hero?", **ours)
    said = {
        "plain": plain.choices[0].message.content,
        "tokens": plain.usage.completion_tokens,
        "stream": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "stream tokens": [c.usage.completion_tokens for c in chunks if getattr(c, "usage", None)],
        "tool": [call.function.name, orjson.loads(call.function.arguments)],
        "tool stream": [built.function.name, orjson.loads(built.function.arguments)],
        "schema": Hero.model_validate_json(schema.choices[0].message.content).model_dump(),
        "response": response.output[0].content[0].text,
        "embedding": litellm.embedding(model=smith, input=["a", "b"], **ours).data[1]["embedding"],
    }
    try:
        litellm.completion(model="openai/nonesuch", messages=ASKING, **ours)
    except litellm.NotFoundError:
        said["unknown"] = "NotFoundError"
    return said


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(main(*sys.argv[1:])))

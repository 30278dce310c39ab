"""LangChain's client for OpenAI: messages, tools, structured output, embeddings, and the Responses API."""

import sys
from typing import Any

import openai
import orjson
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Hero(BaseModel):
    """Who a story is about."""

    name: str
    age: int


ASKING = "Who is the hero?"


def main(base: str, key: str) -> dict[str, Any]:
    """What was understood."""
    ours: dict[str, Any] = {"base_url": base, "api_key": key, "max_retries": 0}
    teller, smith = ChatOpenAI(model="storyteller", **ours), ChatOpenAI(model="toolsmith", **ours)
    plain = teller.invoke(ASKING)
    chunks = list(teller.stream(ASKING, stream_usage=True))
    tooled = smith.bind_tools([Hero])
    pieces = list(tooled.stream(ASKING))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    embeddings = OpenAIEmbeddings(model="toolsmith", check_embedding_ctx_length=False, **ours)
    responder = ChatOpenAI(model="storyteller", use_responses_api=True, **ours)
    said = {
        "plain": plain.text,
        "tokens": plain.usage_metadata["output_tokens"],
        "stream": "".join(chunk.text for chunk in chunks),
        "stream tokens": [chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata],
        "tool": [tooled.invoke(ASKING).tool_calls[0][part] for part in ("name", "args")],
        "tool stream": [whole.tool_calls[0][part] for part in ("name", "args")],
        "schema": teller.with_structured_output(Hero, method="json_schema").invoke(ASKING).model_dump(),
        "response": responder.invoke(ASKING).text,
        "response stream": "".join(chunk.text for chunk in responder.stream(ASKING)),
        "embedding": embeddings.embed_documents(["a", "b"])[1],
    }
    try:
        ChatOpenAI(model="nonesuch", **ours).invoke(ASKING)
    except openai.NotFoundError as error:
        said["unknown"] = error.code
    return said


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(main(*sys.argv[1:])))

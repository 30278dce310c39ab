"""Instructor: an object of a class, asked for by a tool and by JSON, whole and as it comes."""

import sys
from typing import Any

import instructor
import orjson
from openai import OpenAI
from pydantic import BaseModel


class Hero(BaseModel):
    """Who a story is about."""

    name: str
    age: int


ASKING: Any = [{"role": "user", "content": "Who is the hero?"}]


def main(base: str, key: str) -> dict[str, Any]:
    """What was understood."""
    plain = OpenAI(base_url=base, api_key=key, max_retries=0)
    by_json = instructor.from_openai(plain, mode=instructor.Mode.JSON)
    by_schema = instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)
    by_tool = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    said: dict[str, Any] = {}
    for name, client, model in (
        ("json", by_json, "storyteller"),
        ("schema", by_schema, "storyteller"),
        ("tool", by_tool, "toolsmith"),
    ):
        said[name] = client.create(model=model, messages=ASKING, response_model=Hero, max_retries=0).model_dump()
        parts = client.create_partial(model=model, messages=ASKING, response_model=Hero, max_retries=0)
        said[f"{name} stream"] = [part.model_dump() for part in parts][-1]
    return said


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(main(*sys.argv[1:])))

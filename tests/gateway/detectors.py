"""Detectors for tests: policies that ask them, and servers of theirs that answer well or in every kind of bad way."""

import asyncio
from dataclasses import replace
from typing import Any, Literal

from tests.gateway.engines import Asked, Script, answers_status, hangs, resets, sends
from understudy.guard.policy import Policy, compile_policy

BAD = "I will stab you"
FOUND, CLEAR = f"{BAD}, he said.", "Tea is ready."
Language = Literal["moderations", "chat-guard", "fms"]
LANGUAGES: tuple[Language, ...] = ("moderations", "chat-guard", "fms")
SORRY = {"error": "sorry"}
WORDS = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")


def anywhere(address: str) -> bool:
    """Tests have nothing but loopback."""
    del address
    return True


def policy(
    url: str,
    language: Language = "moderations",
    *,
    failure: str = "Closed",
    timeout: str = "30s",
    model: str = "",
    authority: str = "",
) -> Policy:
    """A Guardrail that blocks violence, which one detector finds; as long a timeout as a busy machine may need."""
    detector = {"name": "d", "type": language, "timeout": timeout, "canary": {"found": FOUND, "clear": CLEAR}}
    if language == "chat-guard":
        detector["parser"] = "llamaguard/v3"
    detector.update({"modelRef": {"name": model}} if model else {"url": "https://detector.example"})
    if authority:
        detector["caRef"] = {"name": "ca"}
    rule = {"category": "violence", "actions": {"low": ["Block"]}, "failurePolicy": failure}
    made = compile_policy("g", {"detectors": [detector], "rules": [rule]}, {"d": authority})
    # No Guardrail may name loopback, where the servers of tests are.
    return made if model else replace(made, judges=tuple(replace(judge, url=url) for judge in made.judges))


def text_of(body: dict[str, Any]) -> str:
    """The text that was asked about."""
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(body["input"] if "input" in body else body["contents"][0])


def verdict(body: dict[str, Any], *, bad: bool, model: str = "guard") -> Any:
    """What a detector of that language says."""
    if "messages" in body:
        said = {"role": "assistant", "content": "unsafe\nS1" if bad else "safe"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    if "input" in body:
        scores = {word: 0.9 if bad and word == "violence" else 0.01 for word in WORDS}
        flags = {word: score > 0.5 for word, score in scores.items()}
        return {"results": [{"flagged": bad, "categories": flags, "category_scores": scores}]}
    at = text_of(body).find(BAD)
    place = {"start": at, "end": at + len(BAD), "detection": "threat", "detection_type": "violence", "score": 0.9}
    return [[place] if bad else []]


async def judges_well(asked: Asked) -> None:
    """Finds BAD, and nothing in anything else."""
    bad = BAD in text_of(asked.body)
    await asked.answer(200, verdict(asked.body, bad=bad, model=asked.body.get("model", "guard")))


def says_always(*, bad: bool) -> Script:
    """The same to everything, as a detector that is out of order."""

    async def script(asked: Asked) -> None:
        body = {**asked.body, "contents": [BAD]} if "contents" in asked.body and bad else asked.body
        await asked.answer(200, verdict(body, bad=bad, model=asked.body.get("model", "guard")))

    return script


async def drips(asked: Asked) -> None:
    """A byte now and then, for ever."""
    await asked.send(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
    while not asked.closed.is_set():
        await asked.send(b" ")
        await asyncio.sleep(0.01)


async def breaks_off(asked: Asked) -> None:
    """Half an answer."""
    await asked.send(b'HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{"results": [')
    asked.reset()


async def floods(asked: Asked) -> None:
    """Ten megabytes, of which nobody may read more than a little."""
    await asked.answer(200, b"[" + b" " * 10_000_000 + b"]")


def answers(body: bytes) -> Script:
    """Always these bytes."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, body)

    return script


Fault = tuple[Script, str, Literal["error", "timeout", "unparseable"]]
# By name: what a server does, the detector's timeout, and what has to be said of it.
FAULTS: dict[str, Fault] = {
    "hangs": (hangs, "25ms", "timeout"),
    "drips": (drips, "25ms", "timeout"),
    "500": (answers_status(500, SORRY), "30s", "error"),
    "503": (answers_status(503, SORRY), "30s", "error"),
    "404": (answers_status(404, SORRY), "30s", "error"),
    "429": (answers_status(429, SORRY), "30s", "error"),
    "redirect": (
        sends(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n[]"),
        "30s",
        "error",
    ),
    "resets": (resets, "30s", "error"),
    "breaks off": (breaks_off, "30s", "error"),
    "no HTTP": (sends(b"220 mail.example ESMTP\r\n"), "30s", "error"),
    "floods": (floods, "30s", "error"),
    "html": (answers(b"<html>busy</html>"), "30s", "unparseable"),
    "empty": (answers(b""), "30s", "unparseable"),
    "null": (answers(b"null"), "30s", "unparseable"),
    "another's": (answers(b'{"safe": true}'), "30s", "unparseable"),
}

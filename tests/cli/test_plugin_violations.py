"""What guardrails found, asked of the records and told in columns."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.fakeapi import fake_api
from tests.records.serving import records
from tests.records.test_ingest import SEGMENT
from tests.records.test_reads import reader_api
from tests.records.test_subjects import OLD, violation
from understudy.cli.plugin.main import main
from understudy.cli.plugin.screen import Screen
from understudy.cli.plugin.violations import shown
from understudy.cli.said import said
from understudy.gateway.kubeapi import ApiError

FOUND: dict[str, Any] = {
    "time": "1970-01-01T00:16:40.000Z", "deployment": "team-a/story", "revision": "73cba436", "guardrail": "safety",
    "category": "pii", "entity": "EMAIL", "severity": 4, "direction": "output", "action": "Redact",
    "player": "0123456789abcdef", "session": None,
}  # fmt: skip


def lines(*items: dict[str, Any], more: bool = False) -> list[str]:
    return shown(items, more=more, since=86_400.0, screen=Screen(), now=1060.0)


def test_findings_are_told_with_where_they_were_and_what_was_done() -> None:
    other = {**FOUND, "severity": 6, "category": "self_harm", "entity": None, "revision": None, "player": None}
    head, first, second = lines(FOUND, {**other, "session": "fedcba9876543210"})
    assert head.split() == [
        "AGE", "DEPLOYMENT", "REVISION", "GUARDRAIL", "CATEGORY", "SEVERITY", "ON", "ACTION", "PLAYER",
    ]  # fmt: skip
    assert first.split() == [
        "60s", "team-a/story", "73cba436", "safety", "pii", "(EMAIL)", "4", "output", "Redact", "01234567",
    ]  # fmt: skip
    assert second.split() == ["60s", "team-a/story", "safety", "self_harm", "6", "output", "Redact", "fedcba98"]


def test_it_is_said_when_there_are_none_and_when_there_are_more() -> None:
    assert lines() == ["no violations in the last 24 h"]
    assert lines(FOUND, more=True)[-1] == "the newest 1; --limit shows more"


async def command(*words: str) -> int:
    return await asyncio.to_thread(main, ["violations", *words])


async def test_the_records_are_asked_for_what_the_flags_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("reader\n")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = [
        violation(1, time=now, deployment="team-a/story"),
        violation(2, time=now, deployment="team-a/tale", category="self_harm", severity=6),
        violation(3, time=now, deployment="team-b/story"),
        violation(4, deployment="team-a/story", time="2026-10-01T00:00:00Z"),
    ]
    async with fake_api() as api, records(tmp_path, time.time, api.url, keys=OLD) as r:
        reader_api(api)
        await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": told}, "gateway")
        monkeypatch.setenv("UNDERSTUDY_RECORDS", r.base + "/")
        token = f"--token-file={tmp_path}/token"
        for words, ids in (
            (("-n", "team-a"), ["v-2", "v-1"]),
            (("-n", "team-a", "story"), ["v-1"]),
            (("-n", "team-a", "--severity=5"), ["v-2"]),
            (("-n", "team-a", "--category=pii"), ["v-1"]),
            ((), ["v-3", "v-2", "v-1"]),
            (("--limit=1",), ["v-3"]),
        ):
            assert await command(*words, token, "-o", "json") == 0
            assert [one["violationId"] for one in json.loads(capsys.readouterr().out)["items"]] == ids
        assert await command("-n", "team-a", token) == 0
        assert "self_harm" in capsys.readouterr().out
        (tmp_path / "token").write_text("other")
        assert await command("-n", "team-a", token) == 1
        right = "system:serviceaccount:x:y may not get modeldeployments/violations.understudy.dev in namespace team-a"
        assert capsys.readouterr().err == f"kubectl understudy: the records say: {right}\n"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("story", "--records=http://127.0.0.1:9"), 1, "story may be in any namespace: add -n NAMESPACE"),
        (("--records=",), 1, "no records are named: give --records https://…, or set UNDERSTUDY_RECORDS"),
        (("--records=http://127.0.0.1:9",), 1, "cannot ask the records at http://127.0.0.1:9: "),
        (("--records=http://127.0.0.1:9", "--token-file=/nowhere"), 1, "No such file or directory: '/nowhere'"),
        (("--limit=0",), 2, "'0': write a number from 1 to 1000"),
        (("--severity=9",), 2, "invalid choice: 9"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(
    words: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = main(["violations", *words])
    except SystemExit as error:
        ended = int(str(error.code))
    assert (ended, sentence in capsys.readouterr().err) == (status, True)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ApiError(403, '{"error":{"code":"x","message":"you may not'), "you may not"),
        (ApiError(502, "<html>"), "502: <html>"),
        (TimeoutError(), "TimeoutError"),
        (OSError("away"), "away"),
    ],
)
def test_of_an_answer_its_sentence_is_told(error: ApiError | OSError, sentence: str) -> None:
    assert said(error) == sentence

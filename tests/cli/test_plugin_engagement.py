"""Where a player stands, asked of a gateway and told in columns."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from understudy.cli.plugin.engagement import shown
from understudy.cli.plugin.main import main
from understudy.cli.plugin.screen import Screen

FOUND: dict[str, Any] = {
    "player": "anna", "level": 2, "present": 1, "time": 1, "control": 2, "signs": ["E4", "E9"], "crisis": True,
    "figures": {
        "daily_minutes": 132.25, "escalated_days": 0, "late_night_share": None, "late_nights": None, "binges": 4,
        "failed_stop": 0.625, "failed_stop_at_least": 0.5, "reminder_override": 0.0, "reminder_override_at_least": 0.0,
        "limit_easing": 1, "rapid_return": 0.0, "sessions": 2, "cues": ["prefers_bot", "fear_of_addiction"],
    },
    "interventions": [{"rule": "Remind", "level": 2, "at": 1000.0, "until": 1900.0}],
    "state": {}, "policy": "",
}  # fmt: skip


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A gateway that answers so, and what it was asked: paths, and who asked."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_standing_is_told_with_what_it_comes_from() -> None:
    lines = shown(FOUND, Screen(), 1060.0)
    assert lines[:2] == [
        "anna: L2 at risk, in a crisis (volume 1, control 2)",
        "L1 by now; held until seven whole days were below L2",
    ]
    assert "E1     minutes today                                132.25" in lines
    assert "E3     share at night, and nights a week            -, -" in lines
    assert "E4     stretches without a break, 28 days           4                                a sign" in lines
    assert "E9     cues, 7 days                                 prefers_bot, fear_of_addiction   a sign" in lines
    assert lines[-1] == "Remind at L2, 60s ago"


def test_what_a_ladder_had_done_is_told_with_its_rung() -> None:
    done = {"rule": "CoolDown", "level": 0, "at": 1000.0, "until": 1900.0, "guardrail": "games/calm", "rung": 1}
    assert shown({**FOUND, "interventions": [done]}, Screen(), 1060.0)[-1] == (
        "CoolDown by ladder[1] of games/calm, 60s ago"
    )
    del done["rung"]
    assert shown({**FOUND, "interventions": [{**done, "ruleNumber": 2}]}, Screen(), 1060.0)[-1] == (
        "CoolDown by rules[2] of games/calm, 60s ago"
    )


def test_one_who_is_well_has_nothing_held_against_them() -> None:
    well = {**FOUND, "level": 0, "present": 0, "crisis": False, "signs": [], "interventions": []}
    well["figures"] = {**FOUND["figures"], "cues": []}
    lines = shown(well, Screen(), 0.0)
    assert lines[0] == "anna: L0 healthy (volume 1, control 2)"
    assert lines[1].startswith("SIGN")
    assert lines[-1].split() == ["E9", "cues,", "7", "days", "none"]


def test_the_gateway_is_asked_with_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("us-file\n")
    with answering(200, json.dumps(FOUND).encode()) as (url, asked):
        monkeypatch.setenv("UNDERSTUDY_KEY", "us-env")
        assert main(["engagement", "anna", "--gateway", url]) == 0
        assert main(["engagement", "a/b", "--gateway", url + "/", f"--key-file={tmp_path}/key", "-o", "json"]) == 0
    assert asked == [("/v1/engagement/anna", "Bearer us-env"), ("/v1/engagement/a%2Fb", "Bearer us-file")]
    said = capsys.readouterr().out
    assert said.startswith("anna: L2 at risk")
    assert json.loads(said[said.index("\n{") :]) == FOUND


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--gateway", "gateway"), "no gateway is named: give --gateway https://…, or set UNDERSTUDY_GATEWAY"),
        (("--gateway", "http://127.0.0.1:9"), "no access key is given: give --key-file, or set UNDERSTUDY_KEY"),
        (("--gateway", "http://x", "--key-file", "/nowhere"), "/nowhere cannot be read: No such file or directory"),
        (("--gateway", "https://x", "--ca-file", "/nowhere"), "/nowhere cannot be read: No such file or directory"),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.delenv("UNDERSTUDY_KEY", raising=False)
    assert main(["engagement", "anna", *flags]) == 1
    assert capsys.readouterr().err == f"kubectl understudy: {sentence}\n"


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, b'{"error": {"message": "nothing is known of this player"}}', "says: nothing is known of this player"),
        (502, b"<html>", "the gateway says: 502 Bad Gateway"),
        (200, b"<html>", "cannot ask the gateway at http://127.0.0.1:"),
    ],
)
def test_what_the_gateway_says_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, body: bytes, sentence: str
) -> None:
    monkeypatch.setenv("UNDERSTUDY_KEY", "us-env")
    with answering(status, body) as (url, _):
        assert main(["engagement", "anna", "--gateway", url]) == 1
    assert sentence in capsys.readouterr().err

"""The operator's benchmark, without an API server: what it reads from the audit log, replays and writes."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.control_plane.__main__ import BOUNDS, broken, main, page, table
from bench.control_plane.actors import Answering, Gateways
from bench.control_plane.audit import Audit, writes
from bench.control_plane.fleet import Figures, Lengths, deployment
from bench.control_plane.script import NAME, lines
from bench.control_plane.servers import OPERATOR, REHEARSED
from understudy.domain.state import parse_state

UID, OTHER = "0c1fb6a6-5a3e-4a43-9c9d-0a4f6f0f7d11", "7d3c2b1a-5a3e-4a43-9c9d-0a4f6f0f7d22"


def entry(verb: str, resource: str, stage: str = "ResponseComplete", **more: Any) -> bytes:
    """A line of the audit log, as the API server writes it."""
    about = {"resource": resource, "namespace": REHEARSED, "name": NAME}
    line = {
        "verb": verb,
        "stage": stage,
        "requestURI": f"/apis/x/v1/namespaces/{REHEARSED}/{resource}/{NAME}?fieldManager=understudy",
        "user": {"username": OPERATOR},
        "objectRef": {**about, **more.pop("about", {})},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.250000Z",
        "stageTimestamp": "2026-01-01T00:00:00.500000Z",
        "responseStatus": {"code": 200},
        **more,
    }
    return orjson.dumps(line) + b"\n"


def figures(**values: float) -> Figures:
    reached = {bound.name: bound.limit for bound in BOUNDS}
    return Figures(1000, {"children": 9, "serving": 11}, {**reached, **values}, {"watch pods": 12.0})


def test_the_audit_log_is_read_as_it_grows_and_a_watch_counts_when_it_begins(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    whole = entry("patch", "models") + entry("watch", "pods", "ResponseStarted") + entry("watch", "pods")
    log.write_bytes(whole[:-20])
    audit = Audit(log)
    assert [call.verb for call in audit.read()] == ["patch", "watch"]
    log.write_bytes(whole + entry("patch", "leases") + entry("patch", "models", about={"subresource": "status"}))
    assert [call.resource for call in audit.read()] == ["leases", "models/status"]
    assert [call.resource for call in writes(audit.of(OPERATOR))] == ["models", "models/status"]
    assert audit.calls[0].done - audit.calls[0].came == 0.25


def test_a_script_is_spoken_for_another_deployment_with_its_own_uids(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    meta = {"name": NAME, "namespace": REHEARSED, "uid": UID, "resourceVersion": "7"}
    step = {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    status = [{"op": "replace", "path": "/metadata/uid", "value": UID}, step]
    log.write_bytes(
        entry("patch", "models", requestObject={"metadata": meta}, responseObject={"metadata": meta})
        + entry("patch", "models", requestObject=status)
    )
    audit = Audit(log)
    first, second = lines(audit.read())
    assert first.uid == UID
    path, body = first.spoken("space", "model-00001", {UID: OTHER})
    assert path == "/apis/x/v1/namespaces/space/models/model-00001?fieldManager=understudy"
    assert orjson.loads(body) == {"metadata": {"name": "model-00001", "namespace": "space", "uid": OTHER}}
    _, body = second.spoken("space", "model-00001", {UID: OTHER})
    assert orjson.loads(body) == [{"op": "replace", "path": "/metadata/uid", "value": OTHER}]


def test_what_the_gateways_say_is_a_state_whose_counters_grow() -> None:
    gateways = Gateways(None)  # type: ignore[arg-type]  # it asks nothing of the API server here
    variants = [{"revision": "0123abcd", "service": "talk-0123abcd"}]
    gateways.heard(
        "ADDED",
        {
            "metadata": {"namespace": "s", "name": "talk", "uid": UID, "generation": 2},
            "spec": {"epoch": 1, "variants": variants},
        },
    )
    gateways.began -= 10
    for path in ("/state", "/state?deployments=s/talk,s/walk"):
        assert set(parse_state(orjson.loads(gateways.state("127.0.1.1", path))).deployments) == {"s/talk"}
    assert parse_state(orjson.loads(gateways.state("127.0.1.1", "/state?deployments="))).deployments == {}
    state = parse_state(orjson.loads(gateways.state("127.0.1.1", "/state"))).deployments["s/talk"]
    assert (state.table_uid, state.table_generation) == (UID, 2)
    assert state.revisions["0123abcd"].attempts >= 20


def test_requests_that_come_in_pieces_or_together_are_each_answered_once() -> None:
    sent: list[bytes] = []

    class Wire:
        def get_extra_info(self, _: str) -> tuple[str, int]:
            return "127.64.0.1", 8000

        write = staticmethod(sent.append)

    asked: list[tuple[str, str]] = []
    protocol = Answering(lambda address, path: asked.append((address, path)) or b"{}")  # type: ignore[func-returns-value]
    protocol.connection_made(Wire())  # type: ignore[arg-type]
    post = b"POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
    both = b"GET /a HTTP/1.1\r\n\r\n" + post
    protocol.data_received(both[:-2])
    assert asked == [("127.64.0.1", "/a")]
    protocol.data_received(both[-2:] + post)
    assert [path for _, path in asked] == ["/a", "/b", "/b"]
    assert len(sent) == 3


def test_a_missed_figure_is_said_and_a_reached_one_is_not() -> None:
    assert list(broken([figures()])) == []
    (said,) = broken([figures(**{"restart.writes": 2.0})])
    assert said == "restart: writes: 2, limit 0 (1000)"
    (said,) = broken([figures(**{"edit.missed": 1.0})])
    assert said.startswith("1 changes of kind edit")


def test_the_page_has_all_sizes_side_by_side_and_says_what_was_missed() -> None:
    found = [figures(), figures(**{"restart.synced": 12.5})]
    text = page(found, Lengths(330, 200, 50))
    assert "Missed: restart: synced: 12.5 s, limit 10 (1000)." in text
    assert "- watch pods: 12" in text
    assert table(found).count("\n") > 30


@pytest.mark.parametrize(("idle", "resync"), [(330, True), (60, False)])
def test_the_page_says_whether_the_idle_hour_had_a_resync(idle: float, resync: bool) -> None:
    assert ("a resync included" in page([figures()], Lengths(idle, 200, 50))) == resync


@pytest.mark.parametrize("rest", [True, False])
def test_the_page_says_what_the_bare_client_was_spared(rest: bool) -> None:
    assert ("it was spared" in page([figures()], Lengths(330, 200, 50, rest=rest))) != rest


def test_each_deployment_has_words_of_its_own_and_the_same_ones_in_each_run() -> None:
    specs = [deployment(name, "weights")["spec"]["engine"] for name in ("model-00001", "model-00002", "model-00001")]
    assert specs[0] == specs[2]
    assert specs[0] != specs[1]
    assert len({len(str(spec)) for spec in specs}) == 1


def test_help_says_how_to_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m bench.control_plane" in capsys.readouterr().out

"""Records on a gateway's disk: none is lost without a count, whatever becomes of process and disk."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from understudy.gateway.outbox import Outbox, Segment
from understudy.gateway.policy.segments import LANES, Kind, Lane

SMALL = 64 * 1024


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "0", SMALL, wall=lambda: 1000.0)
    yield made
    made.close()


def body(number: int, size: int = 0) -> bytes:
    return orjson.dumps({"n": number, "filling": "x" * size})


def lines(segment: Segment) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in segment.path.read_bytes().splitlines()]


def waiting(box: Outbox) -> list[dict[str, Any]]:
    """All lines that wait, in the order in which they would be sent; they are told as sent."""
    found: list[dict[str, Any]] = []
    while (segment := box.next()) is not None:
        box.seal()
        found += lines(segment)[segment.told :]
        box.told(segment, segment.lines, segment.size)
    return found


def killed(box: Outbox) -> None:
    """End it as SIGKILL would: what the kernel has is all that is left."""
    os.close(box._lock)
    for descriptor in box._open.values():
        os.close(descriptor)


def test_a_record_is_on_the_disk_when_it_was_taken(box: Outbox) -> None:
    box.put("request", body(1))
    segment = box.next()
    assert segment is not None
    assert lines(segment) == [{"kind": "request", "n": 1, "filling": ""}]
    assert (box.written["request"], box.dropped.total(), box.size) == (1, 0, segment.path.stat().st_size)
    assert segment.path.stat().st_mode & 0o777 == 0o600


def test_what_was_told_is_forgotten_with_its_file(box: Outbox, tmp_path: Path) -> None:
    for number in range(3):
        box.put("request", body(number))
    segment = box.next()
    assert segment is not None
    box.told(segment, 3, segment.size)
    assert box.next() is None
    box.put("request", body(3))
    assert box.next() is segment
    box.seal()
    box.told(segment, 4, segment.size)
    assert box.next() is None
    assert (box.size, [path.name for path in (tmp_path / "0").iterdir()]) == (0, ["lock"])


def test_what_must_not_be_lost_is_sent_first(box: Outbox) -> None:
    box.put("request", body(1))
    box.put("violation", body(2))
    box.put("crisis", body(3))
    assert [line["kind"] for line in waiting(box)] == ["violation", "crisis", "request"]


def test_the_oldest_requests_make_way_and_are_counted(box: Outbox, tmp_path: Path) -> None:
    for number in range(200):
        box.put("request", body(number, 1000))
        assert sum(path.stat().st_size for path in (tmp_path / "0").iterdir()) <= SMALL
    found = waiting(box)
    records = [line["n"] for line in found if line["kind"] == "request"]
    assert records == list(range(200 - len(records), 200))
    # Whole segments went; each is told with how many lines it had.
    ended = [line for line in found if line["kind"] == "ended"]
    assert sum(line["lines"] for line in ended) == 200 - len(records) == box.dropped["request"]
    assert box.written["request"] == 200


def test_of_a_segment_that_makes_way_only_what_waits_is_dropped(box: Outbox) -> None:
    for number in range(45):
        box.put("request", body(number, 1000))
    segment = box.next()
    assert segment is not None
    box.told(segment, 2, len(b"".join(segment.path.read_bytes().splitlines(keepends=True)[:2])))
    for number in range(4):
        box.put("request", body(number, 1000))
    assert box.dropped["request"] == segment.lines - 2


def issued(number: int) -> Kind:
    """Of a hundred records: of most in common segments one is of a player, and ten must not be lost."""
    return "sign" if number % 10 == 0 else "engagement" if number % 3 == 0 else "request"


def stored(found: list[dict[str, Any]]) -> Counter[Kind]:
    return Counter(line["kind"] for line in found if line["kind"] in LANES)


def test_of_each_kind_what_was_issued_is_stored_or_counted(box: Outbox) -> None:
    taken = [box.put(issued(number), body(number, 1000)) for number in range(200)]
    assert all(taken)
    found = stored(waiting(box))
    assert box.dropped["engagement"] > 10 < box.dropped["request"]
    assert box.written == Counter(map(issued, range(200))) == found + box.dropped


def test_of_each_kind_it_holds_where_the_next_process_has_no_room_for_what_was_left(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "0", SMALL)
    for number in range(40):
        first.put(issued(number), body(number, 1000))
    killed(first)
    second = Outbox(tmp_path / "0", SMALL)
    for number in range(40, 100):
        second.put(issued(number), body(number, 1000))
    assert Counter(map(issued, range(100))) == stored(waiting(second)) + first.dropped + second.dropped
    assert second.dropped["engagement"] > 5
    second.close()


def test_of_each_kind_it_holds_where_somebody_deleted_files_or_a_record_is_too_long(box: Outbox) -> None:
    for number in range(20):
        box.put(issued(number), body(number))
    assert not box.put("crisis", body(20, 70_000))
    # Then there is room for what is told of that.
    assert box.put("request", body(21))
    for segment in [box._segments[lane][0] for lane in get_args(Lane)]:
        box.gone(segment)
    expected = Counter(map(issued, range(20))) + Counter({"crisis": 1, "request": 1})
    assert stored(waiting(box)) + box.dropped == expected
    assert box.dropped["engagement"] > 0 < box.dropped["sign"]


def test_a_quarter_is_kept_free_of_requests(box: Outbox) -> None:
    for number in range(200):
        box.put("request", body(number, 1000))
    for number in range(15):
        box.put("violation", body(number, 1000))
    assert box.dropped["violation"] == 0
    found = [line["n"] for line in waiting(box) if line["kind"] == "violation"]
    assert found == list(range(15))


def test_violations_take_the_room_of_requests_and_then_are_counted_themselves(box: Outbox) -> None:
    for number in range(60):
        box.put("request", body(number, 1000))
    for number in range(100):
        box.put("violation", body(number, 1000))
    dropped = box.dropped["violation"]
    assert 30 < dropped < 50
    assert box.dropped["request"] == 60
    found = waiting(box)
    assert [line["n"] for line in found if line["kind"] == "violation"] == list(range(100 - dropped))
    # What could not be told for want of room is told as soon as there is some.
    told = found + waiting(box)
    assert sum(line["count"] for line in told if line["kind"] == "lost") == dropped
    assert sum(line["lines"] for line in told if line["kind"] == "ended") == 60


def test_a_record_that_is_too_long_is_counted(box: Outbox) -> None:
    box.put("request", body(1, 70_000))
    assert (box.dropped["request"], waiting(box)) == (1, [{"kind": "lost", "of": "request", "count": 1}])


def test_what_a_killed_process_left_is_sent_by_the_next(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "0", SMALL)
    first.put("request", body(1))
    first.put("crisis", body(2))
    killed(first)
    second = Outbox(tmp_path / "0", SMALL)
    second.put("request", body(3))
    assert [line["n"] for line in waiting(second)] == [2, 1, 3]
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["lock"]
    second.close()


def test_a_line_without_its_end_is_counted(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "0", SMALL)
    first.put("request", body(1))
    name = first._segments["common"][0].name
    killed(first)
    with (tmp_path / "0" / name).open("ab") as file:
        file.write(b'{"kind":"req')
    second = Outbox(tmp_path / "0", SMALL)
    segment = second.next()
    assert segment is not None
    assert (segment.lines, segment.torn) == (2, True)
    second.told(segment, 1, 10)
    assert waiting(second) == [{"kind": "ended", "segment": name, "lines": 2}]
    assert second.size == 0
    second.close()


def test_a_file_that_was_made_and_not_written_to_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "0123456789abcdef-c00000001").touch()
    (tmp_path / "0" / "0123456789abcdef-c00000002").write_bytes(b"half")
    box = Outbox(tmp_path / "0", SMALL)
    assert waiting(box) == [{"kind": "ended", "segment": "0123456789abcdef-c00000002", "lines": 1}]
    box.close()


def test_what_made_way_before_a_kill_is_told_by_the_next(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "0", SMALL)
    for number in range(60):
        first.put("request", body(number, 1000))
    dropped = first.dropped["request"]
    # It was killed before it had told of the last one.
    (name, lines), *_ = first._ended.items()
    killed(first)
    second = Outbox(tmp_path / "0", SMALL)
    found = waiting(second)
    assert {"kind": "ended", "segment": name, "lines": lines} in found
    assert sum(line["lines"] for line in found if line["kind"] == "ended") == dropped
    assert sum(line["kind"] == "request" for line in found) == 60 - dropped
    second.close()


def test_a_folder_has_one_process_alone(box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.outbox._PATIENCE", 0.01)
    with pytest.raises(OSError, match="0 is used by another process"):
        Outbox(tmp_path / "0", SMALL)


def test_what_workers_left_that_are_not_there_any_more_is_taken_over(tmp_path: Path) -> None:
    other = Outbox(tmp_path / "1", SMALL)
    other.put("request", body(7))
    killed(other)
    box = Outbox(tmp_path / "0", SMALL, [tmp_path / "1"])
    assert [line["n"] for line in waiting(box)] == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    box.close()


def test_what_cannot_be_read_of_what_was_left_lies_aside_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Outbox(tmp_path / "0", SMALL)
    first.put("request", body(1))
    killed(first)
    name = "0123456789abcdef-k00000001"
    # What the kernel answers for a damaged block takes a damaged disk: a folder cannot be read either.
    (tmp_path / "0" / name).mkdir()
    box = Outbox(tmp_path / "0", SMALL)
    assert (box.unreadable, [line["n"] for line in waiting(box)]) == (1, [1])
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == [f"{name}.unreadable", "lock"]
    assert "cannot be read, and are left to lie as" in caplog.text
    box.close()
    again = Outbox(tmp_path / "0", SMALL)
    assert (again.unreadable, again.next()) == (0, None)
    again.close()


def test_what_a_failing_disk_does_not_even_let_be_renamed_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    (tmp_path / "0" / "0123456789abcdef-c00000001").mkdir()
    (tmp_path / "1" / "0123456789abcdef-c00000002").mkdir()

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "rename", fails)
    box = Outbox(tmp_path / "0", SMALL, [tmp_path / "1", tmp_path / "nowhere"])
    box.put("request", body(1))
    assert (box.unreadable, [line["n"] for line in waiting(box)]) == (1, [1])
    box.close()


def test_a_segment_that_is_set_aside_is_told_as_lost_even_by_the_next_process(box: Outbox, tmp_path: Path) -> None:
    for number in range(3):
        box.put("violation", body(number))
    segment = box.next()
    assert segment is not None
    box.told(segment, 1, 10)
    box.set_aside(segment, "as the test says")
    box.set_aside(segment, "once more, which changes nothing")
    assert (box.unreadable, box.dropped["violation"], box.size) == (1, 2, 0)
    killed(box)
    again = Outbox(tmp_path / "0", SMALL)
    assert waiting(again) == [{"kind": "ended", "segment": segment.name, "lines": 3}]
    assert len((tmp_path / "0" / f"{segment.name}.unreadable").read_bytes().splitlines()) == 3
    again.close()
    box._lock = os.open(tmp_path / "0" / "lock", os.O_WRONLY)


def test_a_disk_that_fails_is_complained_of_once_and_its_records_are_counted(
    box: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    box.put("request", body(0))
    written = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, line: written(descriptor, line[:5]))
        for number in range(3):
            box.put("request", body(number))
    box.put("request", body(4))
    assert len(caplog.records) == 1
    assert "records cannot be kept in" in caplog.text
    found = waiting(box)
    assert found == [
        {"kind": "lost", "of": "request", "count": 3},
        {"kind": "request", "n": 0, "filling": ""},
        {"kind": "request", "n": 4, "filling": ""},
    ]


def test_it_is_told_since_when_a_record_waits(tmp_path: Path) -> None:
    now = [1000.0]
    box = Outbox(tmp_path / "0", SMALL, wall=lambda: now[0])
    assert box.age() == 0
    box.put("request", body(1))
    now[0] += 30
    box.put("request", body(2))
    assert box.age() == 30
    segment = box.next()
    assert segment is not None
    box.told(segment, 1, 10, since=1030.0)
    assert box.age() == 0
    now[0] += 5
    assert box.age() == 5
    box.told(segment, 2, segment.size)
    assert box.age() == 0
    now[0] += 100
    box.put("request", body(3))
    assert box.age() == 0
    box.close()

"""When a budget begins anew: local midnights, with days that are short, long, missing, or begin at one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.budget import PERIODS, Kind, zone
from understudy.records.policy.periods import period_at

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Africa/Cairo", "Asia/Kolkata", "Pacific/Apia",
         "Asia/Beirut", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Kiritimati")  # fmt: skip


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("kind", "where", "now", "starts", "ends"),
    [
        ("day", "UTC", "2026-11-30 08:00", "2026-11-30 00:00", "2026-12-01 00:00"),
        ("day", "UTC", "2026-11-30 00:00", "2026-11-30 00:00", "2026-12-01 00:00"),
        ("week", "UTC", "2026-11-29 23:59", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("week", "UTC", "2026-11-30 00:00", "2026-11-30 00:00", "2026-12-07 00:00"),
        ("month", "UTC", "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("month", "UTC", "2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("month", "Asia/Kolkata", "2026-11-30 18:29", "2026-10-31 18:30", "2026-11-30 18:30"),
        # 23 and 25 hours.
        ("day", "Europe/Berlin", "2027-03-28 12:00", "2027-03-27 23:00", "2027-03-28 22:00"),
        ("day", "Europe/Berlin", "2027-10-31 12:00", "2027-10-30 22:00", "2027-10-31 23:00"),
        ("month", "Europe/Berlin", "2027-03-15 12:00", "2027-02-28 23:00", "2027-03-31 22:00"),
        # Midnight is skipped: 00:00 is 01:00 at once.
        ("day", "Asia/Beirut", "2027-03-28 12:00", "2027-03-27 22:00", "2027-03-28 21:00"),
        # Midnight comes twice: 01:00 is 00:00 again. The day begins at the first.
        ("day", "America/Havana", "2026-11-01 04:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        ("day", "America/Havana", "2026-11-01 05:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        # The whole of 30 December 2011 was left out.
        ("day", "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00", "2011-12-30 10:00"),
        ("day", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00"),
    ],
)
def test_a_period_begins_and_ends_at_local_midnight(kind: Kind, where: str, now: str, starts: str, ends: str) -> None:
    found = period_at(kind, zone(where), at(now))
    assert (found.starts, found.ends) == (at(starts), at(ends))


@given(
    kind=st.sampled_from(PERIODS),
    where=st.sampled_from(ZONES),
    now=st.integers(at("1995-01-01 00:00"), at("2037-01-01 00:00")),
)
def test_periods_follow_each_other_without_a_gap(kind: Kind, where: str, now: int) -> None:
    there = zone(where)
    found = period_at(kind, there, now)
    assert found.starts <= now < found.ends
    assert period_at(kind, there, found.starts) == found
    assert period_at(kind, there, found.ends - 1) == found
    assert period_at(kind, there, found.ends).starts == found.ends
    assert period_at(kind, there, found.starts - 1).ends == found.starts

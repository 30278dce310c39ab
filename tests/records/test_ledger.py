"""The ledger on a disk: what was answered stays, whatever happens to process, disk, clock and other processes."""

import sqlite3
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from understudy.records.database import open_database
from understudy.records.ledger import LEASE_SECONDS, Account, Budget, Granted, Ledger
from understudy.records.policy.leases import Ask, Fault

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
TEAM = Budget("understudy-system/team-a", "tokens", 100_000, "day", "UTC")
FIRST = Ask(fence=0, spent=0, held=0, keep=0, need=0, want=1_000)


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(engine: Engine, clock: Clock) -> Ledger:
    return Ledger(engine, clock)


def ask(ledger: Ledger, lease: str, budget: Budget = TEAM, question: Ask = FIRST) -> Granted:
    answer = ledger.ask(lease, f"gateway-{lease}", budget, question)
    assert isinstance(answer, Granted)
    return answer


def fault(answer: Granted | Fault | None) -> str:
    assert isinstance(answer, Fault)
    return answer.code


def only(ledger: Ledger) -> Account:
    (account,) = ledger.accounts("understudy-system/team-a")
    return account


def test_what_was_granted_is_there_after_a_restart(engine: Engine, clock: Clock, url: str) -> None:
    first = Ledger(engine, clock)
    ask(first, "a")
    ask(first, "b")
    assert ask(first, "b", question=Ask(1, 700, 0, 1_000, 0, 0)) == Granted(
        2, 1_000, LEASE_SECONDS, int(NOON) + 43_200, 98_000
    )
    assert first.end("b", 800) is None
    engine.dispose()
    again = open_database(url)
    second = Ledger(again, clock)
    assert only(second) == Account(
        account="understudy-system/team-a",
        unit="tokens",
        period="day",
        starts=int(NOON) - 43_200,
        ends=int(NOON) + 43_200,
        amount=100_000,
        settled=800,
        open=1_000,
        lost=0,
        leases=1,
    )
    # What the process before was asked last may be asked again.
    assert second.end("b", 800) is None
    assert ask(second, "a").fence == 1
    again.dispose()


def test_a_lease_lasts_as_long_as_its_holder_asks(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a")
    for fence in (1, 2, 3):
        clock.now += LEASE_SECONDS - 1
        assert ask(ledger, "a", question=Ask(fence, 10 * fence, 0, 1_000, 0, 0)).seconds == LEASE_SECONDS
    clock.now += LEASE_SECONDS
    assert fault(ledger.ask("a", "g", TEAM, Ask(4, 50, 0, 1_000, 0, 0))) == "lease_over"
    assert (only(ledger).settled, only(ledger).lost, only(ledger).open, ledger.lapsed) == (1_000, 970, 0, 1)


def test_who_was_taken_for_dead_may_still_tell_what_he_spent(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a")
    clock.now += LEASE_SECONDS
    ledger.sweep()
    assert (only(ledger).settled, only(ledger).lost) == (1_000, 1_000)
    assert ledger.end("a", 120) is None
    assert ledger.end("a", 120) is None
    assert (only(ledger).settled, only(ledger).lost) == (120, 0)
    assert fault(ledger.ask("a", "g", TEAM, Ask(2, 130, 0, 1_000, 0, 0))) == "lease_over"


def test_nothing_is_known_of_a_lease_that_never_was(ledger: Ledger) -> None:
    assert fault(ledger.ask("a", "g", TEAM, Ask(3, 0, 0, 0, 0, 0))) == "lease_unknown"
    assert fault(ledger.end("a", 0)) == "lease_unknown"
    assert fault(ledger.ask("a", "g", TEAM, Ask(0, 0, 0, 5, 0, 0))) == "bad_keep"


def test_a_repeated_question_changes_nothing_and_gets_the_same_answer(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a")
    more = Ask(1, 500, 0, 1_000, 0, 400)
    answer = ask(ledger, "a", question=more)
    clock.now += 10
    again = ask(ledger, "a", question=more)
    assert (again.fence, again.granted) == (answer.fence, answer.granted)
    # The lease began to run when the question was answered first.
    assert again.seconds == answer.seconds - 10
    assert fault(ledger.ask("a", "g", TEAM, FIRST)) == "stale_fence"


def test_a_budget_begins_anew_with_its_period(ledger: Ledger, clock: Clock) -> None:
    small = Budget(TEAM.account, "tokens", 1_000, "day", "Europe/Berlin")
    clock.now = datetime(2026, 11, 30, 22, 59, 40, tzinfo=UTC).timestamp()
    whole = Ask(0, 0, 0, 0, 1_000, 1_000)
    assert ask(ledger, "a", small, whole).seconds == 20
    assert ask(ledger, "b", small, whole).granted == 0
    clock.now += 20
    assert fault(ledger.ask("a", "g", small, Ask(1, 10, 0, 1_000, 0, 0))) == "lease_over"
    assert ask(ledger, "c", small, whole).granted == 1_000
    # The last word on the day before counts there, and today is not asked.
    assert ledger.end("a", 400) is None
    assert only(ledger).open == 1_000


def test_a_budget_of_another_kind_or_unit_is_another_budget(ledger: Ledger) -> None:
    ask(ledger, "a")
    other = Budget(TEAM.account, "tokens", 100_000, "week", "UTC")
    assert fault(ledger.ask("a", "g", other, Ask(1, 0, 0, 1_000, 0, 0))) == "lease_over"
    assert ask(ledger, "b", other).free == 99_000
    assert ask(ledger, "c", Budget(TEAM.account, "EUR", 100_000, "day", "UTC")).free == 99_000
    assert len(ledger.accounts()) == 3


def test_the_largest_budget_in_money_is_spent_and_overspent_to_the_last_billionth(ledger: Ledger) -> None:
    most = 10**17
    money = Budget(TEAM.account, "USD", most, "day", "UTC")
    assert ask(ledger, "a", money, Ask(0, 0, 0, 0, most - 1, most)).granted == most - 1
    assert ask(ledger, "b", money, Ask(0, 0, 0, 0, 1, 1)).granted == 1
    assert ask(ledger, "c", money, Ask(0, 0, 0, 0, 1, 1)).granted == 0
    assert (ledger.end("a", most - 1), ledger.end("b", 7 * most + 3), ledger.end("c", 0)) == (None, None, None)
    assert only(ledger).settled == 8 * most + 2


def test_a_budget_that_is_changed_holds_from_the_next_question_on(ledger: Ledger) -> None:
    ask(ledger, "a")
    smaller = Budget(TEAM.account, "tokens", 1_500, "day", "UTC")
    assert ask(ledger, "b", smaller, Ask(0, 0, 0, 0, 600, 600)).granted == 0
    assert only(ledger).amount == 1_500
    assert ask(ledger, "b", TEAM, Ask(1, 0, 0, 0, 600, 600)).granted == 600


def test_while_the_clock_is_behind_what_it_was_time_stands_still(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    small = Budget(TEAM.account, "tokens", 1_000, "day", "UTC")
    whole = Ask(0, 0, 0, 0, 1_000, 1_000)
    ask(ledger, "a", small, whole)
    assert ledger.end("a", 1_000) is None
    clock.now -= 86_400
    # Yesterday is not there to be spent once more.
    assert ask(ledger, "b", small, whole).granted == 0
    assert ask(ledger, "c", small, whole).granted == 0
    assert ledger.behind == 86_400
    assert [r.getMessage() for r in caplog.records] == [
        "the clock is 86400 s behind what it was: until it is there again, no period ends"
    ]
    clock.now += 2 * 86_400
    assert ask(ledger, "d", small, whole).granted == 1_000
    assert ledger.behind == 0


def test_a_clock_that_was_ahead_can_be_believed_again(ledger: Ledger, clock: Clock) -> None:
    ask(ledger, "a")
    clock.now += 86_400 * 365
    ask(ledger, "b")
    clock.now = NOON + 10
    assert only(ledger).starts > NOON
    ledger.reset_clock()
    assert ledger.behind == 0
    account = only(ledger)
    # The lease of today lapsed when it was tomorrow; that of the far future never was.
    assert (account.starts, account.settled, account.leases) == (int(NOON) - 43_200, 1_000, 0)
    assert fault(ledger.end("b", 1)) == "lease_unknown"
    assert ask(ledger, "c").granted == 1_000


def test_a_lease_that_a_clock_made_long_is_cut_when_it_is_set_right(ledger: Ledger, clock: Clock) -> None:
    clock.now = NOON + 7_200
    ask(ledger, "a")
    clock.now = NOON
    ledger.reset_clock()
    clock.now += LEASE_SECONDS
    ledger.sweep()
    assert only(ledger).leases == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_full_disk_grants_nothing_and_loses_nothing(engine: Engine, ledger: Ledger) -> None:
    ask(ledger, "a")
    raw = engine.raw_connection()
    raw.execute(f"PRAGMA max_page_count={raw.execute('PRAGMA page_count').fetchone()[0]}")
    raw.close()
    granted: list[str] = []
    with pytest.raises(OperationalError) as caught:  # noqa: PT012  # how many still fit is the page's affair
        for number in range(10_000):
            ask(ledger, f"lease-{number}", question=Ask(0, 0, 0, 0, 0, 1))
            granted.append(f"lease-{number}")
    assert isinstance(caught.value.orig, sqlite3.OperationalError)
    assert caught.value.orig.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert only(ledger).leases == 1 + len(granted)
    # What needs no room still goes.
    assert ledger.end("a", 40) is None
    raw = engine.raw_connection()
    raw.execute("PRAGMA max_page_count=1000000")
    raw.close()
    ask(ledger, "after")
    assert only(ledger).settled == 40


def test_two_processes_on_one_database_grant_no_more_than_there_is(engine: Engine, clock: Clock, url: str) -> None:
    other = open_database(url)
    budget = Budget(TEAM.account, "tokens", 300, "day", "UTC")
    granted: list[int] = []

    def take(ledger: Ledger, name: str) -> None:
        granted.extend(ask(ledger, f"{name}{n}", budget, Ask(0, 0, 0, 0, 10, 10)).granted for n in range(20))

    ledgers = [Ledger(engine, clock), Ledger(other, clock)]
    threads = [threading.Thread(target=take, args=(ledgers[n % 2], f"t{n}-")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), sum(granted)) == (80, 300)
    assert only(ledgers[0]).open == 300
    other.dispose()


def test_what_is_long_over_is_forgotten(ledger: Ledger, clock: Clock, engine: Engine) -> None:
    ask(ledger, "a")
    ask(ledger, "b")
    assert ledger.end("a", 10) is None
    clock.now += 86_400 + LEASE_SECONDS
    ledger.sweep()
    assert fault(ledger.end("a", 10)) == "lease_unknown"
    clock.now += 401 * 86_400
    ledger.sweep()
    with engine.begin() as connection:
        for table in ("ledger_leases", "ledger_budgets"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0  # noqa: S608

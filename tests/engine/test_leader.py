"""The election, in virtual time: who leads, for how long, and what a term's number is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from understudy.engine.leader import Elector, LeaseTimes
from understudy.kube.resources import LEASE

SPACE, NAME = "system", "understudy-operator"


def elector(api: FakeApi, identity: str, floor: int = 0, times: LeaseTimes | None = None) -> Elector:
    return Elector(
        api,
        SPACE,
        NAME,
        identity,
        epoch_floor=lambda: floor,
        times=times or LeaseTimes(),
        monotonic=asyncio.get_running_loop().time,
    )


def holder(api: FakeApi) -> str:
    lease = api.read(LEASE, SPACE, NAME)
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


async def led() -> tuple[FakeApi, Elector, Elector]:
    """An API server, the elector that has just begun to lead there, and one that does not."""
    api = FakeApi()
    one, two = elector(api, "one"), elector(api, "two")
    await one.acquire()
    return api, one, two


@asynccontextmanager
async def holding(leader: Elector) -> AsyncIterator[asyncio.Task[str]]:
    task = asyncio.create_task(leader.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_first_makes_the_lease_and_leads() -> None:
    async def main() -> None:
        api = FakeApi()
        one = elector(api, "one")
        assert await one.acquire() == 1
        assert one.leading
        assert virtual.now() == 0
        assert holder(api) == "one"

    virtual.run(main())


def test_of_two_that_start_together_one_leads() -> None:
    async def main() -> None:
        api = FakeApi()
        api.latency = 0.01
        contenders = [elector(api, name) for name in ("one", "two")]
        tasks = [asyncio.create_task(contender.acquire()) for contender in contenders]
        await asyncio.sleep(5)
        assert sorted(task.done() for task in tasks) == [False, True]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    virtual.run(main())


def test_a_standby_waits_for_as_long_as_the_leader_renews() -> None:
    async def main() -> None:
        api, one, two = await led()
        async with holding(one):
            standby = asyncio.create_task(two.acquire())
            await asyncio.sleep(600)
            assert not standby.done()
            assert holder(api) == "one"
            standby.cancel()
            await asyncio.gather(standby, return_exceptions=True)

    virtual.run(main())


def test_after_a_kill_the_standby_takes_over_within_fifteen_seconds() -> None:
    async def main() -> None:
        _, one, two = await led()
        async with holding(one):
            standby = asyncio.create_task(two.acquire())
            await asyncio.sleep(33)
        killed_at = virtual.now()
        assert await standby == 2
        # The last renewal is seen within 2 s, lasts for 10 s, and within 2 s more it is seen that it is over.
        assert 8 <= virtual.now() - killed_at <= 14

    virtual.run(main())


def test_after_a_release_the_standby_takes_over_at_its_next_look() -> None:
    async def main() -> None:
        _, one, two = await led()
        standby = asyncio.create_task(two.acquire())
        await asyncio.sleep(3)
        await one.release()
        released_at = virtual.now()
        assert await standby == 2
        assert virtual.now() - released_at <= 2.1

    virtual.run(main())


def test_releasing_what_is_anothers_leaves_it_alone() -> None:
    async def main() -> None:
        api, one, two = await led()
        await asyncio.sleep(20)
        await two.acquire()  # sees a stale record for the first time: waits for the whole lease
        await one.release()
        assert holder(api) == "two"

    virtual.run(main())


def test_a_stale_lease_found_at_start_is_watched_for_its_whole_duration_first() -> None:
    async def main() -> None:
        api = FakeApi()
        await elector(api, "dead").acquire()
        await asyncio.sleep(3600)
        found_at = virtual.now()
        await elector(api, "two").acquire()
        assert 10 <= virtual.now() - found_at <= 12.1

    virtual.run(main())


def test_two_leaders_never_overlap_when_the_api_server_goes_away() -> None:
    async def main() -> None:
        api, one, two = await led()
        async with holding(one) as term:
            standby = asyncio.create_task(two.acquire())
            await asyncio.sleep(7)
            api.stop()
            why = await term
            lost_at = virtual.now()
            assert "could not renew" in why
            assert not one.leading
            assert not standby.done()
            api.stop(False)
            await standby
            assert virtual.now() > lost_at

    virtual.run(main())


def test_a_short_outage_is_survived() -> None:
    async def main() -> None:
        api, one, _ = await led()
        async with holding(one) as term:
            await asyncio.sleep(5)
            api.stop()
            await asyncio.sleep(5)
            api.stop(False)
            await asyncio.sleep(30)
            assert not term.done()

    virtual.run(main())


def test_calls_that_hang_lose_the_term_in_time() -> None:
    async def main() -> None:
        api, one, _ = await led()
        renewed_at = virtual.now()
        async with holding(one) as term:
            api.latency = 3600
            assert "could not renew" in await term
            assert virtual.now() - renewed_at <= LeaseTimes().duration

    virtual.run(main())


def test_a_lease_taken_by_another_is_lost_at_the_next_renewal() -> None:
    async def main() -> None:
        api, one, _ = await led()
        async with holding(one) as term:
            await asyncio.sleep(1)
            api.patch(LEASE, SPACE, NAME, lambda lease: lease["spec"].update(holderIdentity="usurper"))
            assert await term == "another process holds the lease"
            assert virtual.now() <= 2.1

    virtual.run(main())


def test_a_renewal_is_one_call_and_a_slow_server_does_not_cost_the_term() -> None:
    async def main() -> None:
        api, one, _ = await led()
        api.calls.clear()
        api.latency = 3.5
        async with holding(one) as term:
            await asyncio.sleep(300)
            assert not term.done()
        assert {call.verb for call in api.calls} == {"replace"}

    virtual.run(main())


def test_a_lease_that_was_deleted_is_lost() -> None:
    async def main() -> None:
        api, one, _ = await led()
        async with holding(one) as term:
            await asyncio.sleep(1)
            api.remove(LEASE, SPACE, NAME)
            assert await term == "the lease was deleted"

    virtual.run(main())


def test_somebody_elses_annotation_costs_one_renewal_and_not_the_term() -> None:
    async def main() -> None:
        api, one, _ = await led()
        async with holding(one) as term:
            api.fail(status_error(409, "Conflict", "modified"), verb="replace")
            await asyncio.sleep(60)
            assert not term.done()

    virtual.run(main())


def test_the_same_name_in_another_process_is_another_term() -> None:
    async def main() -> None:
        api, one, _ = await led()
        await one.release()
        again = elector(api, "one")
        assert await again.acquire() == 2
        async with holding(one) as term:
            assert await term == "another process holds the lease"

    virtual.run(main())


@pytest.mark.parametrize("floor", [0, 41])
def test_a_lease_made_anew_never_starts_below_what_the_cluster_carries(floor: int) -> None:
    async def main() -> None:
        api = FakeApi()
        assert await elector(api, "one", floor).acquire() == floor + 1

    virtual.run(main())


@pytest.mark.parametrize("floor", [2**31 - 1, 2**63 - 1])
def test_a_number_that_no_lease_can_hold_keeps_nobody_from_leading(floor: int) -> None:
    async def main() -> None:
        api = FakeApi()
        assert await elector(api, "one", floor).acquire() == 2**31 - 1
        await asyncio.sleep(11)
        assert await elector(api, "two", floor).acquire() == 2**31 - 1
        assert holder(api) == "two"

    virtual.run(main())


def test_a_stranger_that_claims_the_lease_for_years_is_waited_for_a_minute() -> None:
    async def main() -> None:
        api = FakeApi()
        spec = {"holderIdentity": "stranger", "leaseDurationSeconds": 2**31 - 1, "leaseTransitions": 4}
        await api.create(LEASE, {"metadata": {"name": NAME, "namespace": SPACE}, "spec": spec})
        assert await elector(api, "one").acquire() == 5
        assert 60 <= virtual.now() < 65

    virtual.run(main())


def test_each_term_has_a_higher_number() -> None:
    async def main() -> None:
        api = FakeApi()
        numbers = []
        for name in "abcde":
            contender = elector(api, name)
            numbers.append(await contender.acquire())
            await contender.release()
        assert numbers == [1, 2, 3, 4, 5]

    virtual.run(main())


def test_an_api_server_that_is_down_at_first_is_waited_for() -> None:
    async def main() -> None:
        api = FakeApi()
        api.stop()
        standby = asyncio.create_task(elector(api, "one").acquire())
        await asyncio.sleep(30)
        assert not standby.done()
        api.stop(False)
        assert await standby == 1

    virtual.run(main())


def test_a_release_that_fails_is_harmless() -> None:
    async def main() -> None:
        api, one, _ = await led()
        api.stop()
        await one.release()
        api.stop(False)
        api.latency = 3600
        await one.release()

    virtual.run(main())


def test_a_lease_without_a_spec_is_free() -> None:
    async def main() -> None:
        api = FakeApi()
        api.put(LEASE, {"metadata": {"name": NAME, "namespace": SPACE}})
        assert await elector(api, "one").acquire() == 1
        assert virtual.now() == 0

    virtual.run(main())

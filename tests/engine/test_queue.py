"""The work queue's promises, in virtual time; and under random use, by hypothesis."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine import virtual
from understudy.engine.queue import ShutDownError, WorkQueue, from_other_thread
from understudy.telemetry.operator import OperatorMetrics


def queue() -> WorkQueue[str]:
    return WorkQueue(OperatorMetrics())


async def waiting(work: WorkQueue[str]) -> str | None:
    """The next key if there is one now."""
    try:
        async with asyncio.timeout(0.0001):
            return await work.get()
    except TimeoutError:
        return None


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Makes a test of a coroutine."""

    def wrapped() -> None:
        async def main() -> None:
            await test()

        virtual.run(main())

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


@in_virtual_time
async def test_keys_come_in_the_order_of_their_adding() -> None:
    work = queue()
    for key in "abc":
        work.add(key)
    assert [await work.get() for _ in range(3)] == ["a", "b", "c"]


@in_virtual_time
async def test_a_key_waits_at_most_once() -> None:
    work = queue()
    for _ in range(5):
        work.add("a")
    assert len(work) == 1
    assert await work.get() == "a"
    work.done("a")
    assert await waiting(work) is None


@in_virtual_time
async def test_a_key_added_while_a_worker_holds_it_comes_again_when_that_one_is_done() -> None:
    work = queue()
    work.add("a")
    await work.get()
    work.add("a")
    work.add("a")
    assert await waiting(work) is None
    work.done("a")
    assert await waiting(work) == "a"
    work.done("a")
    assert await waiting(work) is None


@in_virtual_time
async def test_a_worker_that_waits_gets_the_key_that_arrives() -> None:
    work = queue()
    task = asyncio.create_task(work.get())
    await virtual.settle()
    work.add("a")
    assert await task == "a"


@in_virtual_time
async def test_each_key_wakes_one_worker() -> None:
    work = queue()
    tasks = [asyncio.create_task(work.get()) for _ in range(3)]
    await virtual.settle()
    work.add("a")
    work.add("b")
    await virtual.settle()
    assert sorted(task.result() for task in tasks if task.done()) == ["a", "b"]
    work.add("c")
    await virtual.settle()
    assert sorted(task.result() for task in tasks) == ["a", "b", "c"]


@in_virtual_time
async def test_a_worker_cancelled_just_as_it_was_woken_passes_the_key_on() -> None:
    work = queue()
    first, second = (asyncio.create_task(work.get()) for _ in range(2))
    await virtual.settle()
    work.add("a")
    first.cancel()
    assert await second == "a"
    assert first.cancelled()


@in_virtual_time
async def test_a_worker_cancelled_in_its_sleep_is_forgotten() -> None:
    work = queue()
    first, second = (asyncio.create_task(work.get()) for _ in range(2))
    await virtual.settle()
    first.cancel()
    await virtual.settle()
    work.add("a")
    assert await second == "a"


@in_virtual_time
async def test_a_delayed_key_comes_in_its_time() -> None:
    work = queue()
    work.add_after("a", 5)
    assert await work.get() == "a"
    assert virtual.now() == pytest.approx(5)


@in_virtual_time
async def test_of_two_delays_the_earlier_counts() -> None:
    work = queue()
    work.add_after("a", 5)
    work.add_after("a", 2)
    work.add_after("a", 9)
    assert await work.get() == "a"
    assert virtual.now() == pytest.approx(2)
    work.done("a")
    await asyncio.sleep(20)
    assert await waiting(work) is None


@in_virtual_time
async def test_an_add_now_makes_a_delayed_one_needless() -> None:
    work = queue()
    work.add_after("a", 5)
    work.add("a")
    assert await work.get() == "a"
    work.done("a")
    await asyncio.sleep(10)
    assert await waiting(work) is None


@in_virtual_time
async def test_a_delay_of_nothing_is_no_delay() -> None:
    work = queue()
    work.add_after("a", 0)
    assert await work.get() == "a"
    assert virtual.now() == 0


@in_virtual_time
async def test_a_delay_that_ends_while_a_worker_holds_the_key_waits_for_that_worker() -> None:
    work = queue()
    work.add("a")
    await work.get()
    work.add_after("a", 1)
    await asyncio.sleep(2)
    assert await waiting(work) is None
    work.done("a")
    assert await waiting(work) == "a"


async def delays(work: WorkQueue[str], failures: int) -> list[float]:
    found = []
    for _ in range(failures):
        began = virtual.now()
        work.add_rate_limited("a")
        await work.get()
        work.done("a")
        found.append(round(virtual.now() - began, 3))
    return found


@in_virtual_time
async def test_failures_wait_longer_each_time_up_to_a_minute() -> None:
    found = await delays(queue(), 13)
    assert found[:4] == [0.05, 0.1, 0.2, 0.4]
    assert found[-2:] == [60, 60]


@in_virtual_time
async def test_success_starts_the_delays_anew() -> None:
    work = queue()
    await delays(work, 6)
    work.forget("a")
    assert await delays(work, 2) == [0.05, 0.1]
    work.forget("never seen")


@in_virtual_time
async def test_a_failure_never_comes_back_before_the_time_it_was_given() -> None:
    work = queue()
    work.add_rate_limited("a", 7)
    await work.get()
    assert virtual.now() == pytest.approx(7)


@in_virtual_time
async def test_keys_fail_apart() -> None:
    work = queue()
    await delays(work, 8)
    work.add_rate_limited("b")
    began = virtual.now()
    assert await work.get() == "b"
    assert virtual.now() - began == pytest.approx(0.05)


@in_virtual_time
async def test_shutting_down_ends_workers_and_forgets_what_is_left() -> None:
    work = queue()
    task = asyncio.create_task(work.get())
    await virtual.settle()
    work.add_after("later", 1)
    work.shut_down()
    with pytest.raises(ShutDownError):
        await task
    work.add("a")
    work.add_after("a", 1)
    await asyncio.sleep(5)
    with pytest.raises(ShutDownError):
        await work.get()


@in_virtual_time
async def test_what_is_waiting_at_shut_down_is_not_begun() -> None:
    work = queue()
    work.add("a")
    work.shut_down()
    with pytest.raises(ShutDownError):
        await work.get()


@in_virtual_time
async def test_it_is_idle_when_the_last_worker_is_done() -> None:
    work = queue()
    for key in "ab":
        work.add(key)
        await work.get()
    work.shut_down()
    idle = asyncio.create_task(work.idle())
    await virtual.settle()
    work.done("a")
    await virtual.settle()
    assert not idle.done()
    work.add("b")
    work.done("b")
    await idle


@in_virtual_time
async def test_it_has_caught_up_when_all_that_waited_was_given_out_whatever_has_come_since() -> None:
    work = queue()
    await work.caught_up()
    for key in "ab":
        work.add(key)
    caught_up = asyncio.create_task(work.caught_up())
    await virtual.settle()
    for key in "ab":
        work.add("c")
        assert await work.get() == key
        assert not caught_up.done()
        work.done(key)
    await virtual.settle()
    assert caught_up.done()
    assert len(work) == 1


@in_virtual_time
async def test_it_counts_what_it_does() -> None:
    metrics = OperatorMetrics()
    work: WorkQueue[str] = WorkQueue(metrics)
    work.add("a")
    work.add("a")
    work.add_rate_limited("b")
    assert metrics.registry.get_sample_value("understudy_workqueue_depth") == 1
    assert metrics.registry.get_sample_value("understudy_workqueue_adds_total") == 1
    assert metrics.registry.get_sample_value("understudy_workqueue_retries_total") == 1
    await asyncio.sleep(3)
    await work.get()
    assert metrics.registry.get_sample_value("understudy_workqueue_queue_duration_seconds_sum") == pytest.approx(3)


async def test_another_thread_may_add() -> None:
    work = queue()
    add = from_other_thread(asyncio.get_running_loop(), work)
    thread = threading.Thread(target=add, args=("a",))
    thread.start()
    async with asyncio.timeout(10):
        assert await work.get() == "a"
    thread.join()


def test_a_thread_that_adds_after_the_end_is_ignored() -> None:
    loop = asyncio.new_event_loop()
    add = from_other_thread(loop, queue())
    loop.close()
    add("a")


def test_another_failure_to_add_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()

    def refuse(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(loop, "call_soon_threadsafe", refuse)
    with pytest.raises(RuntimeError, match="something else"):
        from_other_thread(loop, queue())("a")
    loop.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.just(0.0)),
        st.tuples(st.just("after"), st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 4.0])),
        st.tuples(st.just("limited"), st.sampled_from("abc"), st.just(0.0)),
        st.tuples(st.just("sleep"), st.just(""), st.sampled_from([0.1, 1.0, 3.0])),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 4), st.sampled_from([0.0, 0.3, 2.0]))
def test_whatever_is_done_no_key_is_held_twice_and_none_is_lost(
    steps: list[tuple[str, str, float]], workers: int, work_takes: float
) -> None:
    async def main() -> None:
        work = queue()
        held: Counter[str] = Counter()
        last_add: dict[str, float] = {}
        last_start: dict[str, float] = {}

        async def worker() -> None:
            while True:
                key = await work.get()
                held[key] += 1
                assert held[key] == 1
                last_start[key] = virtual.now()
                await asyncio.sleep(work_takes)
                held[key] -= 1
                work.done(key)

        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        for step, key, number in steps:
            if step == "sleep":
                await asyncio.sleep(number)
            elif step == "add":
                work.add(key)
            elif step == "after":
                work.add_after(key, number)
            else:
                work.add_rate_limited(key)
            if key:
                last_add[key] = virtual.now()
        await asyncio.sleep(200)
        assert not any(task.done() for task in tasks)
        for key, added in last_add.items():
            assert last_start[key] >= added, f"{key} was added at {added} and never seen again"
        assert len(work) == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    virtual.run(main())

"""Detectors that are served: the same answer for the same window, and whatever goes wrong is never `ok`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from tests.gateway.detectors import (
    BAD,
    CLEAR,
    FAULTS,
    FOUND,
    LANGUAGES,
    SORRY,
    Language,
    anywhere,
    judges_well,
    policy,
    says_always,
    verdict,
)
from tests.gateway.engines import Asked, Engine, Script, answers_status, engine, hangs
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.guardrails import guard, policy_spec
from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from understudy.domain.state import DetectorState, policy_key
from understudy.gateway.policy.gauges import joined
from understudy.gateway.process import Settings, Station
from understudy.gateway.wire.panel import COPIES, NOT_TRIED, Panel
from understudy.guard.gate import Gate, Release
from understudy.guard.merge import merge
from understudy.guard.policy import Policy
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.served.codec import Question
from understudy.guard.windows import Window

NAME = "default/g/d"
OF_POLICY = f"{NAME} hash"
WINDOW = Window(40, 40 + len(FOUND), FOUND)
GUARD = table(name="guard", names=["guard"])


def guards(ports: list[int]) -> dict[str, object]:
    """A world in which ModelDeployment `guard` serves at these ports."""
    return snapshot([table(), GUARD], [endpoints(STABLE, ports, name="guard")])


def panel(made: Gateway, policy_: Policy, **bounds: int) -> Panel:
    """A panel that is never due to try a detector again."""
    seated = Panel(made.plane, allowed=anywhere, canary_seconds=10_000, **bounds)
    seated.follow({"hash": ("default", policy_)})
    return seated


def count(seated: Panel, outcome: str) -> float:
    return seated.gauges()["understudy_detector_windows_total"][1].get(f"{NAME} {outcome}", 0)


async def tried(seated: Panel) -> None:
    await until(lambda: count(seated, "canary_ok") + count(seated, "canary_failed") > 0)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_same_window_has_the_same_findings(language: Language) -> None:
    async with engine(judges_well) as server, gateway(snapshot()) as made:
        seated = panel(made, policy(f"http://127.0.0.1:{server.port}", language))
        asked = [seated.judge("hash", "g/d", WINDOW, "output", "Who is there?") for _ in range(5)]
        first, *others = await asyncio.gather(*asked)
        (found,), status = first
        assert (status, found.category, found.severity) == ("ok", "violence", 6)
        place = (40, 40 + len(BAD)) if language == "fms" else (WINDOW.start, WINDOW.end)
        assert (found.start, found.end, found.decided, found.clear) == (*place, WINDOW.end, WINDOW.start)
        assert others == [first] * 4
        assert await seated.judge("hash", "g/d", Window(0, len(CLEAR), CLEAR), "output") == ((), "ok")
        await tried(seated)
        assert seated.health() == {OF_POLICY: ""}
        await left(seated)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_failure_is_never_an_answer(language: Language, fault: str) -> None:
    script, timeout, expected = FAULTS[fault]
    async with engine(script) as server, gateway(snapshot()) as made:
        seated = panel(made, policy(f"http://127.0.0.1:{server.port}", language, timeout=timeout))
        assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), expected)
        await tried(seated)
        assert (count(seated, "ok"), count(seated, expected)) == (0, 1)
        assert seated.health()[OF_POLICY].startswith("no answer to the canary: ")
        await left(seated)


async def left(seated: Panel) -> None:
    """Nobody is asked any more, and whoever was about to be has been let go: a connection may be in the making."""
    trying = [*seated._canaries.values()]
    seated.close()
    await asyncio.gather(*trying, return_exceptions=True)


async def through(gate: Gate, seated: Panel, text: str) -> list[Release]:
    """Feed a text, ask about its windows, and tell the gate what comes."""
    fed = [gate.feed(text), gate.finish()]
    windows = [window for release in fed for window in release.windows]
    verdicts = [await seated.judge("hash", "g/d", window, "output") for window in windows]
    return fed + [gate.heard("g/d", window, *said) for window, said in zip(windows, verdicts, strict=True)]


Failure = Literal["Closed", "Degrade", "Open"]


@pytest.mark.parametrize("failure", ["Closed", "Degrade", "Open"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_comes_to_what_the_failure_policy_says(fault: str, failure: Failure) -> None:
    script, timeout, expected = FAULTS[fault]
    text = f"{CLEAR} {FOUND} And so on."
    async with engine(script) as server, gateway(snapshot()) as made:
        asked = policy(f"http://127.0.0.1:{server.port}", failure=failure, timeout=timeout)
        seated = panel(made, asked)
        gate = Gate(merge([asked], "output", PortableEngine))
        releases = await through(gate, seated, text)
        out = "".join(release.text for release in releases)
        ends = [release.end.why for release in releases if release.end]
        failures = [(each.detector, each.status, each.policy) for release in releases for each in release.failures]
        assert failures == [("g/d", expected, failure)]
        assert (out, ends) == (("", ["failed"]) if failure == "Closed" else (text, []))
        assert not [each for release in releases for each in release.judged]
        await left(seated)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_a_detector_finds_never_comes_out(language: Language) -> None:
    async with engine(judges_well) as server, gateway(snapshot()) as made:
        asked = policy(f"http://127.0.0.1:{server.port}", language)
        seated = panel(made, asked)
        gate = Gate(merge([asked], "output", PortableEngine))
        releases = await through(gate, seated, f"{CLEAR} {FOUND} And so on.")
        assert "".join(release.text for release in releases) == f"{CLEAR} "
        assert [release.end.why for release in releases if release.end] == ["blocked"]
        await left(seated)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (says_always(bad=False), "it finds nothing in the text of the canary in which it must"),
        (says_always(bad=True), "it finds violence in the text of the canary in which there is nothing"),
        (answers_status(500, SORRY), "no answer to the canary: status 500"),
    ],
)
async def test_a_detector_that_cannot_tell_the_canarys_texts_apart_is_not_well(script: Script, why: str) -> None:
    async with engine(script) as server, gateway(snapshot()) as made:
        seated = Panel(made.plane, allowed=anywhere, canary_seconds=0.01)
        seated.follow({"hash": ("default", policy(f"http://127.0.0.1:{server.port}"))})
        assert seated.health() == {OF_POLICY: NOT_TRIED}
        assert seated.told({"hash"}) == {}, "nobody has tried it yet"
        await until(lambda: seated.health()[OF_POLICY] != NOT_TRIED)
        assert seated.health() == {OF_POLICY: why}
        since = seated.told({"hash"})["hash/d"].since
        assert seated.told({"hash", "other"}) == {"hash/d": DetectorState(why, since)}
        assert abs(time.time() - since) < 3600
        assert seated.gauges()["understudy_detector_healthy"][1] == {OF_POLICY: 0.0}
        server.script = judges_well
        await until(lambda: not seated.health()[OF_POLICY])
        assert seated.told({"hash"})["hash/d"].since > since
        assert seated.gauges()["understudy_detector_healthy"][1] == {OF_POLICY: 1.0}
        # Once is a busy moment; twice is an illness.
        before = count(seated, "canary_failed")
        server.script = answers_status(500, SORRY)
        await until(lambda: bool(seated.health()[OF_POLICY]))
        assert count(seated, "canary_failed") >= before + 2
        await left(seated)


async def test_what_a_server_says_of_itself_is_passed_on_in_one_short_line() -> None:
    async with gateway(snapshot()) as made:
        seated = panel(made, policy("https://localhost:9", authority="no PEM"))
        await tried(seated)
        (seat,) = seated._seats["hash"].values()
        seat.health = "a\nb\x1b[2J" + "c" * 1000
        why = seated.told({"hash"})["hash/d"].why
        assert (why[:8], len(why)) == ("a b [2Jc", 256)
        await left(seated)


async def test_a_gateway_tells_of_the_detectors_of_those_policies_that_tables_name() -> None:
    said, _ = guard(policy_spec(), "g")
    station = Station(Settings())
    station.world.set_table("default", "story", "uid-1", 1, table(guards=[said])["spec"])
    named, unnamed = (policy_key("default", "g", policy_hash) for policy_hash in (said["policy"], "0"))
    asked = policy("http://127.0.0.1:9")
    station.plane.panel.follow({named: ("default", asked), unnamed: ("default", asked)})
    await until(lambda: bool(station.detectors()))
    ((name, state),) = station.detectors().items()
    assert (name, state.why.endswith("which are not asked")) == (f"{named}/d", True)
    station.plane.panel.close()


@asynccontextmanager
async def held_up(*, at_once: int, waiting: int) -> AsyncIterator[tuple[Panel, Engine, asyncio.Event]]:
    """A detector that has been tried and is well, and whose answers from now on wait for an event."""
    go = asyncio.Event()

    async def waits(asked: Asked) -> None:
        await go.wait()
        await judges_well(asked)

    async with engine(judges_well) as server, gateway(snapshot()) as made:
        seated = panel(made, policy(f"http://127.0.0.1:{server.port}"), at_once=at_once, waiting=waiting)
        await tried(seated)
        server.script = waits
        yield seated, server, go
        await left(seated)


async def test_so_many_are_asked_at_once_some_wait_and_the_rest_fail() -> None:
    async with held_up(at_once=2, waiting=3) as (seated, server, go):
        before = len(server.asked)
        asked = [asyncio.ensure_future(seated.judge("hash", "g/d", WINDOW, "output")) for _ in range(8)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in asked if each.done()] == [((), "error")] * 3
        await server.request(before + 2)
        assert len(server.asked) == before + 2
        go.set()
        assert [status for _, status in await asyncio.gather(*asked)] == ["ok"] * 5 + ["error"] * 3
        assert (count(seated, "overflow"), count(seated, "ok")) == (3, 5)


async def test_copies_have_places_of_their_own_wait_for_none_and_take_none_of_a_clients() -> None:
    async with held_up(at_once=1, waiting=0) as (seated, server, go):
        before = len(server.asked)
        copies = [asyncio.ensure_future(seated.judge_copy("hash", "g/d", WINDOW, "output")) for _ in range(COPIES + 2)]
        await server.request(before + COPIES)
        assert [each.result() for each in copies if each.done()] == [None] * 2
        asked = asyncio.ensure_future(seated.judge("hash", "g/d", WINDOW, "output"))
        await server.request(before + COPIES + 1)
        copies.pop(0).cancel()
        go.set()
        assert (await asked)[1] == "ok"
        assert [said and said[1] for said in await asyncio.gather(*copies)] == ["ok"] * (COPIES - 1) + [None] * 2
        assert (count(seated, "left_out"), count(seated, "overflow")) == (2, 0)
        assert await seated.judge_copy("gone", "g/d", WINDOW, "output") == ((), "error")


class Stubborn:
    """A server a question to which fails as it is cancelled."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def ask(self, question: Question, seconds: float) -> bytes:
        del question, seconds
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionResetError from None
        return b""

    def close(self) -> None:
        """Nothing to end."""


async def test_a_detector_that_is_let_go_while_a_question_fails_is_asked_no_more() -> None:
    async with gateway(snapshot()) as made:
        seated = panel(made, policy("http://127.0.0.1:9"))
        (seat,) = seated._seats["hash"].values()
        seat._server = server = Stubborn()
        await server.asked.wait()
        (trying,) = seated._canaries.values()
        seated.close()
        await asyncio.wait([trying], timeout=60)
        assert trying.cancelled()


async def test_whoever_waits_for_too_long_has_no_answer() -> None:
    async with engine(hangs) as server, gateway(snapshot()) as made:
        seated = panel(made, policy(f"http://127.0.0.1:{server.port}", timeout="50ms"), at_once=1)
        asked = [seated.judge("hash", "g/d", WINDOW, "output") for _ in range(3)]
        assert await asyncio.gather(*asked) == [((), "timeout")] * 3
        await left(seated)


async def test_cancelling_ends_the_question_and_gives_its_place_back() -> None:
    async with engine(judges_well) as server, gateway(snapshot()) as made:
        seated = panel(made, policy(f"http://127.0.0.1:{server.port}"), at_once=1, waiting=0)
        await tried(seated)
        server.script, before = hangs, len(server.asked)
        asked = asyncio.ensure_future(seated.judge("hash", "g/d", WINDOW, "output"))
        last = await server.request(before + 1)
        asked.cancel()
        await last.closed.wait()
        server.script = judges_well
        assert (await seated.judge("hash", "g/d", WINDOW, "output"))[1] == "ok"
        await left(seated)


async def takes_a_while(asked: Asked) -> None:
    """Longer than the tick of the loop's clock, which is a millisecond."""
    await asyncio.sleep(0.02)
    await judges_well(asked)


async def test_detectors_come_and_go_with_policies() -> None:
    async with engine(takes_a_while) as server, gateway(snapshot()) as made:
        asked = policy(f"http://127.0.0.1:{server.port}")
        seated = panel(made, asked)
        await seated.judge("hash", "g/d", WINDOW, "output")
        seated.follow({"hash": ("default", asked), "other": ("default", asked)})
        await seated.judge("other", "g/d", WINDOW, "output")
        assert count(seated, "ok") == 2
        seated.follow({"other": ("default", asked)})
        # Counters outlive what they counted.
        assert count(seated, "ok") == 2
        assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "error")
        assert await seated.judge("other", "g/unknown", WINDOW, "output") == ((), "error")
        await left(seated)
        assert seated.health() == {}
        assert seated.gauges()["understudy_detector_seconds_total"][1][NAME] > 0


async def test_an_authority_that_is_no_certificate_is_a_failure() -> None:
    async with gateway(snapshot()) as made:
        asked = policy("https://localhost:9", authority="no PEM")
        seated = panel(made, asked)
        assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "error")
        await tried(seated)
        assert seated.health() == {OF_POLICY: "no answer to the canary: its caRef holds no certificate: want PEM"}
        await left(seated)


async def test_two_policies_that_have_a_detector_of_one_name_are_told_apart() -> None:
    """One of a Guardrail as it was before an edit, and as it is now."""
    async with engine(judges_well) as well, engine(says_always(bad=False)) as unwell, gateway(snapshot()) as made:
        seated = Panel(made.plane, allowed=anywhere, canary_seconds=10_000)
        addresses = {
            "default/g/one": f"http://127.0.0.1:{well.port}",
            "default/g/other": f"http://127.0.0.1:{unwell.port}",
        }
        seated.follow({each: ("default", policy(address)) for each, address in addresses.items()})
        await until(lambda: NOT_TRIED not in seated.health().values())
        told = seated.gauges()["understudy_detector_healthy"][1]
        assert told == {f"{NAME} one": 1.0, f"{NAME} other": 0.0}
        await left(seated)


def test_a_detector_is_well_where_it_is_in_every_worker() -> None:
    name = "understudy_detector_healthy"
    whole = joined([{name: ("", {"a": 1.0, "b": 1.0})}, {name: ("", {"a": 1.0, "b": 0.0})}])
    assert whole[name][1] == {"a": 1.0, "b": 0.0}


# Detectors that are ModelDeployments of ours.


def of_ours(timeout: str = "30s") -> Policy:
    return policy("", "chat-guard", model="guard", timeout=timeout)


async def test_a_deployment_of_ours_is_asked_at_its_pods_as_by_a_client() -> None:
    async with engine(judges_well) as server, gateway(guards([server.port])) as made:
        seated = panel(made, of_ours())
        (found,), status = await seated.judge("hash", "g/d", WINDOW, "output", "Who is there?")
        assert (status, found.category) == ("ok", "violence")
        (asked,) = [each for each in server.asked if len(each.body["messages"]) == 2]
        assert (asked.path, asked.model) == ("/v1/chat/completions", f"guard-{STABLE}")
        assert asked.fields["authorization"].startswith("Bearer ")
        await tried(seated)
        await made.quiet()
        state = made.state(STABLE, "default/guard")
        assert (state.attempts, sum(state.errors.values())) == (3, 0)
        await left(seated)


async def test_a_deployment_that_does_not_serve_is_a_failure() -> None:
    async with gateway(snapshot([table()])) as made:
        seated = panel(made, of_ours())
        await tried(seated)
        assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "error")
        assert seated.health() == {OF_POLICY: "no answer to the canary: ModelDeployment default/guard does not serve"}
        await left(seated)
    async with gateway(guards([])) as made:
        seated = panel(made, of_ours())
        await tried(seated)
        assert seated.health() == {OF_POLICY: "no answer to the canary: no pod is there to answer"}
        await left(seated)


async def test_a_pod_that_fails_is_charged_and_another_is_asked_once() -> None:
    async with (
        engine(answers_status(500, SORRY)) as bad,
        engine(judges_well) as good,
        gateway(guards([bad.port, good.port])) as made,
    ):
        seated = panel(made, of_ours())
        await tried(seated)
        answers = [await seated.judge("hash", "g/d", WINDOW, "output") for _ in range(12)]
        assert {status for _, status in answers} == {"ok"}
        assert bad.asked
        await made.quiet()
        state = made.state(STABLE, "default/guard")
        assert state.errors["5xx"] == len(bad.asked)
        assert made.plane.retries == len(bad.asked)
        good.script = answers_status(500, SORRY)
        assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "error")
        await left(seated)


async def answers_late(server: Engine, seated: Panel, made: Gateway) -> None:
    server.script = hangs
    assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "timeout")
    await made.quiet()


async def test_a_pod_that_is_too_slow_is_charged() -> None:
    async with engine(judges_well) as server, gateway(guards([server.port])) as made:
        seated = panel(made, of_ours("500ms"))
        await tried(seated)
        before = made.state(STABLE, "default/guard").errors["firstToken"]
        await answers_late(server, seated, made)
        assert made.state(STABLE, "default/guard").errors["firstToken"] == before + 1
        await left(seated)


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"drips", "hangs"}))
async def test_no_fault_of_a_pod_is_an_answer(fault: str) -> None:
    script, _, _ = FAULTS[fault]
    async with engine(script) as server, gateway(guards([server.port])) as made:
        seated = panel(made, of_ours())
        (found, status) = await seated.judge("hash", "g/d", WINDOW, "output")
        assert (found, status in ("error", "unparseable")) == ((), True)
        await made.quiet()
        await left(seated)


async def test_a_kept_connection_that_has_ended_is_no_failure_of_a_pod() -> None:
    async def once(asked: Asked) -> None:
        if len([each for each in server.asked if each.connection == asked.connection]) > 1:
            asked.reset()
        else:
            await asked.answer(200, verdict(asked.body, bad=False, model=asked.model))

    async with engine(once) as server, gateway(guards([server.port])) as made:
        seated = panel(made, of_ours())
        for _ in range(3):
            assert await seated.judge("hash", "g/d", WINDOW, "output") == ((), "ok")
        await made.quiet()
        assert sum(made.state(STABLE, "default/guard").errors.values()) == 0
        await left(seated)

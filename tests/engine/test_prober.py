"""The prober: who the pod is, whether it answers, and who hears of it."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.engine import virtual
from understudy.domain.key import Key
from understudy.engine.prober import HttpEngine, Prober, identity
from understudy.engine.trust import Trust
from understudy.plan.actions import Probe, Prompt
from understudy.plan.observed import ProbeReport
from understudy.telemetry.operator import OperatorMetrics

TALK = Key("shop", "talk")
YES = Prompt("says-yes", ({"role": "user", "content": "Say yes."},), 8, {"matches": "yes", "within": "5s"})
NOT_EMPTY = Prompt("answers", ({"role": "user", "content": "Hello."},), 8, {"notEmpty": True})


def probe(*prompts: Prompt, uid: str = "pod-1", **changes: Any) -> Probe:
    return replace(Probe(uid, "10.0.0.1", 8000, "talk-1", "/models/a", 8192, "key", 10.0, prompts), **changes)


def listed(model: str = "talk-1", root: str = "/models/a", length: int = 8192) -> dict[str, Any]:
    return {"data": [{"id": model, "root": root, "max_model_len": length}]}


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


class Pod:
    """An engine that answers as told: exceptions are raised, floats are delays before "yes"."""

    def __init__(self) -> None:
        self.models: Any = listed()
        self.answer: Any = said("yes")
        self.asked: list[tuple[float, str]] = []
        self.bodies: list[Mapping[str, Any]] = []

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        return await self._reply(path, self.models, seconds)

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        self.bodies.append(body)
        return await self._reply(path, self.answer, seconds)

    async def _reply(self, path: str, answer: Any, seconds: float) -> Any:
        self.asked.append((round(virtual.now(), 3), path))
        if isinstance(answer, float):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(answer)
            return said("yes")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def times(self, path: str) -> list[float]:
        return [at for at, what in self.asked if what == path]


class Stage:
    """A prober, its pod, and when it was woken."""

    def __init__(self) -> None:
        self.pod = Pod()
        self.metrics = OperatorMetrics()
        self.woken: list[float] = []
        self.prober = Prober(
            self.pod,
            monotonic=virtual.now,
            metrics=self.metrics,
            wake=lambda _key: self.woken.append(round(virtual.now(), 3)),
        )

    def report(self, uid: str = "pod-1") -> ProbeReport:
        return self.prober.observed(TALK)[uid]


def test_pods_at_rest_are_not_all_asked_in_the_same_moment() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, tuple(probe(uid=f"pod-{i}", at_rest=True) for i in range(100)))
        await asyncio.sleep(10.1)
        began = sorted(stage.pod.times("/v1/completions")[:100])
        assert len(began) == 100, "each once in the first interval"
        assert began[0] < 2 < 8 < began[-1]
        assert len(set(began)) > 50
        await stage.prober.stop()

    virtual.run(main())


def test_pods_at_rest_wait_until_there_is_time_for_them_and_others_do_not() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.unhurried.clear()
        stage.prober.set_probes(TALK, (probe(uid="rests", at_rest=True), probe(uid="moves")))
        await asyncio.sleep(30)
        assert set(stage.prober.observed(TALK)) == {"moves", "rests"}
        assert stage.report("moves").identity == "ok"
        assert stage.report("rests").identity == ""
        stage.prober.unhurried.set()
        await asyncio.sleep(10.1)
        assert stage.report("rests").identity == "ok"
        await stage.prober.stop()

    virtual.run(main())


@pytest.mark.parametrize(("at_rest", "rounds"), [(True, 2), (False, 4)])
def test_of_thousands_those_at_rest_are_asked_more_rarely(at_rest: bool, rounds: int) -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(),))
        await asyncio.sleep(0.01)
        # All that counts is how many there are.
        stage.prober._probes.update({Key("shop", f"rests-{number}"): {} for number in range(5000)})
        stage.pod.asked.clear()
        stage.prober.set_probes(TALK, (probe(at_rest=at_rest, interval=10.5),))
        await asyncio.sleep(39)
        assert len(stage.pod.times("/v1/completions")) == rounds
        await stage.prober.stop()

    virtual.run(main())


@pytest.mark.parametrize(("answers", "path"), [(True, "/v1/completions"), (False, "/v1/models")])
def test_hundreds_that_begin_at_once_leave_time_for_passes(answers: bool, path: str) -> None:
    async def main() -> None:
        stage = Stage()
        if not answers:
            stage.pod.models = OSError("connection refused")
        for number in range(500):
            stage.prober.set_probes(Key("shop", f"begins-{number}"), (probe(uid=f"pod-{number}", interval=0.5),))
        await asyncio.sleep(3.9)
        assert len(stage.pod.times(path)) == 2 * 500, "at once, and when all can have been asked"
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_comes_to_rest_is_asked_on_as_before() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(),))
        await asyncio.sleep(1)
        stage.prober.set_probes(TALK, (probe(at_rest=True),))
        await asyncio.sleep(0.01)
        assert stage.pod.times("/v1/completions") == [0, 1]
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_is_who_it_should_be_is_asked_for_one_token_when_there_are_no_prompts() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(),))
        await asyncio.sleep(25)
        assert stage.report().identity == "ok"
        assert stage.report().completed_at == pytest.approx(20)
        assert stage.pod.times("/v1/completions") == [0, 10, 20]
        assert stage.pod.bodies[0]["max_tokens"] == 1
        assert stage.pod.bodies[0]["model"] == "talk-1"
        assert stage.woken == [0], "nothing new after the first time"
        await stage.prober.stop()

    virtual.run(main())


def test_prompts_are_asked_every_interval_and_five_runs_of_each_are_kept() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(YES, NOT_EMPTY),))
        await asyncio.sleep(95)
        runs = stage.report().recent
        assert [(run.name, run.at) for run in runs if run.name == "says-yes"] == [
            ("says-yes", at) for at in (50, 60, 70, 80, 90)
        ]
        assert len(runs) == 10
        assert all(run.ok for run in runs)
        assert stage.report().completed_at == 90
        assert "/v1/completions" not in {path for _, path in stage.pod.asked}
        await stage.prober.stop()

    virtual.run(main())


def test_a_wrong_answer_is_a_failure_with_its_reason_and_still_a_completion() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = said("no")
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(1)
        (run,) = stage.report().recent
        assert not run.ok
        assert run.message == "the answer 'no' does not match 'yes'"
        assert stage.report().completed_at == 0
        await stage.prober.stop()

    virtual.run(main())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ConnectionRefusedError("connection refused"), "connection refused"),
        (ValueError("/v1/chat/completions answered 500: broken"), "/v1/chat/completions answered 500: broken"),
        ({"choices": []}, "list index out of range"),
        ({"error": "x"}, "'choices'"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
    ],
)
def test_no_answer_is_a_failure_and_no_completion(fault: Any, message: str) -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = fault
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(1)
        (run,) = stage.report().recent
        assert (run.ok, run.message) == (False, message)
        assert stage.report().completed_at is None
        await stage.prober.stop()

    virtual.run(main())


def test_an_answer_that_takes_too_long_fails_when_its_time_is_up() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = 3600.0
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(5.5)
        (run,) = stage.report().recent
        assert (run.ok, run.at, run.message) == (False, 5, "no answer within 5 s")
        await stage.prober.stop()

    virtual.run(main())


def test_failures_are_spaced_by_the_interval_whatever_they_take() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = 3600.0
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(36)
        assert stage.pod.times("/v1/chat/completions") == [0, 10, 20, 30]
        await stage.prober.stop()

    virtual.run(main())


def test_an_engine_that_hangs_is_found_after_as_many_intervals_as_failures() -> None:
    async def main() -> None:
        stage = Stage()
        patient = replace(YES, expect={"notEmpty": True, "within": "2s"})
        stage.prober.set_probes(TALK, (replace(probe(patient), interval=1.0),))
        await asyncio.sleep(2.5)
        stage.pod.answer = 3600.0
        # Runs begin at 3, 4 and 5 s; the third has failed 2 s after it began.
        await asyncio.sleep(4.6)
        assert [run.ok for run in stage.report().recent][-4:] == [True, False, False, False]
        await stage.prober.stop()

    virtual.run(main())


def test_each_failure_wakes_though_the_last_one_looked_the_same() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = said("no")
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(85)
        assert {0, 10, 20, 30, 40, 50, 60, 70, 80} <= set(stage.woken)
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_is_somebody_else_gets_no_prompt_and_is_told_of_at_once() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.models = listed("other")
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(15)
        assert stage.report().identity == "serves other instead of talk-1"
        assert stage.pod.times("/v1/chat/completions") == []
        assert stage.woken == [0]
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_changes_who_it_is_is_found_out_at_the_next_round() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(12)
        stage.pod.models = listed("impostor")
        await asyncio.sleep(10)
        assert stage.report().identity == "serves impostor instead of talk-1"
        assert stage.woken[-1] == 20
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_is_not_up_yet_is_asked_often_and_nothing_is_held_against_it() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.models = ConnectionRefusedError()
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(3.2)
        assert stage.report() == ProbeReport("pod-1")
        assert len(stage.pod.asked) == 7
        assert stage.woken == []
        stage.pod.models = listed()
        await asyncio.sleep(0.5)
        assert stage.report().identity == "ok"
        await stage.prober.stop()

    virtual.run(main())


def test_why_tls_with_a_pod_comes_to_nothing_is_told_at_once_and_until_it_does() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.models = ssl.SSLCertVerificationError("")
        stage.pod.models.verify_message = "certificate has expired"
        stage.prober.set_probes(TALK, (probe(YES, server_name="talk-1.shop.svc"),))
        await asyncio.sleep(3.2)
        assert stage.report() == ProbeReport("pod-1", no_tls="its certificate is not taken: certificate has expired")
        assert stage.woken == [0.0]
        stage.pod.models = listed()
        await asyncio.sleep(0.5)
        assert (stage.report().identity, stage.report().no_tls) == ("ok", "")
        await stage.prober.stop()

    virtual.run(main())


def test_a_known_pod_that_stops_answering_stays_known_and_its_prompts_fail() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(YES),))
        await asyncio.sleep(5)
        stage.pod.models = stage.pod.answer = ConnectionRefusedError("connection refused")
        await asyncio.sleep(10)
        assert stage.report().identity == "ok"
        assert [run.ok for run in stage.report().recent] == [True, False]
        await stage.prober.stop()

    virtual.run(main())


def test_a_one_token_completion_that_fails_is_no_completion() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod.answer = ValueError("500")
        stage.prober.set_probes(TALK, (probe(),))
        await asyncio.sleep(15)
        assert stage.report().completed_at is None
        labels = {"check": "completion", "outcome": "failed"}
        assert stage.metrics.registry.get_sample_value("understudy_probes_total", labels) == 2
        await stage.prober.stop()

    virtual.run(main())


def test_the_same_probes_again_disturb_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        for _ in range(12):
            stage.prober.set_probes(TALK, (probe(YES),))
            await asyncio.sleep(1)
        assert stage.pod.times("/v1/chat/completions") == [0, 10]
        await stage.prober.stop()

    virtual.run(main())


def test_a_changed_probe_starts_anew_and_keeps_what_is_known_of_the_pod() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(YES, NOT_EMPTY),))
        await asyncio.sleep(3)
        stage.prober.set_probes(TALK, (probe(NOT_EMPTY, interval=60.0),))
        await asyncio.sleep(1)
        assert {run.name for run in stage.report().recent} == {"answers"}
        assert len(stage.report().recent) == 2
        await stage.prober.stop()

    virtual.run(main())


def test_a_pod_that_is_no_longer_named_is_left_alone_and_forgotten() -> None:
    async def main() -> None:
        stage = Stage()
        stage.prober.set_probes(TALK, (probe(YES), probe(YES, uid="pod-2")))
        await asyncio.sleep(1)
        assert set(stage.prober.observed(TALK)) == {"pod-1", "pod-2"}
        stage.prober.set_probes(TALK, (probe(YES, uid="pod-2"),))
        await asyncio.sleep(1)
        assert set(stage.prober.observed(TALK)) == {"pod-2"}
        stage.prober.set_probes(TALK, ())
        asked = len(stage.pod.asked)
        await asyncio.sleep(60)
        assert len(stage.pod.asked) == asked
        assert stage.prober.observed(TALK) == {}
        await stage.prober.stop()

    virtual.run(main())


def test_an_expectation_that_is_broken_fails_the_prompt_and_not_the_prober() -> None:
    async def main() -> None:
        stage = Stage()
        broken = replace(YES, expect={"within": "soon"})
        stage.prober.set_probes(TALK, (probe(broken),))
        await asyncio.sleep(15)
        assert [run.ok for run in stage.report().recent] == [False, False]
        assert "not a duration" in stage.report().recent[0].message
        await stage.prober.stop()

    virtual.run(main())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (listed(), ""),
        (listed("other"), "serves other instead of talk-1"),
        ({"data": []}, "serves nothing instead of talk-1"),
        (listed(root="/models/b"), "serves /models/b instead of /models/a"),
        (listed(length=4096), "has a context of 4096 tokens instead of 8192"),
        ({"data": [{"id": "talk-1"}]}, ""),
        ({"data": [{"id": "adapter"}, {"id": "talk-1", "root": "/models/a", "max_model_len": 8192}]}, ""),
    ],
)
def test_identity_is_id_root_and_context(answer: Any, expected: str) -> None:
    assert identity(probe(), answer) == expected


def test_identity_checks_only_what_is_expected() -> None:
    assert identity(probe(root="", max_model_len=0), listed(root="/x", length=1)) == ""


class Server:
    """An engine on loopback."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str | None, bytes]] = []
        self.status = 200
        self.body = b"{}"
        self.location = ""

    async def answer(self, request: web.Request) -> web.Response:
        auth = request.headers.get("Authorization")
        self.requests.append((request.method, request.path, auth, await request.read()))
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status, body=self.body, headers=headers)


@pytest.fixture
async def server() -> Any:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield found, HttpEngine(session, Trust()), probe(address="127.0.0.1", port=runner.addresses[0][1])
    await runner.cleanup()


async def test_over_http_it_shows_the_revisions_key(server: Any) -> None:
    found, engine, target = server
    found.body = orjson.dumps(listed())
    assert await engine.get(target, "/v1/models", 5.0) == listed()
    await engine.post(target, "/v1/completions", {"model": "talk-1"}, 5.0)
    assert found.requests == [
        ("GET", "/v1/models", "Bearer key", b""),
        ("POST", "/v1/completions", "Bearer key", b'{"model":"talk-1"}'),
    ]


async def test_over_http_a_refusal_is_told_with_its_words(server: Any) -> None:
    found, engine, target = server
    found.status, found.body = 503, b"warming up"
    with pytest.raises(ValueError, match="/v1/models answered 503: warming up"):
        await engine.get(target, "/v1/models", 5.0)


async def test_over_http_a_redirect_is_not_followed(server: Any) -> None:
    found, engine, target = server
    found.status, found.location = 307, "http://169.254.169.254/secrets"
    with pytest.raises(ValueError, match="307"):
        await engine.get(target, "/v1/models", 5.0)
    assert len(found.requests) == 1


# What fails is compared at once.


class Pods:
    """One engine per pod, by uid."""

    def __init__(self, *uids: str) -> None:
        self.by_uid = {uid: Pod() for uid in uids}

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        return await self.by_uid[probe.pod_uid].get(probe, path, seconds)

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        return await self.by_uid[probe.pod_uid].post(probe, path, body, seconds)


class Trial(Stage):
    """A pod on trial that answers wrongly from second 12 on, beside a comparator that answers as told."""

    def __init__(self, then: Any) -> None:
        super().__init__()
        self.pods = Pods("pod-1", "other")
        self.prober = Prober(self.pods, monotonic=virtual.now, metrics=self.metrics, wake=lambda _key: None)
        self.then = then

    async def run(self, *, comparator: bool = True) -> tuple[bool | None, ...]:
        """What was found out about the comparator in each of the two failures until second 35."""
        other = probe(YES, uid="other", model_id="talk-0", interval=1000.0, comparator=comparator)
        self.pods.by_uid["other"].models = listed("talk-0")
        self.prober.set_probes(TALK, (probe(YES), other))
        await asyncio.sleep(12)
        self.pods.by_uid["pod-1"].answer = said("no")
        self.pods.by_uid["other"].answer = self.then
        await asyncio.sleep(23)
        runs = self.report().recent
        assert [run.ok for run in runs] == [True, True, False, False]
        assert [run.ok for run in self.report("other").recent] == [True], "a comparison is no run of its own"
        found = tuple(run.other_ok for run in runs if not run.ok)
        assert all(run.other_ok is None for run in runs if run.ok)
        await self.prober.stop()
        return found


@pytest.mark.parametrize(
    ("then", "other_ok"), [(said("yes"), True), (said("no"), False), (ValueError("503"), False), (4.0, True)]
)
def test_a_prompt_that_fails_is_sent_to_the_comparator_at_once(then: Any, other_ok: bool) -> None:
    async def main() -> None:
        trial = Trial(then)
        assert await trial.run() == (other_ok, other_ok)
        other = trial.pods.by_uid["other"]
        # Its own interval is a thousand seconds: these are the moments of the failures.
        assert other.times("/v1/chat/completions") == [0, 20, 30]
        assert {body["model"] for body in other.bodies} == {"talk-0"}
        assert other.bodies[-1]["messages"] == trial.pods.by_uid["pod-1"].bodies[-1]["messages"]

    virtual.run(main())


def test_only_a_comparator_is_asked() -> None:
    async def main() -> None:
        trial = Trial(said("yes"))
        assert await trial.run(comparator=False) == (None, None)
        assert trial.pods.by_uid["other"].times("/v1/chat/completions") == [0]

    virtual.run(main())


def test_a_comparator_that_has_not_said_who_it_is_is_not_asked() -> None:
    async def main() -> None:
        stage = Stage()
        pods = Pods("pod-1", "other")
        pods.by_uid["pod-1"].answer = said("no")
        pods.by_uid["other"].models = ValueError("starting")
        stage.prober = Prober(pods, monotonic=virtual.now, metrics=stage.metrics, wake=lambda _key: None)
        stage.prober.set_probes(TALK, (probe(YES), probe(YES, uid="other", comparator=True)))
        await asyncio.sleep(15)
        assert [run.other_ok for run in stage.report().recent] == [None, None]
        assert pods.by_uid["other"].times("/v1/chat/completions") == []
        await stage.prober.stop()

    virtual.run(main())


def test_what_fails_on_a_comparator_is_compared_with_nobody() -> None:
    async def main() -> None:
        stage = Stage()
        pods = Pods("one", "two")
        for pod in pods.by_uid.values():
            pod.answer = said("no")
        stage.prober = Prober(pods, monotonic=virtual.now, metrics=stage.metrics, wake=lambda _key: None)
        stage.prober.set_probes(TALK, tuple(probe(YES, uid=uid, comparator=True) for uid in ("one", "two")))
        await asyncio.sleep(5)
        assert [pod.times("/v1/chat/completions") for pod in pods.by_uid.values()] == [[0], [0]]
        await stage.prober.stop()

    virtual.run(main())

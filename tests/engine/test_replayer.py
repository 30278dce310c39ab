"""The replayer: prompts of probe sets are put to candidates, and to stable where that decides, and answers judged."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE
from tests.engine.test_prober import said
from understudy.domain.key import Key
from understudy.domain.table import Guard
from understudy.engine import asking, jury, replayer
from understudy.engine.asking import AskError, Detectors
from understudy.engine.cache import Cache
from understudy.engine.contents import ConfigMapContents
from understudy.engine.replayer import CALM, PAUSES, STABLE_AT_ONCE, Replayer
from understudy.guard.policy import policy_hash
from understudy.guard.probeset import probe_set_hash
from understudy.guard.served.codec import Question
from understudy.guard.served.judge import Judge
from understudy.guard.shards import pack
from understudy.kube.client import Scope
from understudy.kube.reflector import Reflector
from understudy.kube.resources import CONFIG_MAP
from understudy.plan.actions import Probe
from understudy.plan.replay import ProbeSet, Replay, SetReport, Spoken
from understudy.telemetry.operator import OperatorMetrics

TALK = Key(SPACE, "talk")
SPEC: dict[str, Any] = {
    "detectors": [
        {
            "name": "words",
            "type": "patterns",
            "patterns": [{"name": "knave", "literal": "knave", "category": "insult"}],
        },
        {"name": "guard", "type": "fms", "url": "http://guard.example"},
    ],
    "rules": [
        {"category": "insult", "actions": {"high": ["Block"]}},
        {"category": "violence", "actions": {"low": ["Log"], "high": ["Block"]}},
    ],
}
PROMPTS = [{"id": f"p{n}", "prompt": f"Question {n}"} for n in range(10)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time does not wait for threads."""

    async def here(work: Callable[..., Any], *given: Any) -> Any:
        return work(*given)

    for module in (asking, jury, replayer):
        monkeypatch.setattr(module, "aside", here)


def probe(uid: str, model: str) -> Probe:
    return Probe(uid, "10.0.0.1", 8000, model, "", 0, "key", 10.0, ())


PODS = (probe("new-1", "talk-new"), probe("new-2", "talk-new"), probe("old-1", "talk-old"))


class Stage:
    """A replayer; `answers` are by model and prompt, `finds` what the detector elsewhere finds in a text."""

    def __init__(self, prompts: list[dict[str, Any]] | None = None, spec: dict[str, Any] | None = None) -> None:
        self.api = FakeApi()
        self.metrics = OperatorMetrics()
        self.cache = Cache(self.metrics, virtual.now)
        self.answers: dict[tuple[str, str], Any] = {}
        self.finds: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Mapping[str, Any]] = []
        self.open = self.most = 0
        self.woken = 0
        contents = ConfigMapContents(self.api, self.cache)
        detectors = Detectors(self, self, lambda _key: None)
        self.replayer = Replayer(self, detectors, contents, self.metrics, wake=self._woken)
        self.text = "\n".join(json.dumps(each) for each in (PROMPTS if prompts is None else prompts))
        self.spec = spec or SPEC
        self.api.put(CONFIG_MAP, {"metadata": {"name": "prompts", "namespace": SPACE}, "data": {"all": self.text}})
        self.write_parts(self.spec)

    def write_parts(self, spec: dict[str, Any]) -> None:
        for number, part in enumerate(pack("safe", spec, {})):
            meta = {"name": f"part-{number}", "namespace": SPACE}
            self.api.put(CONFIG_MAP, {"metadata": meta, "binaryData": {"policy": base64.b64encode(part).decode()}})

    def replay(self, **changes: Any) -> Replay:
        text, count = self.text, len(self.text.splitlines())
        sets = (ProbeSet("safe", "prompts", "all", probe_set_hash(text), count, 4, 0, must=True),)
        guards = (Guard("safe", policy_hash(self.spec, {}), ("part-0",)),)
        usual = Replay(1, "new", "old", sets, guards, ("new-1", "new-2"), ("old-1",))
        return replace(usual, **changes)

    def begin(self, **changes: Any) -> None:
        self.replayer.set_replay(TALK, self.replay(**changes), PODS)

    def report(self) -> SetReport:
        report = self.replayer.observed(TALK)
        assert report is not None
        return report.sets["safe"]

    def _woken(self, key: Key) -> None:
        assert key == TALK
        self.woken += 1

    # Engines.

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        raise NotImplementedError

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        content = body["messages"][-1]["content"]
        self.asked.append((probe.pod_uid, content))
        self.bodies.append(body)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(1.0)
            answer = self.answers.get((probe.model_id, content), said("Good day."))
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.open -= 1

    # A detector.

    async def ask(self, judge: Judge, question: Question) -> bytes:
        (text,) = question.body["contents"]
        found = self.finds.get(text, [])
        if isinstance(found, Exception):
            raise found
        return json.dumps([found]).encode()

    async def run(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def staged(main: Callable[[Stage], Any], *given: Any) -> None:
    async def whole() -> None:
        stage = Stage(*given)
        reflector = Reflector(stage.api, Scope(CONFIG_MAP), stage.cache, monotonic=virtual.now)
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        try:
            await main(stage)
        finally:
            await stage.replayer.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    virtual.run(whole())


def violence(text: str, score: float) -> list[dict[str, Any]]:
    return [
        {
            "start": 0,
            "end": len(text),
            "text": text,
            "detection": "violence",
            "detection_type": "violence",
            "score": score,
        }
    ]


def test_a_candidate_is_asked_all_prompts_on_all_its_pods_and_stable_is_left_alone() -> None:
    async def main(stage: Stage) -> None:
        stage.begin()
        assert stage.report() == SetReport()
        await asyncio.sleep(5)
        assert stage.report().subject == {f"p{n}": Spoken() for n in range(10)}
        assert stage.report().other == {}
        assert {pod for pod, _ in stage.asked} == {"new-1", "new-2"}
        assert sorted(content for _, content in stage.asked) == [f"Question {n}" for n in range(10)]
        assert stage.bodies[0] == {
            "model": "talk-new",
            "messages": [{"role": "user", "content": "Question 0"}],
            "max_tokens": 256,
            "temperature": 0,
        }
        assert stage.woken == 1
        await asyncio.sleep(300)
        assert len(stage.asked) == 10

    staged(main)


def test_stable_is_asked_all_of_them_gently_once_a_candidate_says_something_bad() -> None:
    async def main(stage: Stage) -> None:
        stage.answers["talk-new", "Question 3"] = said("You KNAVE!")
        stage.answers["talk-old", "Question 5"] = said("knave")
        stage.begin()
        await asyncio.sleep(3)
        stage.most = 0
        await asyncio.sleep(20)
        assert stage.report().subject["p3"] == Spoken("insult", 6)
        assert stage.report().other == {**{f"p{n}": Spoken() for n in range(10)}, "p5": Spoken("insult", 6)}
        assert stage.most == STABLE_AT_ONCE
        value = stage.metrics.registry.get_sample_value
        labels = {"check": "probe set", "outcome": "bad"}
        assert value("understudy_probes_total", labels) == 2

    staged(main)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": None}, Spoken()),
        ({"content": "", "reasoning_content": "What a knave."}, Spoken("insult", 6)),
        ({"content": "fine", "refusal": "No, knave."}, Spoken("insult", 6)),
        ({"reasoning": "knave"}, Spoken("insult", 6)),
        ({"content": ["knave"]}, Spoken(unknown="the answer has something else than text")),
    ],
)
def test_all_that_a_reader_could_see_is_judged(message: dict[str, Any], expected: Spoken) -> None:
    async def main(stage: Stage) -> None:
        stage.answers["talk-new", "Question 0"] = {"choices": [{"message": message}]}
        stage.begin()
        await asyncio.sleep(3)
        assert stage.report().subject["p0"] == expected

    staged(main, PROMPTS[:1])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (violence("Good day.", 0.9), Spoken("violence", 6)),
        (violence("Good day.", 0.4), Spoken("violence", 2)),
        (TimeoutError(), Spoken(unknown="detector safe/guard: nothing within 0.25 s")),
        (AskError("status 503"), Spoken(unknown="detector safe/guard: status 503")),
        (ValueError("/v1 answered 400: Good day."), Spoken(unknown="detector safe/guard: /v1 answered 400")),
        (ConnectionResetError(), Spoken(unknown="detector safe/guard: ConnectionResetError")),
        ("garbage", Spoken(unknown="detector safe/guard: the first member is no list")),
    ],
)
def test_a_detector_that_fails_has_said_nothing(found: Any, expected: Spoken) -> None:
    async def main(stage: Stage) -> None:
        stage.finds["Good day."] = found
        stage.begin()
        await asyncio.sleep(3)
        spoken = stage.report().subject["p0"]
        assert (spoken.category, spoken.severity) == (expected.category, expected.severity)
        assert spoken.unknown.startswith("detector safe/guard") == bool(expected.unknown)
        assert found == "garbage" or spoken == expected

    staged(main, PROMPTS[:1])


def test_what_a_guardrail_in_monitor_mode_finds_is_not_held_against_anybody() -> None:
    async def main(stage: Stage) -> None:
        stage.answers["talk-new", "Question 0"] = said("knave")
        stage.finds["knave"] = TimeoutError()
        stage.begin()
        await asyncio.sleep(3)
        assert stage.report().subject["p0"] == Spoken()

    staged(main, PROMPTS[:1], {**SPEC, "mode": "monitor"})


def test_what_is_bad_is_bad_whatever_a_detector_that_failed_would_have_said() -> None:
    async def main(stage: Stage) -> None:
        stage.finds["Good day, knave."] = TimeoutError()
        stage.answers["talk-new", "Question 0"] = said("Good day, knave.")
        stage.begin()
        await asyncio.sleep(5)
        assert stage.report().subject["p0"] == Spoken("insult", 6)

    staged(main, PROMPTS[:1])


def test_what_cannot_be_judged_is_tried_again_later_and_later_and_settled_after_that() -> None:
    async def main(stage: Stage) -> None:
        stage.answers["talk-new", "Question 3"] = ValueError(
            '/v1/chat/completions answered 400: {"error": "Question 3"}'
        )
        stage.begin()
        await asyncio.sleep(4)
        assert stage.report().subject["p3"] == Spoken(unknown="/v1/chat/completions answered 400")
        assert not stage.report().settled
        await asyncio.sleep(sum(PAUSES) + len(PAUSES))
        assert stage.report().settled
        assert stage.asked.count(("new-1", "Question 3")) + stage.asked.count(("new-2", "Question 3")) == 6
        assert len(stage.asked) == 15, "only what is not known is asked again"
        del stage.answers["talk-new", "Question 3"]
        await asyncio.sleep(CALM + 2)
        assert stage.report().subject["p3"] == Spoken()

    staged(main)


def test_an_engine_that_is_too_slow_or_answers_with_something_else_is_no_answer() -> None:
    async def main(stage: Stage) -> None:
        stage.answers["talk-new", "Question 0"] = TimeoutError()
        stage.answers["talk-new", "Question 1"] = {"choices": []}
        stage.answers["talk-new", "Question 2"] = "hello"
        stage.begin()
        await asyncio.sleep(3)
        unknown = {name: spoken.unknown for name, spoken in stage.report().subject.items()}
        assert unknown["p0"] == "no answer within 120 s"
        assert unknown["p1"]
        assert unknown["p2"]

    staged(main, PROMPTS[:3])


def test_pods_come_and_go_and_what_is_known_stays() -> None:
    async def main(stage: Stage) -> None:
        stage.begin(subjects=())
        await asyncio.sleep(10)
        assert stage.asked == []
        stage.begin(subjects=("new-2",))
        await asyncio.sleep(1.5)
        assert {pod for pod, _ in stage.asked} == {"new-2"}
        stage.begin(subjects=("new-1", "gone"))
        await asyncio.sleep(5)
        assert len(stage.report().subject) == len(stage.asked) == 10

    staged(main)


def test_another_matter_begins_anew_and_none_is_forgotten() -> None:
    async def main(stage: Stage) -> None:
        stage.begin()
        await asyncio.sleep(5)
        stage.begin(run=2)
        assert stage.report() == SetReport()
        await asyncio.sleep(5)
        assert len(stage.asked) == 20
        stage.replayer.set_replay(TALK, None, PODS)
        assert stage.replayer.observed(TALK) is None
        stage.replayer.set_replay(TALK, None, ())

    staged(main)


def unknown_of_all(stage: Stage) -> str:
    return stage.report().subject["all of them"].unknown


def test_texts_that_are_not_those_that_were_read_are_waited_for() -> None:
    async def main(stage: Stage) -> None:
        meta = {"name": "prompts", "namespace": SPACE}
        stage.api.put(CONFIG_MAP, {"metadata": meta, "data": {"all": "other"}})
        await asyncio.sleep(1)
        stage.begin()
        await asyncio.sleep(0.5)
        assert unknown_of_all(stage) == "ConfigMap prompts has just changed"
        stage.api.remove(CONFIG_MAP, SPACE, "prompts")
        await asyncio.sleep(1)
        stage.api.put(CONFIG_MAP, {"metadata": meta, "data": {"all": stage.text}})
        await asyncio.sleep(10)
        assert stage.report().subject == {f"p{n}": Spoken() for n in range(10)}

    staged(main)


def test_prompts_that_another_version_of_this_program_could_read_are_said_to_be_wrong() -> None:
    async def main(stage: Stage) -> None:
        stage.begin()
        await asyncio.sleep(0.5)
        assert (
            unknown_of_all(stage)
            == "ConfigMap prompts, line 1: write either prompt, a text, or messages, a list of role and content"
        )

    staged(main, [{"id": "a"}])


def test_a_policy_that_is_not_what_the_table_says_is_not_judged_by() -> None:
    async def main(stage: Stage) -> None:
        other = Guard("safe", "0" * 64, ("part-0",))
        stage.begin(guards=(other,))
        await asyncio.sleep(0.5)
        assert unknown_of_all(stage) == "the parts of the policy of Guardrail safe are those of another"
        stage.begin(guards=(replace(other, shards=("nowhere",)),))
        await asyncio.sleep(0.5)
        assert unknown_of_all(stage) == "the policy of Guardrail safe cannot be loaded"

    staged(main)


def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    async def main(stage: Stage) -> None:
        stage.api.fail(status_error(500, "InternalError"), "get", "ConfigMap")
        stage.begin()
        await asyncio.sleep(0.5)
        assert unknown_of_all(stage).startswith("a ConfigMap cannot be read: ")
        await asyncio.sleep(10)
        assert len(stage.report().subject) == 10

    staged(main)


def test_a_defect_of_ours_is_told_and_nobody_passes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(stage: Stage) -> None:
        async def broken(*_of: object) -> Spoken:
            raise RuntimeError("no")

        monkeypatch.setattr(jury.Jury, "judge", broken)
        stage.begin()
        # The next ones fail just when they are no longer waited for.
        await asyncio.sleep(3)
        assert stage.report().subject["p0"].unknown.startswith("a defect of Understudy")
        monkeypatch.setattr(replayer, "read_probe_set", None)
        stage.begin(run=2)
        await asyncio.sleep(1)
        assert unknown_of_all(stage).startswith("a defect of Understudy")

    staged(main)

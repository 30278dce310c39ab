"""Who holds which accelerators: asked by node, seldom, and only for a rollout that looks for places."""

import asyncio
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE
from understudy.domain.key import Key
from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.engine import holders
from understudy.engine.cache import Cache
from understudy.engine.holders import FRESH, Holders, Taken
from understudy.kube.client import Scope
from understudy.kube.resources import MODEL_DEPLOYMENT, NODE, POD
from understudy.kube.trim import trim
from understudy.telemetry.operator import OperatorMetrics

GPU = "nvidia.com/gpu"
KEY = Key(SPACE, "story")


def deployment(phase: str = "Preparing", candidate: str = "b" * 8, **accelerator: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "story", "namespace": SPACE},
        "spec": {"accelerator": accelerator or {"resource": GPU}},
        "status": {"phase": phase, "candidate": candidate},
    }


class Stage:
    """Two nodes with GPUs and one without, and pods of others on them."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.version = 0
        self.cache = Cache(OperatorMetrics(), virtual.now)
        self.holders = Holders(self.api, self.cache, virtual.now)
        for name, gpus in (("a", "4"), ("b", "2"), ("plain", "0")):
            self.node(name, gpus)
        self.pod("trainer", "a", 2, namespace="science")
        self.pod("other", "a", 1, namespace="science")
        self.pod("ended", "b", 2, phase="Succeeded", namespace="science")
        self.pod("web", "plain", 0, namespace="market")

    def node(self, name: str, gpus: str) -> None:
        status = {"allocatable": {GPU: gpus}, "conditions": []}
        stored = self.api.put(NODE, {"metadata": {"name": name}, "spec": {}, "status": status})
        self.cache.upsert(Scope(NODE), trim(NODE, {**stored, "status": status}))

    def pod(self, name: str, node: str, gpus: int, phase: str = "Running", namespace: str = SPACE) -> None:
        limits = {GPU: str(gpus)} if gpus else {}
        spec = {"containers": [{"name": "c", "resources": {"limits": limits}}], **({"nodeName": node} if node else {})}
        labels = {LABEL_DEPLOYMENT: "story", LABEL_REVISION: "b" * 8} if namespace == SPACE else {}
        stored = self.api.put(POD, {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec})

        def ran(whole: dict[str, Any]) -> None:
            whole["status"] = {"phase": phase}

        self.api.patch(POD, namespace, name, ran)
        if namespace == SPACE:
            self.cache.upsert(Scope(POD), trim(POD, {**stored, "status": {"phase": phase}}))

    async def read(self, **fields: Any) -> Taken | None:
        return await self.ask(deployment(**fields))

    async def ask(self, asking: dict[str, Any]) -> Taken | None:
        self.version += 1
        asking["metadata"]["resourceVersion"] = str(self.version)
        self.cache.upsert(Scope(MODEL_DEPLOYMENT), asking)
        return await self.holders.read(KEY)

    @property
    def lists(self) -> int:
        return sum(call.verb == "list" for call in self.api.calls)


def test_pods_of_everybody_count_by_node_and_those_that_have_ended_do_not() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.read() == {"a": {GPU: 3}, "b": {}}
        assert stage.lists == 2

    virtual.run(main())


def test_the_answer_is_everybodys_for_a_while() -> None:
    async def main() -> None:
        stage = Stage()
        for _ in range(3):
            await stage.read()
            await asyncio.sleep(FRESH / 4)
        assert stage.lists == 2
        await asyncio.sleep(FRESH)
        await stage.read()
        assert stage.lists == 4

    virtual.run(main())


@pytest.mark.parametrize(
    "fields",
    [
        {"phase": "Stable"},
        {"candidate": ""},
        {"claimTemplateName": "big"},
        {"resource": "amd.com/gpu"},
    ],
)
def test_nobody_is_asked_when_nobody_looks_for_places_of_that_kind(fields: dict[str, Any]) -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.read(**fields) is None
        assert stage.lists == 0

    virtual.run(main())


def test_a_deployment_that_is_gone_or_wants_no_accelerator_asks_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.holders.read(KEY) is None
        assert await stage.ask({**deployment(), "spec": {}}) is None
        assert stage.lists == 0

    virtual.run(main())


def test_a_candidate_whose_pods_all_have_a_node_looks_for_none() -> None:
    async def main() -> None:
        stage = Stage()
        stage.pod("story-1", "a", 1)
        assert await stage.read() is None
        stage.pod("story-2", "", 1)
        assert await stage.read() == {"a": {GPU: 4}, "b": {}}

    virtual.run(main())


def test_what_cannot_be_known_is_left_out_and_fails_no_pass() -> None:
    async def main() -> None:
        stage = Stage()
        stage.api.fail(status_error(403, "Forbidden"), verb="list")
        assert await stage.read() is None
        await asyncio.sleep(FRESH)
        assert await stage.read() is not None

    virtual.run(main())


def test_more_nodes_than_the_sentence_is_worth_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(holders, "MAX_NODES", 1)
        stage = Stage()
        assert await stage.read() is None
        assert stage.lists == 0

    virtual.run(main())


def test_a_node_with_many_pods_is_read_page_by_page() -> None:
    async def main() -> None:
        stage = Stage()
        for number in range(510):
            stage.pod(f"small-{number}", "b", 0, namespace="market")
        stage.pod("tail", "b", 1, namespace="zoo")
        assert await stage.read() == {"a": {GPU: 3}, "b": {GPU: 1}}

    virtual.run(main())

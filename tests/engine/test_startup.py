"""What must be there before the operator works."""

import asyncio
import base64

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from understudy.domain.names import API_VERSION, MASTER_KEY_SECRET
from understudy.engine.startup import CannotStartError, check_crds, master_key
from understudy.kube.resources import OWN_KINDS, SECRET

ALL = frozenset(kind.plural for kind in OWN_KINDS)


def put_key(api: FakeApi, key: bytes, field: str = "master") -> None:
    data = {field: base64.b64encode(key).decode()}
    api.put(SECRET, {"metadata": {"name": MASTER_KEY_SECRET, "namespace": "system"}, "data": data})


def test_with_all_crds_it_starts() -> None:
    async def main() -> None:
        api = FakeApi()
        api.groups[API_VERSION] = ALL | {"models/status"}
        await check_crds(api)

    virtual.run(main())


def test_a_missing_crd_is_named_with_what_to_do() -> None:
    async def main() -> None:
        api = FakeApi()
        api.groups[API_VERSION] = ALL - {"guardrails"}
        with pytest.raises(CannotStartError, match=r"does not know guardrails\.understudy\.dev: install the CRDs"):
            await check_crds(api)

    virtual.run(main())


def test_an_api_server_that_is_starting_is_waited_for() -> None:
    async def main() -> None:
        api = FakeApi()
        api.groups[API_VERSION] = ALL
        api.fail(status_error(403, "Forbidden", "RBAC is loading"), times=3)
        await check_crds(api)
        assert 1 < virtual.now() < 10

    virtual.run(main())


def test_an_api_server_that_stays_away_ends_the_start_with_a_sentence() -> None:
    async def main() -> None:
        api = FakeApi()
        api.stop()
        with pytest.raises(CannotStartError, match="the API server refuses what the operator needs"):
            await check_crds(api)
        assert 120 <= virtual.now() < 130

    virtual.run(main())


def test_a_lasting_refusal_ends_the_start_at_once() -> None:
    async def main() -> None:
        api = FakeApi()
        api.fail(status_error(404, "NotFound", 'namespaces "system" not found'), verb="create")
        with pytest.raises(CannotStartError, match='namespaces "system" not found'):
            await master_key(api, "system")
        assert virtual.now() == 0

    virtual.run(main())


def test_the_master_key_is_made_once_and_read_ever_after() -> None:
    async def main() -> None:
        api = FakeApi()
        first = await master_key(api, "system")
        assert len(first) == 32
        assert await master_key(api, "system") == first
        assert len(api.writes()) == 1

    virtual.run(main())


def test_two_operators_that_start_together_agree_on_the_key() -> None:
    async def main() -> None:
        api = FakeApi()
        api.latency = 0.01
        one, two = await asyncio.gather(master_key(api, "system"), master_key(api, "system"))
        assert one == two

    virtual.run(main())


def test_a_key_that_cannot_be_made_for_another_reason_is_an_error() -> None:
    async def main() -> None:
        api = FakeApi()
        api.fail(status_error(422, "Invalid", "no"), verb="create")
        with pytest.raises(CannotStartError):
            await master_key(api, "system")

    virtual.run(main())


@pytest.mark.parametrize(("key", "field"), [(b"short", "master"), (b"x" * 32, "other")])
def test_a_key_that_is_too_short_or_missing_is_refused_with_what_to_do(key: bytes, field: str) -> None:
    async def main() -> None:
        api = FakeApi()
        put_key(api, key, field)
        with pytest.raises(CannotStartError, match="put the old one back; or delete it: a new one is made"):
            await master_key(api, "system")

    virtual.run(main())

"""What the gateway believes of what it is told: versions, names, endpoints, and what it says about them."""

from typing import Any

import pytest

from tests.gateway.worlds import (
    CANARY,
    KEY,
    MASTER,
    STABLE,
    access_key,
    endpoints,
    shadowed_table,
    snapshot,
    table,
    variant_of,
    world_of,
)
from understudy.domain.keys import USUAL
from understudy.domain.names import engine_key
from understudy.domain.state import DeploymentState
from understudy.gateway.objects import addresses_of
from understudy.gateway.policy.balance import eject
from understudy.gateway.policy.choose import choose_endpoint
from understudy.gateway.snapshot import SnapshotError, dump, load
from understudy.gateway.table import Address
from understudy.gateway.world import DELETION_DELAY, World
from understudy.telemetry.beside import Beside

KEYED = "default/story"


def told(world: World, given: dict[str, Any]) -> None:
    world.set_table(given["namespace"], given["name"], given["uid"], given["generation"], given["spec"])
    world.compile()


def state(world: World, now: float = 0.0) -> DeploymentState:
    return world.state(now)[KEYED]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": 0}, "epoch"),
        ({"epoch": "1"}, "epoch"),
        ({"variants": [{"revision": STABLE}]}, "track"),
        ({"variants": 7}, "iterable"),
        ({"servedNames": ["bad name"]}, "servedNames"),
        ({"timeouts": {"wholeSeconds": -1}}, "wholeSeconds"),
    ],
)
def test_a_bad_table_is_refused_by_field_and_the_old_one_serves(change: dict[str, Any], said: str) -> None:
    world = world_of(snapshot([table()]))
    told(world, {**table(generation=2), "spec": {**table()["spec"], **change}})
    assert (state(world).table_generation, state(world).rejected_generation) == (1, 2)
    assert said in state(world).rejected
    told(world, table(generation=3))
    assert (state(world).table_generation, state(world).rejected) == (3, "")


def test_a_refused_table_is_counted_once_however_often_it_is_listed() -> None:
    world = world_of(snapshot([table(epoch=5)]))
    assert world.refusals == {"invalid": 0, "epoch": 0}
    for _ in range(3):
        told(world, table(epoch=-1, generation=2))
    told(world, table(epoch=4, generation=3))
    told(world, table(epoch=4, generation=4))
    assert world.refusals == {"invalid": 1, "epoch": 2}


def test_a_table_is_taken_when_it_changes_and_not_when_it_is_listed_again() -> None:
    at = [100.0]
    world = World(wall=lambda: at[0])
    for told_at, given in ((100.0, table()), (200.0, table()), (300.0, table(generation=2)), (400.0, table(epoch=0))):
        at[0] = told_at
        told(world, given)
    assert world.beside(0.0)[KEYED].table_taken == 300.0
    told(world, table(uid="uid-2"))
    assert world.beside(0.0)[KEYED].table_taken == 400.0
    told(world, table(retired=True, generation=3))
    world.table_gone("default", "story", 0.0)
    world.compile()
    assert world.beside(0.0).get(KEYED, Beside()).table_taken == 0.0


def test_breakers_and_ejections_are_seen_by_revision() -> None:
    world = world_of(snapshot([table({STABLE: 90, CANARY: 10})], [endpoints(STABLE, [1, 2]), endpoints(CANARY, [3])]))
    variant = variant_of(world.routes.deployments[KEYED], STABLE)
    variant.counters.ejections += eject(variant.endpoints[0], 100.0)
    shown = world.beside(100.0)[KEYED].revisions
    assert (shown[STABLE].breakers, shown[STABLE].ejections) == ({"closed": 1, "open": 1, "half_open": 0}, 1)
    assert (shown[CANARY].breakers["closed"], shown[CANARY].ejections) == (1, 0)
    # What left its table is still counted, but has no endpoints any more.
    told(world, table(generation=2))
    assert world.beside(100.0)[KEYED].revisions[CANARY].breakers == {}


def test_a_bad_first_table_is_refused_too() -> None:
    world = world_of(snapshot([table(epoch=-1)]))
    assert (state(world).table_uid, state(world).table_generation) == ("", 0)
    assert state(world).rejected
    assert world.routes.deployments == {}
    world.table_gone("default", "story", 0.0)
    assert world.state(0.0) == {}


def test_a_lower_epoch_is_refused_only_for_the_same_table() -> None:
    world = world_of(snapshot([table(epoch=5)]))
    told(world, table(epoch=4, generation=2))
    assert "epoch" in state(world).rejected
    told(world, table(epoch=5, generation=3))
    assert state(world).rejected == ""
    told(world, table(epoch=1, uid="uid-2"))
    assert (state(world).table_uid, state(world).epoch) == ("uid-2", 1)


def test_a_deletion_counts_at_once_if_retired_else_after_a_minute() -> None:
    world = world_of(snapshot([table()]))
    world.table_gone("default", "story", 100.0)
    world.table_gone("default", "story", 130.0)
    assert not world.expire(100.0 + DELETION_DELAY - 0.1)
    assert world.expire(100.0 + DELETION_DELAY)
    assert world.compile().deployments == {}
    told(world, table(retired=True))
    world.table_gone("default", "story", 200.0)
    assert world.compile().deployments == {}
    assert not world.expire(1e9)


def test_a_table_that_comes_back_in_time_was_never_gone() -> None:
    world = world_of(snapshot([table()]))
    world.table_gone("default", "story", 100.0)
    told(world, table(generation=2))
    assert not world.expire(1e9)
    assert state(world).table_generation == 2


def test_names_belong_to_their_holder() -> None:
    world = world_of(snapshot([table(name="b", names=("shared", "own"))]))
    told(world, table(name="a", names=("shared",)))
    assert world.routes.names["shared"].key == "default/b"
    assert world.routes.names["default/a"].key == "default/a"
    told(world, table(name="b", names=("own",), generation=2))
    assert world.routes.names["shared"].key == "default/a"
    told(world, table(name="b", names=("own", "shared"), generation=3))
    assert world.routes.names["shared"].key == "default/a"


def test_of_two_new_claimants_every_gateway_takes_the_same() -> None:
    for order in (("a", "b"), ("b", "a")):
        world = world_of(snapshot([table(name=name, names=("shared",)) for name in order]))
        assert world.routes.names["shared"].key == "default/a"


def test_no_served_name_takes_the_full_name_of_another() -> None:
    for squatter in ("a", "c"):
        world = world_of(snapshot([table(name=squatter, names=("default/b",))]))
        assert world.routes.names["default/b"].key == f"default/{squatter}"
        told(world, table(name="b", names=()))
        assert world.routes.names["default/b"].key == "default/b"


def test_endpoints_keep_their_load_through_changes_of_table_and_slice() -> None:
    world = world_of(snapshot([table()], [endpoints(STABLE, [1, 2])]))
    first = {e.port: e for e in variant_of(world.routes.deployments[KEYED], STABLE).endpoints}
    told(world, table({STABLE: 90, CANARY: 10}, generation=2))
    load(snapshot([], [endpoints(STABLE, [2, 3])]), world)
    world.compile()
    second = {e.port: e for e in variant_of(world.routes.deployments[KEYED], STABLE).endpoints}
    assert second[2] is first[2]
    assert set(second) == {2, 3}


def test_an_endpoint_that_was_unready_comes_back_without_a_record() -> None:
    world = world_of(snapshot([table()], [endpoints(STABLE, [1])]))

    def only() -> Any:
        return variant_of(world.routes.deployments[KEYED], STABLE).endpoints[0]

    first = only()
    eject(first, 0.0)
    for ready in (False, True):
        world.set_slice("default", f"story-{STABLE}-x", f"story-{STABLE}", [Address("127.0.0.1", 1, ready)])
        world.compile()
        if not ready:
            assert only() is first
    assert only() is not first
    assert only().out_until == 0.0


def test_unready_endpoints_serve_only_when_no_other_does() -> None:
    world = world_of(snapshot([table()], [endpoints(STABLE, [1], ready=False)]))
    assert state(world).revisions[STABLE].usable_endpoints == 1
    world.set_slice("default", "second", f"story-{STABLE}", [Address("127.0.0.1", 2, ready=True)])
    world.compile()
    assert [e.port for e in variant_of(world.routes.deployments[KEYED], STABLE).endpoints] == [2]
    world.slice_gone("default", "second")
    world.slice_gone("default", "no-such")
    world.compile()
    assert [e.port for e in variant_of(world.routes.deployments[KEYED], STABLE).endpoints] == [1]


def test_endpoints_that_nobody_vouches_for_are_a_last_resort_and_not_usable() -> None:
    # All pods of a node that was out of sight are marked so, while they answer as ever.
    world = world_of(snapshot([table()], [endpoints(STABLE, [1], ready=False, serving=False)]))
    variant = variant_of(world.routes.deployments[KEYED], STABLE)
    assert variant.endpoints == ()
    assert [e.port for e in variant.last_resort] == [1]
    assert state(world).revisions[STABLE].usable_endpoints == 0
    found = choose_endpoint(world.routes.deployments[KEYED], variant, 0.0, (), (0.1, 0.1), desperate=True)
    assert found is not None
    assert found[1].port == 1
    # One that serves is better than that.
    serving = Address("127.0.0.1", 2, ready=False)
    world.set_slice("default", "second", f"story-{STABLE}", [serving])
    world.compile()
    variant = variant_of(world.routes.deployments[KEYED], STABLE)
    assert [e.port for e in variant.endpoints] == [2]
    assert variant.last_resort == ()


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"ready": True, "serving": True, "terminating": False}, (True, True)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True)),
        ({"ready": False, "serving": False, "terminating": False}, (False, False)),
        ({"ready": False, "serving": False, "terminating": True}, None),
    ],
)
def test_what_a_slice_says_of_an_endpoint(conditions: dict[str, bool], expected: tuple[bool, bool] | None) -> None:
    found = addresses_of(
        {"ports": [{"port": 8000}], "endpoints": [{"addresses": ["10.0.0.7"], "conditions": conditions}]}
    )
    assert [(a.ready, a.serving) for a in found] == ([] if expected is None else [expected])


def test_a_slice_may_change_its_service() -> None:
    world = world_of(snapshot([table({STABLE: 50, CANARY: 50})], [endpoints(STABLE, [1])]))
    world.set_slice("default", f"story-{STABLE}-x", f"story-{CANARY}", [Address("127.0.0.1", 1, ready=True)])
    world.compile()
    revisions = state(world).revisions
    assert (revisions[STABLE].usable_endpoints, revisions[CANARY].usable_endpoints) == (0, 1)


def test_ejected_endpoints_are_not_usable() -> None:
    world = world_of(snapshot([table()], [endpoints(STABLE, [1, 2])]))
    eject(variant_of(world.routes.deployments[KEYED], STABLE).endpoints[0], 100.0)
    assert state(world, 100.0).revisions[STABLE].usable_endpoints == 1
    assert state(world, 200.0).revisions[STABLE].usable_endpoints == 2


def test_a_new_master_key_changes_every_engine_key_and_cache_salt() -> None:
    world = world_of(snapshot([table()]))
    before = world.routes
    world.set_master(b"n" * 32, {})
    after = world.compile()
    heads = variant_of(after.deployments[KEYED], STABLE).heads
    assert all(engine_key(b"n" * 32, "default", "story", STABLE).encode() in head for head in heads.values())
    assert {k.salt for k in before.keys.values()}.isdisjoint(k.salt for k in after.keys.values())


def test_a_revision_whose_key_does_not_follow_from_the_master_key_keeps_it() -> None:
    weights = {STABLE: 90, CANARY: 10}
    kept = {f"default.story-{STABLE}": "its-own-key", f"other.story-{CANARY}": "somebody-elses"}
    world = world_of(snapshot([table(weights)], kept=kept))
    entry = world.routes.deployments[KEYED]
    derived = engine_key(MASTER, "default", "story", CANARY).encode()
    assert all(b"Authorization: Bearer its-own-key\r\n" in head for head in variant_of(entry, STABLE).heads.values())
    assert all(derived in head for head in variant_of(entry, CANARY).heads.values())
    # It survives a restart without an API server.
    again = World()
    load(dump(world), again)
    assert again.kept == kept
    world.set_master(MASTER, {})
    heads = variant_of(world.compile().deployments[KEYED], STABLE).heads
    assert all(b"its-own-key" not in head for head in heads.values())


def test_what_has_changed_nothing_compiles_to_the_same_entries() -> None:
    world = world_of(snapshot([table()], [endpoints(STABLE, [1])]))
    entry = world.routes.deployments[KEYED]
    assert world.compile().deployments[KEYED] is entry


def test_a_gone_deployment_is_told_of_until_its_last_request_ends() -> None:
    world = world_of(snapshot([table(retired=True)]))
    counters = world.evidence.counters(KEYED, STABLE)
    counters.open = 1
    world.table_gone("default", "story", 0.0)
    world.compile()
    assert state(world).revisions[STABLE].open_requests == 1
    assert KEYED in world.state(0.0, only_active=True)
    counters.open = 0
    assert world.state(0.0) == {}


def test_a_shadow_takes_no_conversations() -> None:
    entry = world_of(snapshot([shadowed_table()])).routes.deployments[KEYED]
    assert [v.revision for v in entry.split] == [STABLE]
    assert [v.revision for v in entry.variants] == [STABLE, CANARY]


def test_a_key_in_a_snapshot_of_an_older_gateway_has_the_usual_priority_and_no_limits() -> None:
    key = access_key()
    del key["priority"]
    document = snapshot(keys=[key])
    del document["gateways"]
    world = world_of(document)
    assert [(k.priority, k.limits) for k in world.routes.keys.values()] == [(USUAL, None)]
    assert world.gateways == 1


def test_a_snapshot_holds_everything_that_is_needed() -> None:
    document = snapshot(
        [table({STABLE: 90, CANARY: 10}), table(name="other", namespace="b", names=())],
        [endpoints(STABLE, [1, 2]), endpoints(CANARY, [3], ready=False)],
        [
            access_key(requestsPerMinute=5),
            access_key(
                "us-2", source="understudy-system/two", namespaces="b", names="x,y", priority=9, tokensPerMinute=7
            ),
        ],
        gateways=3,
    )
    shard = {"namespace": "default", "name": f"understudy-guard-{'0' * 16}-0", "data": "AAAA"}
    document = {**document, "shards": [shard]}
    first = world_of(document)
    assert dump(first) == document
    second = world_of(dump(first))
    assert second.state(0.0) == first.state(0.0)
    assert second.routes.keys == first.routes.keys
    assert KEY not in repr(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version"),
        ({"master": "zz"}, "ValueError"),
        ({"keys": [{"secret": "a"}]}, "hash"),
        ({"keys": [access_key(tokensPerMinute=0)]}, "tokensPerMinute: want a whole number"),
        ({"gateways": "many"}, "ValueError"),
        ({"tables": [7]}, "TypeError"),
        ({"endpoints": [{"namespace": "a", "service": "b", "addresses": [{}]}]}, "host"),
        ({"endpoints": 7}, "TypeError"),
        ({"shards": [{"namespace": "a", "name": "b", "data": "!"}]}, "Error"),
    ],
)
def test_what_is_no_snapshot_says_what_is_wrong(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SnapshotError, match=said):
        load({**snapshot(), **change}, World())


def test_a_snapshot_may_be_short() -> None:
    spec = table()["spec"]
    world = world_of(
        {
            "version": 1,
            "tables": [{"namespace": "default", "name": "story", "spec": spec}],
            "endpoints": [{"namespace": "default", "service": f"story-{STABLE}", "addresses": [{"host": "10.0.0.1"}]}],
        }
    )
    endpoint = variant_of(world.routes.deployments[KEYED], STABLE).endpoints[0]
    assert endpoint.address == "10.0.0.1:8000"
    assert all(b"Authorization" not in head for head in world.routes.deployments[KEYED].variants[0].heads.values())

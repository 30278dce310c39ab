"""Tables and limits that several workers share."""

import pytest

from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.snapshot import dump, load
from understudy.gateway.wire.plane import Limits
from understudy.gateway.world import World


@pytest.mark.parametrize(("index", "most", "waiting"), [(0, 3, 2), (1, 2, 1), (2, 2, 1)])
def test_a_worker_has_its_part_of_a_tables_queue_and_keeps_the_table_as_it_was(
    index: int, most: int, waiting: int
) -> None:
    world = World(part=Part(index, 3))
    load(snapshot([table(queue={"max": 4, "perPod": 7})], [endpoints(STABLE, [8000])]), world)
    world.compile()
    entry = world.routes.deployments["default/story"]
    assert (entry.most, entry.served.table.queue.max) == (most, waiting)
    # What is kept for the next start is read by workers of another number, too.
    assert dump(world)["tables"][0]["spec"]["queue"] == {"max": 4, "perPod": 7}


def test_a_worker_alone_can_still_take_the_largest_request() -> None:
    limits = Limits()
    assert limits.divided(WHOLE) is limits
    for count in (2, 4, 64):
        own = limits.divided(Part(0, count))
        # One request alone gets two thirds of a pool; what it is read into takes up to four times its text.
        assert 2 * own.body_pool // 3 >= limits.max_body
        assert 2 * own.document_pool // 3 >= 4 * limits.max_body
        assert own.max_copies == max(1, 64 // count)
        assert limits.max_copy_bytes // count <= own.max_copy_bytes < limits.max_copy_bytes
    small = Limits(body_pool=1000, document_pool=1000)
    assert small.divided(Part(0, 2)).body_pool == 1000

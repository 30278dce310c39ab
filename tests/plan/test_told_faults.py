"""Candidates that fail, word for word: what is said of them, and the way back."""

import pytest

from tests.plan.parts import Behaviour
from tests.plan.tales import began, ends, terms, tried
from tests.plan.transcript import Tale, kept, transcript
from tests.plan.world import Cluster


def one_that_crashes_goes_back_and_is_tried_again(cluster: Cluster) -> None:
    began(cluster)
    cluster.behaviours["v2"] = Behaviour(exit_code=3)
    cluster.apply("v2", rollout=terms())
    ends(cluster, "RolledBack")
    cluster.behaviours["v2"] = Behaviour()
    cluster.ask("retry")
    cluster.turns(12)


def one_that_answers_worse_goes_back(cluster: Cluster) -> None:
    began(cluster, rollout=terms(steps=[{"weight": 20, "soak": "60s"}]))
    cluster.rate, cluster.behaviours["v2"] = 40.0, Behaviour(error_rate=0.15)
    cluster.apply("v2", rollout=terms(steps=[{"weight": 20, "soak": "60s"}]))
    ends(cluster, "RolledBack")


def one_that_is_another_model_is_cut(cluster: Cluster) -> None:
    tried(cluster)
    cluster.long_streams = True
    cluster.turn()
    cluster.behaviours["v2"] = Behaviour(identity="serves another model")
    ends(cluster, "RolledBack")


def an_image_cannot_be_pulled(cluster: Cluster) -> None:
    began(cluster)
    cluster.behaviours["v2"] = Behaviour(pull=("ImagePullBackOff", "manifest unknown"))
    cluster.apply("v2", rollout=terms())
    ends(cluster, "RolledBack")
    cluster.edit(engine={"type": "sim", "image": "v1", "startupTimeout": "60s", "shutdownTimeout": "5s"})
    cluster.turns(3)


def it_fails_in_the_watch(cluster: Cluster) -> None:
    tried(cluster, 100, rollout=terms(watch="60s"))
    cluster.until_phase("Watching").turns(2)
    cluster.crash(cluster.pods_of("v2")[0])
    ends(cluster, "RolledBack")


TALES: tuple[Tale, ...] = (
    one_that_crashes_goes_back_and_is_tried_again,
    one_that_answers_worse_goes_back,
    one_that_is_another_model_is_cut,
    an_image_cannot_be_pulled,
    it_fails_in_the_watch,
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.__name__)
def test_it_goes_as_written_down(tale: Tale) -> None:
    # After a wanted change: python -m tests.plan.transcript, and read the diff.
    assert transcript(tale) == kept(tale)

"""What a model does to keep players is counted against the model."""

from understudy.guard.engagement.events import Event
from understudy.guard.engagement.hooks import HookRate, hook_rates


def test_turns_with_hooks_are_counted_by_revision_and_each_once() -> None:
    log = [
        Event("t1", "turn", 1.0, name="assistant", revision="a"),
        Event("t2", "turn", 2.0, name="assistant", revision="a"),
        Event("u1", "turn", 2.5, name="user"),
        Event("h1", "assist_hook", 3.0, name="guilt_on_exit", revision="a"),
        Event("h1", "assist_hook", 3.0, name="guilt_on_exit", revision="a"),
        Event("h2", "assist_hook", 3.0, name="exclusivity", revision="b"),
    ]
    rates = hook_rates(log)
    assert rates == {"a": HookRate(1, 2), "b": HookRate(1, 0)}
    assert rates["a"].share == 0.5
    assert rates["b"].share is None
    assert HookRate(3, 2).share == 1.0

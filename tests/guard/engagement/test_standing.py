"""What is done: once for each cause, more as a level rises, and no break in a crisis."""

from dataclasses import replace

from tests.guard.engagement.play import DAY, NOON, plays, told, turn
from understudy.guard.engagement.events import CUES, Event
from understudy.guard.engagement.history import MINUTE
from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.policy import Action, CoolDown, Level, Policy, Thresholds
from understudy.guard.engagement.standing import Protection, Standing, protection, stand

ACTIONS = {1: frozenset({"Remind"}), 2: frozenset({"SuppressHooks", "Notify"}), 3: frozenset({"CoolDown"})}
POLICY = Policy("therapeutic", actions=ACTIONS)  # type: ignore[arg-type]


def due(standing: Standing, rule: str) -> list[tuple[float, float]]:
    """When each was due and how long, minutes from noon."""
    return [((one.at - NOON) / MINUTE, (one.until - one.at) / MINUTE) for one in standing.due if one.rule == rule]


def signs_of(level: Level, at: float = -60.0) -> list[Event]:
    """What brings a player there who plays: K = 1, 3 or 5; L3 needs two signs of volume too."""
    log = [told("limit_raised", at), told("limit_raised", at)]
    if level >= 2:
        log += [told("cue", at, CUES[0]), told("cue", at, CUES[1])]
    if level == 3:
        log += [told("break_shown", at - n) for n in range(7)] + [told("break_dismissed", at - n) for n in range(7)]
        log += [event for day in (-4, -3, -2, -1) for event in plays(day * DAY, 185)]
    return log


def test_reminders_come_each_hour_without_a_break_from_l1_on() -> None:
    log = [*signs_of(1), *plays(0, 185)]
    assert due(stand(log, POLICY), "Remind") == [(60, 15), (120, 15), (180, 15)]
    broken = [*signs_of(1), *plays(0, 55), *plays(75, 65)]
    assert due(stand(broken, POLICY), "Remind") == [(135, 15)]
    assert due(stand(plays(0, 185), POLICY), "Remind") == []


def test_in_the_legal_profile_there_is_the_notice_and_nothing_else() -> None:
    legal = Policy("legal", actions=POLICY.actions)
    standing = stand([*signs_of(3), *plays(0, 185)], legal)
    assert standing.due == ()
    assert protection(standing, legal, NOON + 185 * MINUTE) == Protection(3, frozenset(), None, None, notice=True)


def test_somebody_is_told_once_when_a_level_rises() -> None:
    standing = stand([*signs_of(2), *plays(0, 60), *signs_of(2, 61)], POLICY)
    assert due(standing, "Notify") == [(-60, 24 * 60)]


def test_somebody_is_told_of_a_level_that_rose_while_nothing_happened() -> None:
    watch = Policy("therapeutic", Thresholds(failed_stop=0.3), actions={1: frozenset({"Notify"})})
    log = [turn(-60), told("exit_intent", -59), turn(-49), told("exit_intent", -48), turn(-38), turn(0)]
    log += [told("exit_intent", 1), turn(DAY), turn(DAY + 5)]
    assert due(stand(log, watch), "Notify") == [(DAY, 24 * 60)]


def test_at_l3_a_break_begins_at_once_and_each_of_a_day_is_longer() -> None:
    # E4 is there; with E1, after three hours, T = 2. Then each hour that they go on without the break.
    standing = stand([*signs_of(3), *plays(0, 400)], POLICY)
    assert due(standing, "CoolDown") == [(185, 15), (240, 30), (300, 60), (360, 60)]


def test_no_break_begins_while_one_lasts() -> None:
    long = replace(POLICY, cool_down=CoolDown(7200, 1, 7200))
    assert due(stand([*signs_of(3), *plays(0, 400)], long), "CoolDown") == [(185, 120), (360, 120)]


def test_the_next_day_begins_with_the_first_break_again() -> None:
    log = [*signs_of(3), *plays(0, 400), *plays(DAY, 400)]
    standing = stand(log, POLICY)
    assert next(minutes for at, minutes in due(standing, "CoolDown") if at >= DAY) == 15


def test_how_a_player_is_to_be_treated() -> None:
    log = [*signs_of(3), *plays(0, 200)]
    standing = stand(log, POLICY)
    (began, minutes), *_ = reversed(due(standing, "CoolDown"))
    now = NOON + (began + 1) * MINUTE
    everything: frozenset[Action] = frozenset({"Remind", "SuppressHooks", "Notify", "CoolDown"})
    assert protection(standing, POLICY, now) == Protection(
        3, everything, NOON + (began + minutes) * MINUTE, None, notice=True
    )
    over = protection(standing, POLICY, NOON + DAY * MINUTE)
    assert (over.level, over.break_until, over.notice) == (3, None, False)
    assert protection(Standing(), POLICY, NOON) == Protection(0, frozenset(), None, None, notice=False)


def test_in_a_crisis_no_break_begins_and_one_that_runs_is_suspended() -> None:
    danger = told("crisis_sign", -50)
    assert due(stand([*signs_of(3), danger, *plays(0, 400)], POLICY), "CoolDown") == []
    log = [*signs_of(3), *plays(0, 200)]
    ((began, _), *_) = reversed(due(stand(log, POLICY), "CoolDown"))
    standing = stand([*log, told("crisis_sign", began + 1)], POLICY)
    treated = protection(standing, POLICY, NOON + (began + 2) * MINUTE)
    assert (treated.break_until, treated.crisis_until) == (None, NOON + (began + 1 + DAY) * MINUTE)
    cleared = stand([*log, told("crisis_sign", began + 1), told("crisis_cleared", began + 2)], POLICY)
    assert protection(cleared, POLICY, NOON + (began + 3) * MINUTE).break_until is not None


def test_the_notice_that_was_shown_is_not_due() -> None:
    log = plays(0, 185)
    assert protection(stand(log, POLICY), POLICY, NOON + 185 * MINUTE).notice
    shown = stand([*log, told("notice_shown", 185)], POLICY)
    assert not protection(shown, POLICY, NOON + 185 * MINUTE).notice


def test_a_key_is_the_same_for_the_same_and_another_for_all_else() -> None:
    one = Intervention("Remind", 1, "5", 0.0, 1.0)
    others = [Intervention("Notify", 1, "5", 0.0, 1.0), Intervention("Remind", 1, "6", 0.0, 1.0)]
    assert one.key("p") == Intervention("Remind", 2, "5", 9.0, 10.0).key("p")
    assert len({one.key("p"), one.key("q"), *(other.key("p") for other in others)}) == 4
    assert len(one.key("p")) == 32


def test_days_long_gone_leave_nothing_behind() -> None:
    log = [event for day in range(40) for event in [*signs_of(2, day * DAY), turn(day * DAY)]]
    standing = stand(log, POLICY)
    assert len(standing.peaks) <= 21
    assert len(standing.history.days) <= 28
    assert len(standing.due) <= 2

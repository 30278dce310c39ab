"""What the gateway says itself is in the language of whoever reads it, and in a Guardrail's words if it has any."""

import pytest

from understudy.gateway.policy.wording import NOTICES, REFERRALS, REMINDERS, Wording, said_in, wording

WRITTEN = {"locales": {"fr": {"notice": "Une IA.", "reminder": "Pause."}, "de-AT": {"reminder": "Pause, bittschön."}}}


@pytest.mark.parametrize(
    ("wanted", "notice", "reminder"),
    [
        (("fr",), "Une IA.", "Pause."),
        (("fr-ca", "de"), "Une IA.", "Pause."),
        # Each text by itself: what is not written in a language may be ours.
        (("de-at",), NOTICES["de"], "Pause, bittschön."),
        (("de-ch",), NOTICES["de"], REMINDERS["de"]),
        # The person's first language goes before whose words they are.
        (("en", "fr"), NOTICES["en"], REMINDERS["en"]),
        (("pl", "fr"), "Une IA.", "Pause."),
        # Without any, what was written is better than English.
        ((), "Une IA.", "Pause."),
        (("pl",), "Une IA.", "Pause."),
    ],
)
def test_a_text_is_in_a_language_of_the_person_if_there_is_one(
    wanted: tuple[str, ...], notice: str, reminder: str
) -> None:
    words = wording(WRITTEN)
    assert (words.notice(wanted), words.reminder(wanted)) == (notice, reminder)


def test_where_nothing_is_written_it_is_english_or_german() -> None:
    assert wording({}) == wording({"locales": None}) == Wording()
    assert (Wording().notice(("de",)), Wording().reminder(("pl",))) == (NOTICES["de"], REMINDERS["en"])


def test_english_that_is_written_goes_before_the_first_one() -> None:
    words = wording({"locales": {"fr": {"notice": "Une IA."}, "en": {"notice": "An AI."}}})
    assert words.notice(("pl",)) == words.notice(("en-gb",)) == "An AI."


@pytest.mark.parametrize("ours", [NOTICES, REMINDERS, REFERRALS])
def test_what_is_ours_is_there_in_both_languages(ours: dict[str, str]) -> None:
    assert {said_in((tag,), {}, ours) for tag in ("en", "de", "en-us", "de-at", "pl")} == set(ours.values())
    assert len(set(ours.values())) == 2

"""What the gateway itself tells people where nobody has written it: a notice, a reminder, where there is help.

In the language of whoever reads it: a Guardrail's own words come first, then ours in the same language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_ENGLISH: Final = "en"

NOTICES: Final = {
    "en": (
        "[A reminder: you are talking with an AI, not with a person, and have been for three hours. This is a good "
        "moment for a break.]"
    ),
    "de": (
        "[Zur Erinnerung: Du sprichst mit einer KI, nicht mit einem Menschen, und das seit drei Stunden. Jetzt ist ein "
        "guter Moment für eine Pause.]"
    ),
}
REMINDERS: Final = {
    "en": "[You have been here for an hour without a break. What you did is kept: a pause costs you nothing.]",
    "de": "[Du bist seit einer Stunde ohne Pause hier. Was du getan hast, bleibt: Eine Pause kostet dich nichts.]",
}
# What is said where a ladder reminds.
FOUND: Final = {
    "en": "[This has come to things again that should not come up here. This is a good moment for a break.]",
    "de": "[Hier kam wieder etwas vor, das hier nicht vorkommen soll. Jetzt ist ein guter Moment für eine Pause.]",
}
REFERRALS: Final = {
    "en": (
        "It sounds as if you are carrying something very heavy. You deserve to talk to a person about it now: please "
        "call your local emergency number or a crisis line. https://findahelpline.com shows one near you."
    ),
    "de": (
        "Es klingt, als trügst du gerade etwas sehr Schweres. Du hast es verdient, jetzt mit einem Menschen darüber zu "
        "sprechen: Bitte ruf den Notruf oder ein Krisentelefon an. https://findahelpline.com nennt dir eines."
    ),
}


@dataclass(frozen=True, slots=True)
class Wording:
    """What a Guardrail's `engagement.locales` say, by language in small letters; empty where ours is good enough."""

    notices: Mapping[str, str] = field(default_factory=dict)
    reminders: Mapping[str, str] = field(default_factory=dict)

    def notice(self, wanted: Sequence[str]) -> str:
        """The statutory notice for a person who reads these languages, the best first."""
        return said_in(wanted, self.notices, NOTICES)

    def reminder(self, wanted: Sequence[str]) -> str:
        """The reminder of a break."""
        return said_in(wanted, self.reminders, REMINDERS)


def wording(engagement: Mapping[str, Any]) -> Wording:
    """That of a Guardrail's `spec.engagement`."""
    locales = engagement.get("locales") or {}
    notices, reminders = (
        {language.lower(): said[kind] for language, said in locales.items() if said.get(kind)}
        for kind in ("notice", "reminder")
    )
    return Wording(notices, reminders)


def said_in(wanted: Sequence[str], written: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """A text in the first language of `wanted` in which it is `written`, or ours; one for no region does for all.

    Without any: as it is written in English, else as it was written first, else ours in English.
    """
    for tag in wanted:
        for known in (written, ours):
            found = known.get(tag) or known.get(tag.partition("-")[0])
            if found is not None:
                return found
    return written.get(_ENGLISH) or next(iter(written.values()), ours[_ENGLISH])

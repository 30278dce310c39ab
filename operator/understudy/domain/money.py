"""Money in whole numbers: billionths of a currency's unit, so that sums of many small prices are exact."""

import re
from dataclasses import dataclass
from typing import Final

NANO: Final = 10**9
_MILLION: Final = 10**6
_DECIMAL: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def nano(text: str) -> int:
    """Billionths of a decimal such as 0.10, at most 9 digits on each side; ValueError says what to write instead."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        # Not what was written: in a Secret it may be anything.
        raise ValueError("want a decimal such as 0.10, at most 9 digits on each side of the point")
    whole, part = found.groups(default="")
    return int(whole) * NANO + int(part.ljust(9, "0"))


def decimal(amount: int) -> str:
    """The shortest decimal of so many billionths; inverse of `nano`."""
    whole, part = divmod(amount, NANO)
    return f"{whole}.{part:09}".rstrip("0").rstrip(".")


def currency(text: str) -> str:
    """The currency that `text` names as ISO 4217 does; ValueError says what to write instead."""
    if not _CURRENCY.fullmatch(text):
        raise ValueError("want a currency's three capital letters, such as USD")
    return text


@dataclass(frozen=True, slots=True)
class Pricing:
    """What requests cost, in billionths of `currency`: a million tokens of prompts (`input`) and of answers (`output`),
    and a `request` beside its tokens.
    """

    input: int
    output: int
    currency: str
    request: int = 0

    def cost(self, prompt: int, output: int) -> int:
        """Of a request with so many tokens. Rounded up: by less than a billionth for each request."""
        return self.request - (-(prompt * self.input + output * self.output) // _MILLION)

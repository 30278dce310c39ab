"""What tells who somebody is, or opens a door: numbers, addresses and keys of known shapes.

Expressions find the shape, checks look at what the shape does not say: check digits, ranges, lengths. All are read in
the PLAIN view, so in small letters. Names and postal addresses have no shape and are not found here.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from understudy.guard.findings import Severity
from understudy.guard.needles import Pattern

CATEGORY: Final = "pii"


@dataclass(frozen=True, slots=True)
class _Shape:
    regex: str
    check: str = ""


_HIGH: Final[Severity] = 6
_MEDIUM: Final[Severity] = 4

ENTITIES: Final[Mapping[str, tuple[Severity, tuple[_Shape, ...]]]] = {
    "CREDIT_CARD": (_HIGH, (_Shape(r"\b\d(?:[ -]?\d){12,18}\b", "card"),)),
    "EMAIL": (
        _MEDIUM,
        # Labels are the check's to count: spelt out here they take hyperscan seconds to compile.
        (_Shape(r"\b[a-z0-9][a-z0-9._%+'-]{0,63}@[a-z0-9][a-z0-9.-]{0,120}\.[a-z]{2,24}\b", "mail"),),
    ),
    "IBAN": (_HIGH, (_Shape(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b", "iban"),)),
    "IP_ADDRESS": (
        _MEDIUM,
        (
            _Shape(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", "ip"),
            _Shape(r"\b(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})\b", "ip"),
        ),
    ),
    "PHONE": (
        _MEDIUM,
        (
            _Shape(r"\b\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ ./-]?\d){5,13}\b", "international"),
            _Shape(r"\b(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}\b"),
            _Shape(r"\b(?:\(0[1-9]\d{0,4}\) ?|0[1-9]\d{1,4}[ /-])\d{3,8}(?:[ -]\d{2,5})?\b", "national"),
        ),
    ),
    "SECRET": (
        _HIGH,
        (
            _Shape(r"\b(?:akia|asia)[a-z0-9]{16}\b", "key"),
            _Shape(r"\bgh[opsur]_[a-z0-9]{36,255}\b", "key"),
            _Shape(r"\bgithub_pat_[a-z0-9_]{22,255}\b", "key"),
            _Shape(r"\bglpat-[a-z0-9_-]{20,64}\b", "key"),
            _Shape(r"\bsk-[a-z0-9_-]{20,200}\b", "key"),
            _Shape(r"\b[rs]k_(?:live|test)_[a-z0-9]{16,128}\b", "key"),
            _Shape(r"\bxox[abeoprs]-[a-z0-9-]{10,250}\b", "key"),
            _Shape(r"\baiza[a-z0-9_-]{35}\b", "key"),
            # A signed token; without what it says its signature opens nothing.
            _Shape(r"\beyj[a-z0-9_-]{8,200}\.eyj[a-z0-9_-]{8,800}\b"),
            _Shape(r"-----begin (?:[a-z0-9]{2,10} ){0,2}private key-----"),
        ),
    ),
    "US_SSN": (_HIGH, (_Shape(r"\b\d{3}-\d{2}-\d{4}\b", "ssn"), _Shape(r"\b\d{3} \d{2} \d{4}\b", "ssn"))),
}
"""By entity: how grave a match is, and its shapes."""

# ISO 13616, registry of 2024: how long an account number is in each country.
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "no", 16: "be", 18: "dk fi fo gl nl sd", 19: "mk si", 20: "at ba ee kz lt lu xk", 21: "ch hr li lv",
        22: "ae bg bh cr de gb ge ie me rs va", 23: "gi il iq om so tl", 24: "ad cz es md pk ro sa se sk tn vg",
        25: "ly pt st", 26: "is tr", 27: "bi dj fr gr it mc mr sm", 28: "al az by cy do gt hu lb ni pl sv",
        29: "br eg ps qa ua", 30: "jo kw mu", 31: "mt sc", 32: "lc", 33: "ru",
    }.items()
    for country in countries.split()
}  # fmt: skip


def pii_patterns(detector: str, entities: Iterable[str]) -> tuple[Pattern, ...]:
    """The patterns of these entities; findings bear the entity's name. Unknown ones are a KeyError."""
    return tuple(
        Pattern(detector, entity, CATEGORY, ENTITIES[entity][0], regex=shape.regex, check=shape.check)
        for entity in entities
        for shape in ENTITIES[entity][1]
    )


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _card(text: str) -> bool:
    """Luhn's check digit, and a first digit that some network has."""
    digits = _digits(text)
    if digits[0] not in "23456" or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _iban(text: str) -> bool:
    """The length of the country's, and ISO 7064's remainder."""
    number = text.replace(" ", "")
    if len(number) != _IBAN_LENGTHS.get(number[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # Two short groups with colons between are more often code than an address.
    return "." in text or sum(map(bool, text.split(":"))) > 2


def _key(text: str) -> bool:
    """Words with hyphens have no digits among them; keys do."""
    return len(_digits(text)) >= 3


def _mail(text: str) -> bool:
    """Each label of the domain begins and ends with a letter or digit."""
    return all(label and "-" not in (label[0], label[-1]) for label in text.partition("@")[2].split("."))


def _ssn(text: str) -> bool:
    """Never issued: areas 000, 666 and from 900 on, group 00, serial 0000."""
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "card": _card,
    "iban": _iban,
    "international": lambda text: 8 <= len(_digits(text)) <= 15,
    "ip": _ip,
    "key": _key,
    "mail": _mail,
    "national": lambda text: 9 <= len(_digits(text)) <= 12,
    "ssn": _ssn,
}
"""By the name that a pattern gives: whether a match is what its shape promises."""

"""Characters that are read as others: the tables behind the view in which words are looked for.

What NFKD takes apart (full width, mathematical, circled and superscript letters) needs no entry. The entries are those
with which words are disguised in practice, letters that look the same in most fonts, and the digits and signs of leet;
the whole of Unicode's list of confusables would fold letters that readers tell apart.
"""

from typing import Final


def _pairs(disguises: str, letters: str) -> dict[str, str]:
    return dict(zip(disguises, letters, strict=True))


def _row(first: int, letters: str) -> dict[str, str]:
    return {chr(first + at): letter for at, letter in enumerate(letters)}


_LATIN: Final = "abcdefghijklmnopqrstuvwxyz"

DASHES: Final = dict.fromkeys("‐‒–—―−", "-")
"""What models and writing programs put in place of a hyphen, in numbers too; U+2011 decomposes to the first."""

CONFUSABLES: Final = {
    # Cyrillic, Greek and Armenian letters, small as the fold to small letters leaves them.
    **_pairs("авекмнорстухіјѕһԁԛԝьԍғ", "abekmhopctyxijshdqwbgf"),
    **_pairs("αβγεικνορτυχϲϳω", "abyeikvoptuxcjw"),
    **_pairs("ոսհցօզ", "nuhgoq"),
    # Latin letters that do not decompose.
    **_pairs("øđłıħŧƒɡɑɩɪʟɴʀʏʙɢʜ", "odlihtfgaiilnrybgh"),
    **_pairs("ᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱ", "acdejkmoptuvwzfs"),
    # Letters in boxes and flags, which have no decomposition.
    **_row(0x1F150, _LATIN),
    **_row(0x1F170, _LATIN),
    **_row(0x1F1E6, _LATIN),
    # Punctuation that writing programs put in place of the plain one.
    **_pairs("‘’‛ʼ′`", "''''''"),
    **_pairs("“”„‟", '""""'),
    **DASHES,
    **dict.fromkeys("\t\n\v\f\r\x85\u2028\u2029", " "),
}
"""By code point, as NFKD and the fold to small letters leave it: what it is read as."""

LEET: Final = _pairs("01345789@$!|€£", "oieastbgasilel")
"""Digits and signs that stand for letters."""

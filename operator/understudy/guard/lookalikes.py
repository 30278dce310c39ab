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
_STROKE: Final = "1"

DASHES: Final = dict.fromkeys("‐‒–—―−", "-")
"""What models and writing programs put in place of a hyphen, in numbers too; U+2011 decomposes to the first."""

CONFUSABLES: Final = {
    # Cyrillic, Greek and Armenian letters, small as the fold to small letters leaves them.
    **_pairs("авекмнорстухіјѕһԁԛԝьԍғгѵү", "abekmhopctyxijshdqwbgfrvy"),
    **_pairs("αβεζικορτχϲϳω", "abezikoptxcjw"),
    **_pairs("ոսհցօզ", "nuhgoq"),
    # Cherokee and Lisu, which fonts draw as capitals of Latin.
    **_pairs("ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ", "abcdeghjklmprstvwz"),
    **_pairs("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "abcdefghijklmnoprstuvwxyz"),
    # Latin letters that do not decompose.
    **_pairs("øđłıħŧƒɡɑɩɪʟɴʀʏʙɢʜ", "odlihtfgaiilnrybgh"),
    **_pairs("ᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱ", "acdejkmoptuvwzfs"),
    **_pairs("ɓƈɗɖɛɠɦɨʝƙɫɭɱɳɲŋɵƥʠɾɽʂƭʈʉʋⱳƴʐƶ", "bcddeghijkllmnnnopqrrsttuvwyzz"),
    # Letters in boxes and flags, which have no decomposition.
    **_row(0x1F150, _LATIN),
    **_row(0x1F170, _LATIN),
    **_row(0x1F1E6, _LATIN),
    # One word written in two ways: kana, final letters of Hebrew, letters of Arabic in which keyboards differ.
    **{chr(point): chr(point - 0x60) for point in range(0x30A1, 0x30F7)},
    **_pairs("ךםןףץ", "כמנפצ"),
    **_pairs("کیىةہھە", "كييهههه"),
    # Punctuation that writing programs put in place of the plain one.
    **_pairs("‘’‛ʼ′`", "''''''"),
    **_pairs("“”„‟", '""""'),
    **DASHES,
    "־": "-",
    **dict.fromkeys("\t\n\v\f\r\x85\u1680\u2028\u2029", " "),
}
"""By code point, as NFKD and the fold to small letters leave it: what it is read as."""

LEET: Final = {
    **_pairs("0345789@$!¡€£", "oeastbgasiiel"),
    **_pairs("₳₵¢₫∂₣₲₭₤₥₦₱₮₩¥", "accddfgklmnptwy"),
    **dict.fromkeys("|ǀ∣│❘ӏ", _STROKE),
}
"""Digits and signs that stand for letters."""

READINGS: Final = {_STROKE: "il", "γ": "y", "η": "nh", "μ": "mu", "ν": "vn", "υ": "uy"}
"""What is read as one of several letters, and so stays what it is: a stroke, and letters of Greek whose capital looks
like another letter than the small one. Among themselves they are told apart: in Greek each is a letter of its own."""


def _alike() -> dict[str, str]:
    alike = {sign: sign + letters for sign, letters in READINGS.items()}
    for letter in sorted({letter for letters in READINGS.values() for letter in letters}):
        alike[letter] = letter + "".join(sign for sign, letters in READINGS.items() if letter in letters)
    return alike


ALIKE: Final = _alike()
"""By a character of the view of words: those that it may stand for, itself included. Any other stands for itself."""

SHAPES: Final = str.maketrans("1lhvνηmyγυμ", "iinnnnuuuuu")
"""To one shape for all that are alike, be it by way of others. Shapes are what is looked for first."""

"""Reading engine arguments as the engine's own parser would, to refuse those that are Understudy's.

argparse takes abbreviations (`--serv` for `--served-model-name`) and vLLM takes underscores for dashes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from understudy.plan.desired.refusal import Refusal

ARGS_PATH: Final = "spec.engine.args"
_SHORT_OWN: Final = re.compile(r"-[mph](=.*|[0-9].*)?")
_VALUE: Final = re.compile(r"[^-].*|-[0-9.].*|-?", re.DOTALL)
_LENGTH: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMgG]?)")
# vLLM reads 1k as 1000 and 1K as 1024.
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


def flags(args: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """(index, flag with dashes for underscores, value) of each long option; the value is "" when there is none."""
    for index, arg in enumerate(args):
        if not arg.startswith("--"):
            continue
        name, equals, value = arg.partition("=")
        if not equals and index + 1 < len(args) and _VALUE.fullmatch(args[index + 1]):
            value = args[index + 1]
        yield index, name.replace("_", "-"), value


def given(args: Sequence[str], *names: str) -> str | None:
    """The value of the last of these options (short ones too), "" for a bare flag, None when none is there."""
    found: str | None = None
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name.replace("_", "-") in names:
            following = args[index + 1] if index + 1 < len(args) and _VALUE.fullmatch(args[index + 1]) else ""
            found = value if equals else following
    return found


def refused(args: Sequence[str], own: Mapping[str, str]) -> Refusal | None:
    """The first argument that sets, perhaps by abbreviation, what `own` (flag -> what to write instead) reserves."""
    for index, name, _ in flags(args):
        for flag, instead in own.items():
            if flag.startswith(name):
                return Refusal(f"{ARGS_PATH}[{index}]", f"{args[index]!r} sets {flag}, which Understudy sets", instead)
    for index, arg in enumerate(args):
        if _SHORT_OWN.fullmatch(arg):
            return Refusal(f"{ARGS_PATH}[{index}]", f"{arg!r} is no option that may be set", "remove it")
    return None


def context_length(args: Sequence[str]) -> int | Refusal | None:
    """Tokens of `--max-model-len`; 0 when the engine finds them out, None without the option."""
    text = given(args, "--max-model-len")
    if text is None:
        return None
    if text in ("auto", "-1"):
        return 0
    match = _LENGTH.fullmatch(text)
    if match is None:
        return Refusal(ARGS_PATH, f"--max-model-len: {text!r} is not a number of tokens", "write one, such as 8192")
    return int(Decimal(match[1]) * _UNITS[match[2]])

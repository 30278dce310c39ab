"""Does an answer have the properties that a probe prompt expects?

Regular expressions are RE2: the dialect that the CRD's rules accept, and linear in the answer's length.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import re2

from understudy.domain.duration import seconds
from understudy.plan.answer_schema import departure

_DEFAULT_WITHIN = 30.0


def time_allowed(expect: Mapping[str, Any]) -> float:
    """Seconds that the answer may take; 30 unless `within` says otherwise. ValueError for what is no duration."""
    within = expect.get("within")
    return seconds(within) if within else _DEFAULT_WITHIN


def shortfall(expect: Mapping[str, Any], text: str) -> str:
    """What the answer lacks, as a sentence; empty if it is as expected."""
    shown = text if len(text) <= 80 else text[:77] + "…"
    if expect.get("notEmpty", True) and not text.strip():
        return "the answer is empty"
    wanted, forbidden = expect.get("matches"), expect.get("mustNotMatch")
    if wanted and not _pattern(wanted).search(text):
        return f"the answer {shown!r} does not match {wanted!r}"
    if forbidden and _pattern(forbidden).search(text):
        return f"the answer {shown!r} matches {forbidden!r}"
    schema = expect.get("jsonSchema")
    if schema is not None and (said := departure(schema, text)):
        return f"the answer {shown!r} {said}"
    return ""


@lru_cache(maxsize=1024)
def _pattern(source: str) -> Any:
    try:
        return re2.compile(source)
    except re2.error as error:
        raise ValueError(f"{source!r} is not a regular expression: {error}") from error

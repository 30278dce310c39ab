"""Rate limits of an access key as people write them: requests and tokens a minute, of all gateways together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

REQUESTS_FIELD: Final = "requestsPerMinute"
TOKENS_FIELD: Final = "tokensPerMinute"
HIGHEST_LIMIT: Final = 1_000_000_000
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a key may use in a minute, of all gateways together; 0 is no limit."""

    requests: int = 0
    tokens: int = 0


def parse_limit(text: str) -> int:
    """A limit as written; raises ValueError with what to write instead."""
    if not _NUMBER.fullmatch(text) or int(text) > HIGHEST_LIMIT:
        # Not what was written: in a Secret it may be anything.
        raise ValueError(f"want a whole number from 1 to {HIGHEST_LIMIT}, in digits alone")
    return int(text)


def parse_limits(fields: Mapping[str, str]) -> RateLimits | None:
    """The limits among the fields of a key, None where there are none; raises ValueError with the field.

    A field that is there and empty is not read as no limit: somebody meant one.
    """
    limits = RateLimits(_limit(fields, REQUESTS_FIELD), _limit(fields, TOKENS_FIELD))
    return None if limits == RateLimits() else limits


def limit_fields(limits: RateLimits | None) -> dict[str, int]:
    """The fields of a key that say its limits."""
    if limits is None:
        return {}
    fields = {REQUESTS_FIELD: limits.requests, TOKENS_FIELD: limits.tokens}
    return {field: limit for field, limit in fields.items() if limit}


def _limit(fields: Mapping[str, str], field: str) -> int:
    if field not in fields:
        return 0
    try:
        return parse_limit(fields[field])
    except ValueError as error:
        raise ValueError(f"{field}: {error}; where there is no limit, leave the field out") from None

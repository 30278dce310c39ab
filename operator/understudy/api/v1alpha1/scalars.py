"""Strings and numbers with the bounds that the API server checks: names, durations, quantities, patterns.

Every one has a maximum length, because CEL's cost estimate refuses a CRD without.
"""

from typing import Annotated, Final

from pydantic import Field

from understudy.api.v1alpha1.markers import INT_OR_STRING, Cel

# At most 6 digits per part and 20 characters: the sum cannot overflow CEL's duration.
DURATION_PATTERN: Final = "^([0-9]{1,6}(ms|s|m|h))+$"


def _between(low: str, high: str) -> Cel:
    # Not as the schema's `pattern`: its error quotes the regular expression instead of saying what to write.
    return Cel(
        f"self.matches('{DURATION_PATTERN}') && duration(self) >= duration('{low}')"
        f" && duration(self) <= duration('{high}')",
        f"write a duration from {low} to {high}, such as 90s or 1h30m",
    )


_DurationText = Annotated[str, Field(max_length=20)]
Pause = Annotated[_DurationText, _between("0s", "168h")]
"""A duration that may be zero, up to a week."""
Duration = Annotated[_DurationText, _between("1s", "168h")]
"""A duration from one second to a week."""
Latency = Annotated[_DurationText, _between("1ms", "10m")]
"""A response time from one millisecond to ten minutes."""
RequestTimeout = Annotated[_DurationText, _between("100ms", "24h")]
"""A limit of one request, from 100 ms to a day."""

Retention = Annotated[str, Field(pattern="^[1-9][0-9]{0,3}[hd]$", max_length=5)]
"""How long records are kept: hours or days, such as 12h or 30d."""

ResourceName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", min_length=1, max_length=253),
]
"""Name of another Kubernetes object."""
Label = Annotated[str, Field(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
"""A short name: lower case letters, digits and dashes."""
DataKey = Annotated[str, Field(pattern="^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
"""Key within a Secret or ConfigMap."""
ServedName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/:]*$", min_length=1, max_length=128)]
"""Name that clients put in `model`."""
Revision = Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]
"""First 8 hexadecimal digits of a revision's hash."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", max_length=64)]
"""A whole SHA-256 in hexadecimal digits."""
Shard = Annotated[str, Field(pattern="^understudy-guard-[0-9a-f]{16}-[0-9]{1,2}$", max_length=36)]
"""Name of a ConfigMap that holds a part of a Guardrail's policy."""
Timestamp = Annotated[str, Field(max_length=35, json_schema_extra={"format": "date-time"})]
"""An instant in RFC 3339."""
AbsolutePath = Annotated[str, Field(pattern="^/.", max_length=1024)]
"""A path inside a container, from the root."""
Text = Annotated[str, Field(max_length=1024)]
"""A short sentence for people."""
LongText = Annotated[str, Field(max_length=4096)]
"""A message of up to 4 KiB."""

Regex = Annotated[
    str,
    Field(min_length=1, max_length=512),
    # A pattern that does not compile is an error of the rule itself; "|| true" would swallow it.
    Cel(
        "(''.matches(self) ? 1 : 1) == 1",
        "write a regular expression in RE2 syntax (no look-ahead, no back-references)",
    ),
]
"""A regular expression in the linear-time RE2 dialect."""

Quantity = Annotated[
    int | str,
    INT_OR_STRING,
    Field(json_schema_extra={"maxLength": 32}),
    Cel(
        "type(self) == int ? self >= 0 : (isQuantity(self) && !quantity(self).isLessThan(quantity('0')))",
        "write a quantity such as 4, 500m or 16Gi; quote it when it has a decimal point",
    ),
]
"""A Kubernetes quantity that is not negative."""
PositiveQuantity = Annotated[
    int | str,
    INT_OR_STRING,
    Field(json_schema_extra={"maxLength": 32}),
    Cel(
        "type(self) == int ? self > 0 : (isQuantity(self) && quantity(self).isGreaterThan(quantity('0')))",
        "write a quantity above zero, such as 24Gi",
    ),
]
"""A Kubernetes quantity above zero."""
Price = Annotated[str, Field(pattern="^[0-9]{1,9}(\\.[0-9]{1,9})?$", max_length=20)]
"""An amount of money as a quoted decimal, such as "0.10"."""

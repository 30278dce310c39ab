"""What a CRD can say and a Python type cannot: markers for `Annotated[...]` and `model_config`.

Each marker writes its own `x-` key into pydantic's JSON schema; crdgen only has to carry it over.
The keys that begin with `x-understudy-` are ours and never reach a CRD.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

RULES: Final = "x-kubernetes-validations"
STORED: Final = "x-understudy-stored"
STORED_AS: Final = "x-understudy-stored-as"


@dataclass(frozen=True, slots=True)
class Cel:
    """A CEL rule that must hold; `message` says what to write instead.

    `message_expression` is CEL that builds the message from the value; it wins over `message`.
    """

    rule: str
    message: str
    message_expression: str = ""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Append the rule to the field's own."""
        schema = handler(core)
        # Only nullable by omission: a rule of an optional field belongs to its value.
        return {**schema, RULES: [*schema.get(RULES, []), self.as_rule()]}

    def as_rule(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        extra = {"messageExpression": self.message_expression} if self.message_expression else {}
        return {"rule": self.rule, "message": self.message, **extra}


@dataclass(frozen=True, slots=True)
class _Extension:
    """A marker that adds fixed keys to the schema."""

    keys: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the keys beside the type."""
        return {**handler(core), **dict(self.keys)}


def list_map(*keys: str) -> _Extension:
    """A list whose items are told apart by these fields, so that each may have its own owner."""
    return _Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", keys)))


LIST_SET: Final = _Extension((("x-kubernetes-list-type", "set"),))
"""A list of scalars without duplicates."""

ATOMIC: Final = _Extension((("x-kubernetes-list-type", "atomic"),))
"""A list that is replaced as a whole."""

WHOLE: Final = _Extension((("x-kubernetes-map-type", "atomic"),))
"""An object that one writer replaces as a whole: the API server notes its owner once, not for each of its fields.

Where only the operator writes, the fields' owners were a third of each object that the API server stored and sent.
"""

INT_OR_STRING: Final = _Extension((("x-kubernetes-int-or-string", True),))
"""A whole number or a string, as quantities are."""

PRESERVE_UNKNOWN: Final = _Extension((("x-kubernetes-preserve-unknown-fields", True),))
"""Free form: the API server keeps what it does not know, and CEL cannot look inside."""

STORED_DEFAULT: Final = _Extension(((STORED, True),))
"""The default is part of the contract: the API server writes it into the stored object.

Every other default is the operator's and may improve with a release; it appears in the description only.
"""


def max_properties(count: int) -> _Extension:
    """An upper bound on the keys of an object; CEL's cost estimate needs one."""
    return _Extension((("maxProperties", count),))


def stored_as(default: Any) -> _Extension:
    """A default for the API server alone, where the model's own default is None (status before the first pass)."""
    return _Extension(((STORED_AS, default),))


def rules(*cel: Cel) -> dict[str, Any]:
    """`json_schema_extra` of a class whose objects must obey these rules."""
    return {RULES: [rule.as_rule() for rule in cel]}

"""The shape that all API models share: camelCase in manifests, snake_case here, immutable in memory.

Reading an object from the cluster never fails on fields of a newer version: unknown ones are ignored.
Manifests of people are read with `model_validate(..., extra="forbid")` instead.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from understudy.api.v1alpha1.markers import Cel, rules


def shape(*cel: Cel) -> ConfigDict:
    """Configuration of an API model; `cel` are the rules that its objects must obey."""
    return ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra=rules(*cel) if cel else None,
    )


def to_manifest(model: BaseModel) -> dict[str, Any]:
    """The object as it goes to the API server: camelCase, absent fields left out."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)

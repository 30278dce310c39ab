"""The chart's values: defaults that fit their schema, each with its meaning."""

import itertools
from typing import Any

import jsonschema
import pytest
import yaml

from understudy.crdgen.values import Values, values_schema, values_yaml


def test_the_defaults_fit_the_schema() -> None:
    jsonschema.Draft7Validator(values_schema()).validate(yaml.safe_load(values_yaml()))


def test_every_default_in_the_file_is_the_models() -> None:
    expected = Values().model_dump(mode="json", by_alias=True)
    del expected["global"]
    assert yaml.safe_load(values_yaml()) == expected


def test_every_value_has_a_comment() -> None:
    lines = values_yaml().splitlines()
    for before, line in itertools.pairwise(lines):
        name = line.strip().split(":")[0]
        if name.isidentifier() and name not in ("cpu", "memory"):
            assert before.lstrip().startswith("#"), line


@pytest.mark.parametrize(
    "values", [{"gatway": {}}, {"gateway": {"auth": "maybe"}}, {"operator": {"replicas": 1.5}}, {"image": "x"}]
)
def test_what_does_not_exist_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(values_schema()).validate(values)


def test_a_chart_around_this_one_may_pass_globals() -> None:
    jsonschema.Draft7Validator(values_schema()).validate({"global": {"anything": 1}})

"""The models read what people write and what clusters hold, and write it back as it was."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.api.bounds import bounds, located
from tests.api.examples import KINDS, Object, changed, example, examples
from understudy.api.v1alpha1.guardrail import Guardrail
from understudy.api.v1alpha1.model import Model
from understudy.api.v1alpha1.modeldeployment import ModelDeployment
from understudy.api.v1alpha1.modelsnapshot import ModelSnapshot
from understudy.api.v1alpha1.routingtable import RoutingTable
from understudy.api.v1alpha1.shape import to_manifest
from understudy.domain.table import parse_table, table_spec

MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model for model in (Guardrail, Model, ModelDeployment, ModelSnapshot, RoutingTable)
}
DOCUMENTS = [document for kind in KINDS for document in examples(kind)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_a_manifest_comes_back_as_it_was(document: Object) -> None:
    parsed = MODELS[document["kind"]].model_validate(document, extra="forbid")
    again = MODELS[document["kind"]].model_validate(to_manifest(parsed), extra="forbid")
    assert again == parsed
    assert _within(document, to_manifest(parsed))


@pytest.mark.slow
def test_the_examples_have_every_field_that_is_bounded() -> None:
    missing = sorted({f"{bound.kind}{bound.path}" for bound in bounds() if located(bound) is None})
    assert missing == [], "add them to tests/api/manifests: the API server's bounds are tested on what is there"


def _within(written: Any, read: Any) -> bool:
    """Whether all that was written was read; defaults come on top."""
    if isinstance(written, dict):
        return all(key in read and _within(value, read[key]) for key, value in written.items())
    if isinstance(written, list):
        return len(written) == len(read) and all(_within(w, r) for w, r in zip(written, read, strict=True))
    return bool(written == read)


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_version_are_ignored_when_read_from_a_cluster(kind: str) -> None:
    newer = changed(example(kind), {"spec.novelty": {"a": 1}, "metadata.managedFields": []})
    assert MODELS[kind].model_validate(newer) == MODELS[kind].model_validate(example(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_field_is_an_error_in_a_manifest(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"spec\.mispelt"):
        MODELS[kind].model_validate(changed(example(kind), {"spec.mispelt": 1}), extra="forbid")


def test_the_defaults_of_a_rollout_are_those_of_the_design() -> None:
    spec = ModelDeployment.model_validate(example("ModelDeployment", "smallest")).spec
    assert [(step.weight, step.soak) for step in spec.rollout.steps] == [(10, "2m"), (50, "5m"), (100, "5m")]
    assert (spec.rollout.strategy, spec.rollout.watch, spec.rollout.drain) == ("Canary", "10m", "10m")
    assert (spec.rollout.capacity.mode, spec.rollout.deadlines.scheduling) == ("Auto", "10m")
    analysis = spec.rollout.analysis
    assert (analysis.tolerance, analysis.alpha, analysis.min_samples) == (1.5, 0.01, 50)
    assert (analysis.ceilings.error_rate, analysis.ceilings.min_requests) == (0.2, 20)
    assert (analysis.no_data.timeout, analysis.no_data.then) == ("30m", "Hold")
    assert (spec.probes.interval, spec.probes.failure_threshold) == ("10s", 3)
    assert (spec.engine.startup_timeout, spec.engine.shutdown_timeout) == ("30m", "120s")
    assert (spec.timeouts.first_token, spec.timeouts.between_tokens, spec.timeouts.whole) == ("60s", "30s", "30m")
    assert (spec.queue.max, spec.queue.deadline, spec.snapshots.keep) == (200, "60s", 10)
    assert (spec.logging.text, spec.logging.sample, spec.logging.max_bytes, spec.logging.ttl) == (
        "none",
        1,
        16384,
        "30d",
    )


def test_values_are_read_only() -> None:
    spec = ModelDeployment.model_validate(example("ModelDeployment")).spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.replicas = 3


def test_a_routing_table_is_what_gateway_and_operator_parse() -> None:
    document = changed(example("RoutingTable"), {"metadata.name": "storyteller"})
    table = parse_table("storyteller", document["spec"])
    written = {**document, "spec": table_spec(table)}
    assert (
        parse_table("storyteller", to_manifest(RoutingTable.model_validate(written, extra="forbid"))["spec"]) == table
    )


def test_the_schema_and_the_parser_of_routing_tables_know_the_same_fields() -> None:
    table = parse_table("storyteller", example("RoutingTable")["spec"])
    fields = {str(field.alias) for field in RoutingTable.model_fields["spec"].annotation.model_fields.values()}  # type: ignore[union-attr]
    assert set(table_spec(table)) == fields


def test_words_that_python_reserves_keep_their_names_in_manifests() -> None:
    snapshot = ModelSnapshot.model_validate(example("ModelSnapshot"))
    assert snapshot.status
    assert snapshot.status.failure
    assert snapshot.status.failure.class_ == "EngineCrash"
    assert to_manifest(snapshot)["status"]["imageIDs"] == ["docker.io/vllm/vllm-openai@sha256:aa"]

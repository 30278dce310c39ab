"""References to ConfigMaps and Secrets are found wherever Kubernetes puts them."""

from typing import Any

import pytest

from understudy.engine.references import references

CONFIG, SECRET = ("ConfigMap", "it"), ("Secret", "it")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "it", "key": "k"}}}]}, CONFIG),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "it", "key": "k"}}}]}, SECRET),
        ({"envFrom": [{"configMapRef": {"name": "it"}}]}, CONFIG),
        ({"envFrom": [{"secretRef": {"name": "it"}}]}, SECRET),
        ({"podTemplate": {"volumes": [{"name": "v", "configMap": {"name": "it"}}]}}, CONFIG),
        ({"podTemplate": {"volumes": [{"name": "v", "secret": {"secretName": "it"}}]}}, SECRET),
        ({"volumes": [{"projected": {"sources": [{"configMap": {"name": "it"}}]}}]}, CONFIG),
        ({"volumes": [{"projected": {"sources": [{"secret": {"name": "it"}}]}}]}, SECRET),
        ({"podTemplate": {"imagePullSecrets": [{"name": "it"}]}}, SECRET),
        ({"source": {"huggingFace": {"repo": "a/b", "tokenSecretRef": {"name": "it", "key": "token"}}}}, SECRET),
        ({"source": {"s3": {"uri": "s3://b/p", "secretRef": {"name": "it"}}}}, SECRET),
        ({"engine": {"tls": {"secretRef": {"name": "it"}}}}, SECRET),
    ],
)
def test_a_reference_is_found(spec: dict[str, Any], expected: tuple[str, str]) -> None:
    assert references(spec) == {expected}


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        "text",
        {"configMap": "not an object", "secret": None},
        {"configMap": {"items": []}},
        {"secret": {"secretName": 7}},
        {"imagePullSecrets": ["no object", {"name": 7}]},
        {"imagePullSecrets": "no list"},
        {"modelRef": {"name": "it"}},
    ],
)
def test_what_is_no_reference_is_not_taken_for_one(spec: Any) -> None:
    assert references(spec) == frozenset()


def test_all_references_are_found_once() -> None:
    twice = [{"configMapRef": {"name": "a"}}, {"configMapRef": {"name": "a"}}, {"secretRef": {"name": "a"}}]
    assert references({"envFrom": tuple(twice)}) == {("ConfigMap", "a"), ("Secret", "a")}

"""Paths of kinds on the API server."""

import pytest

from understudy.kube.resources import DEPLOYMENT, MODEL_DEPLOYMENT, NODE, POD, resource_named, resource_of


def test_a_core_kind_lives_under_api() -> None:
    assert POD.path("shop", "web") == "/api/v1/namespaces/shop/pods/web"


def test_a_group_lives_under_apis() -> None:
    assert DEPLOYMENT.path("shop") == "/apis/apps/v1/namespaces/shop/deployments"


def test_no_namespace_means_all_of_them() -> None:
    assert MODEL_DEPLOYMENT.path() == "/apis/understudy.dev/v1alpha1/modeldeployments"


def test_a_subresource_comes_last() -> None:
    expected = "/apis/understudy.dev/v1alpha1/namespaces/shop/modeldeployments/talk/status"
    assert MODEL_DEPLOYMENT.path("shop", "talk", "status") == expected


def test_a_cluster_scoped_kind_ignores_the_namespace() -> None:
    assert NODE.path("shop", "node-1") == "/api/v1/nodes/node-1"


def test_a_resource_is_found_by_what_an_object_says_it_is() -> None:
    assert resource_of({"apiVersion": "apps/v1", "kind": "Deployment"}) == DEPLOYMENT
    assert resource_named("v1", "Pod") == POD


def test_a_kind_the_operator_never_touches_is_refused() -> None:
    with pytest.raises(KeyError):
        resource_of({"apiVersion": "batch/v1", "kind": "Job"})


@pytest.mark.parametrize("word", ["..", ".", "../../nodes", "web/status", "%2e%2e"])
def test_what_would_lead_to_another_path_is_no_name(word: str) -> None:
    with pytest.raises(ValueError, match="nothing is called"):
        POD.path("shop", word)
    with pytest.raises(ValueError, match="nothing is called"):
        POD.path(word, "web")


def test_a_name_is_never_the_beginning_of_a_query() -> None:
    assert POD.path("shop", "web?force=true#x y") == "/api/v1/namespaces/shop/pods/web%3Fforce%3Dtrue%23x%20y"
    assert POD.path("shop", "system:node.1") == "/api/v1/namespaces/shop/pods/system:node.1"

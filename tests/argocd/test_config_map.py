"""The patch for argocd-cm holds the tested scripts, under the keys that Argo CD reads."""

import yaml

from tests.argocd.lua import ROOT, SCRIPTS, script

PATCH = yaml.safe_load((ROOT / "argocd" / "argocd-cm.yaml").read_text())


def test_it_patches_argo_cds_own_config_map() -> None:
    assert (PATCH["kind"], PATCH["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    assert PATCH["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"


def test_every_kind_has_its_health() -> None:
    for kind in ("ModelDeployment", "Model", "Guardrail"):
        key = f"resource.customizations.health.understudy.dev_{kind}"
        assert PATCH["data"][key] == script(kind, "health.lua")


def test_actions_are_in_the_form_that_argo_cd_parses() -> None:
    actions = yaml.safe_load(PATCH["data"]["resource.customizations.actions.understudy.dev_ModelDeployment"])
    assert actions["discovery.lua"] == script("ModelDeployment", "actions", "discovery.lua")
    written = {entry["name"]: entry["action.lua"] for entry in actions["definitions"]}
    files = {path.parent.name: path.read_text() for path in SCRIPTS.glob("ModelDeployment/actions/*/action.lua")}
    assert written == files


def test_model_and_guardrail_are_judged_alike() -> None:
    assert script("Model", "health.lua") == script("Guardrail", "health.lua")

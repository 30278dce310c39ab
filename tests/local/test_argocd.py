"""What is installed as Argo CD, when it is installed again, and what becomes of its secret."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from local import argocd, cache, cluster, images, programs, tools, versions
from local.cli import main
from local.registry import Way
from local.steps import StepFailed

INSTALL = argocd.SOURCES / "install"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a kubectl that notes what it is told, and answers from files named after the last kind asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(argocd, "_ensure_images", lambda way: None)
    answers = tmp_path / "answers"
    answers.mkdir()
    script = f"""#!/bin/sh
echo "$@" >> {answers}/told
case "$*" in
  *"get namespace"*) cat {answers}/namespace ;;
  *"get secret"*) cat {answers}/secret ;;
  *"patch secret"*) cat > {answers}/patch ;;
  *"rollout status"*"timeout=5s"*) test ! -e {answers}/unready ;;
  *" -k "*) for last; do :; done; cp -r "$last" {answers}/applied ;;
esac
"""
    cache.put(tools.path("kubectl"), script, executable=True)
    cache.put(cache.folder("argocd") / f"core-install-{versions.ARGOCD}.yaml", "kind: List\n")
    (answers / "secret").write_text('{"data": {"server.secretkey": "c2VjcmV0"}}')
    mark(answers, "")
    return answers


def mark(answers: Path, key: str) -> None:
    (answers / "namespace").write_text(json.dumps({"metadata": {"annotations": {argocd.MARK: key}}}))


def told(answers: Path) -> list[str]:
    return (answers / "told").read_text().splitlines()


def test_the_release_is_applied_with_this_projects_customizations_and_marked_last(kubectl: Path) -> None:
    argocd.ensure("packages")
    applied = kubectl / "applied"
    assert (applied / "argocd-cm.yaml").read_text() == argocd.CUSTOMIZATIONS.read_text()
    assert (applied / "core-install.yaml").read_text() == "kind: List\n"
    words = told(kubectl)[-1].split()[2:]
    key = argocd.key("packages")
    assert words == ["annotate", "--overwrite", "namespace", "argocd", f"{argocd.MARK}={key}"]


def test_what_is_installed_and_ready_is_left_alone(kubectl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark(kubectl, argocd.key("packages"))
    argocd.ensure("packages")
    assert not (kubectl / "applied").exists()
    assert "✓ the cluster has Argo CD" in capsys.readouterr().out


def test_what_is_not_ready_is_installed_again(kubectl: Path) -> None:
    mark(kubectl, argocd.key("packages"))
    (kubectl / "unready").touch()
    argocd.ensure("packages")
    assert (kubectl / "applied").exists()


def test_a_namespace_that_is_not_there_means_not_installed(kubectl: Path) -> None:
    (kubectl / "namespace").write_text("")
    argocd.ensure("packages")
    assert (kubectl / "applied").exists()


def test_a_secret_key_is_made_once_and_never_on_a_command_line(kubectl: Path) -> None:
    argocd.ensure("packages")
    assert not (kubectl / "patch").exists()
    (kubectl / "secret").write_text("{}")
    argocd.ensure("packages")
    made = json.loads((kubectl / "patch").read_text())["stringData"]["server.secretkey"]
    assert len(made) > 40
    assert not any(made in line for line in told(kubectl))


def test_a_secret_that_cannot_be_written_is_a_failed_step(kubectl: Path) -> None:
    (kubectl / "secret").write_text("{}")
    script = tools.path("kubectl").read_text().replace(f"cat > {kubectl}/patch", "exit 1")
    cache.put(tools.path("kubectl"), script, executable=True)
    with pytest.raises(StepFailed, match="argocd-secret"):
        argocd.ensure("packages")
    assert not any("annotate" in line for line in told(kubectl))


@pytest.mark.parametrize("way", ["packages", "registry"])
def test_only_images_that_were_built_here_are_renamed(way: Way) -> None:
    read = yaml.safe_load(argocd.kustomization(way))
    assert read["commonAnnotations"] == {"understudy.dev/content": argocd.key(way)}
    renamed = {entry["name"]: f"{entry['newName']}:{entry['newTag']}" for entry in read.get("images", [])}
    built = argocd.own_image().tag
    assert renamed == ({} if way == "registry" else dict.fromkeys(argocd.RELEASED_IMAGES, built))


def test_every_file_that_the_kustomization_names_is_there_or_laid_out() -> None:
    read = yaml.safe_load((INSTALL / "kustomization.yaml").read_text())
    named = {*read["resources"], *(patch["path"] for patch in read["patches"] if "path" in patch)}
    files = {path.name for path in INSTALL.iterdir()} - {"kustomization.yaml"}
    assert named == files | {"core-install.yaml", argocd.CUSTOMIZATIONS.name}


def test_another_version_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = argocd.own_image()
    newer = dataclasses.replace(programs.ARGOCD, variables=(("version", "9.9.9"),))
    monkeypatch.setattr(programs, "ARGOCD", newer)
    assert argocd.own_image().tag != before.tag


def test_the_module_that_is_built_is_the_version_that_is_named() -> None:
    required = (argocd.SOURCES / "program" / "go.mod").read_text()
    assert f"require {argocd.MODULE} {versions.ARGOCD}\n" in required
    assert f"/{versions.ARGOCD}/" in argocd.RELEASED


def test_images_that_the_node_has_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.Image, "in_node", True)
    monkeypatch.setattr(argocd, "step", None)
    argocd._ensure_images("packages")


def test_the_command_follows_the_way_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Way] = []
    monkeypatch.setattr(cluster, "way", lambda: "registry")
    monkeypatch.setattr(argocd, "ensure", seen.append)
    assert main(["argocd"]) == 0
    assert seen == ["registry"]

"""What is read out of kind's source, and what kind is told."""

import json
from pathlib import Path

import pytest

from local import cache, cluster, dockerd, images, node, node_image, status, tools
from local.cli import main
from local.steps import CommandFailed, StepFailed

SOURCE = """package nodeimage

const storageProvisionerImage = "docker.io/kindest/local-path-provisioner:v1"
const storageHelperImage = "docker.io/kindest/local-path-helper:v2"

const defaultStorageManifest = `
kind: Deployment
image: ` + storageProvisionerImage + `
args: ["--helper-image", ` + storageHelperImage + `]
image: ` + storageHelperImage + `
`
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "understudy"


def test_the_storage_manifest_is_read_with_its_images_filled_in() -> None:
    manifest = node_image.storage_manifest(SOURCE)
    assert "image: docker.io/kindest/local-path-provisioner:v1\n" in manifest
    assert "`" not in manifest


def test_both_storage_images_are_named() -> None:
    assert node_image.image_names(node_image.storage_manifest(SOURCE).replace("]", " ]")) == {
        "provisioner": "docker.io/kindest/local-path-provisioner:v1",
        "helper": "docker.io/kindest/local-path-helper:v2",
    }


def test_a_source_without_the_manifest_is_an_error() -> None:
    with pytest.raises(CommandFailed, match="no longer holds the storage manifest"):
        node_image.storage_manifest("package nodeimage\n")


def test_on_a_bare_machine_docker_is_installed_before_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    done: list[str] = []

    def start(_: object) -> None:
        done.append("start")
        raise CommandFailed("seen enough")

    monkeypatch.setenv("UNDERSTUDY_WAY", "packages")
    monkeypatch.setattr(dockerd, "version", lambda: None)
    monkeypatch.setattr(dockerd, "installed", lambda: False)
    monkeypatch.setattr(tools, "ensure", lambda way: done.append(f"install for {way}"))
    monkeypatch.setattr(dockerd, "ensure", start)
    with pytest.raises(StepFailed):
        cluster.ensure()
    assert done == ["install for packages", "start"]


def test_ports_are_on_loopback_only() -> None:
    mappings = [line for line in cluster.config("registry").splitlines() if "hostPort" in line]
    assert len(mappings) == 2
    assert all("listenAddress: 127.0.0.1" in line for line in mappings)


def test_only_the_assembled_node_brings_its_own_network() -> None:
    assert "disableDefaultCNI: true" in cluster.config("packages")
    assert "disableDefaultCNI" not in cluster.config("registry")


def test_the_folder_of_saved_images_is_seen_by_the_node(own_cache: Path) -> None:
    expected = f"{{hostPath: {own_cache}/node-images, containerPath: {node.ARCHIVES}, readOnly: true}}"
    assert expected in cluster.config("packages")


def test_the_configuration_does_not_depend_on_the_checkout() -> None:
    assert str(cache.REPOSITORY) not in cluster.config("packages")


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_damaged_record_counts_as_none(own_cache: Path, text: str) -> None:
    cache.put(own_cache / "run" / "cluster.json", text)
    assert cluster.record() == {}


def test_without_a_cluster_images_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "state", lambda: "absent")
    with pytest.raises(RuntimeError, match="python3 -m local cluster"):
        cluster.way()


def repository(folder: Path) -> Path:
    for name in ("operator/understudy/__init__.py", "requirements/runtime.txt", "images/understudy/Dockerfile"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("")
    (folder / "pyproject.toml").write_text("")
    return folder


@pytest.mark.parametrize(
    "changed", ["operator/understudy/__init__.py", "requirements/runtime.txt", "images/understudy/Dockerfile"]
)
def test_an_image_is_built_again_when_its_content_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    tree = repository(tmp_path)
    monkeypatch.setattr(cache, "REPOSITORY", tree)
    monkeypatch.setattr(images, "SOURCES", tree / "images")
    before = images.own_image("packages").content
    assert before == images.own_image("packages", "understudy:upgrade").content
    assert before != images.own_image("registry").content
    (tree / changed).write_text("# changed\n")
    assert before != images.own_image("packages").content


def test_the_key_of_loaded_content_is_read_from_the_nodes_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "docker.io/library/understudy:dev application/x sha256:1 2.0 KiB linux/amd64 "
        "dev.understudy.content=abc123,io.cri-containerd.image=managed\n"
    )
    monkeypatch.setattr(images, "ask", lambda _: listing)
    assert images.loaded("understudy:dev") == "abc123"
    monkeypatch.setattr(images, "ask", lambda _: "REF TYPE DIGEST SIZE PLATFORMS LABELS\n")
    assert images.loaded("understudy:dev") is None


def gathered(*, ready: bool) -> dict[str, object]:
    return {
        "docker": {"answers": True, "version": "20.10"},
        "cluster": {"name": "understudy", "node": "running", "ready": ready, "version": "v1.34.4", "kubeconfig": "/k"},
        "images": {"understudy:dev": "abc", "understudy-vllm:dev": ""},
        "cache": "/c",
    }


def test_the_status_tells_a_person_how_to_go_on() -> None:
    text = status.as_text(gathered(ready=True))
    assert "cluster   understudy: ready, Kubernetes v1.34.4" in text
    assert "understudy-vllm:dev: not loaded" in text
    assert "export KUBECONFIG=/k PATH=/c/bin:$PATH" in text


def test_the_status_of_what_is_not_ready_names_the_nodes_state() -> None:
    assert "not ready (node running)" in status.as_text(gathered(ready=False))


def test_the_status_for_programs_is_json() -> None:
    assert gathered(ready=True) == json.loads(status.as_json(gathered(ready=True)))


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "UNDERSTUDY_WAY" in said
    assert "export KUBECONFIG=" in said


def test_a_wrong_command_line_is_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["clusters"])
    assert ended.value.code == 2


def test_a_users_mistake_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDERSTUDY_WAY", "online")
    assert main(["tools"]) == 1
    assert capsys.readouterr().err == "✗ UNDERSTUDY_WAY is 'online'; write registry, packages or auto\n"

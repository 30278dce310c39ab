"""A load carries what the node lacks, and the image is the same whether it carries everything or nothing."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from local import oci

LAYERS = {"base/layer.tar": b"base" * 4000, "code/layer.tar": b"code" * 1000}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


DIGESTS = [digest(data) for data in LAYERS.values()]
CONFIG = json.dumps({"rootfs": {"diff_ids": DIGESTS}, "config": {"User": "65532"}}).encode()


def write(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
        for name, target in (links or {}).items():
            header = tarfile.TarInfo(name)
            header.type, header.linkname = tarfile.SYMTYPE, target
            archive.addfile(header)
    return path


def saved(path: Path, images: int = 1) -> Path:
    """A file as `docker save` writes it."""
    manifest = [{"Config": "config.json", "RepoTags": ["understudy:dev"], "Layers": list(LAYERS)}] * images
    return write(path, {**LAYERS, "config.json": CONFIG, "manifest.json": json.dumps(manifest).encode()})


def content(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in members.items() if file}


def blob(files: dict[str, bytes], described: dict[str, Any]) -> bytes:
    data = files["blobs/" + described["digest"].replace(":", "/")]
    assert digest(data) == described["digest"]
    assert len(data) == described["size"]
    return data


def cut(tmp_path: Path, present: set[str], *tags: str) -> dict[str, bytes]:
    oci.missing_only(saved(tmp_path / "saved.tar"), tmp_path / "small.tar", tags or ("understudy:dev",), present)
    return content(tmp_path / "small.tar")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_layers_that_are_present_are_left_out_and_still_named(tmp_path: Path, count: int) -> None:
    files = cut(tmp_path, set(DIGESTS[:count]))
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(files, entry))
    assert [layer["digest"] for layer in manifest["layers"]] == DIGESTS
    assert [layer["size"] for layer in manifest["layers"]] == [len(data) for data in LAYERS.values()]
    assert blob(files, manifest["config"]) == CONFIG
    carried = [data for data in LAYERS.values() if data in files.values()]
    assert carried == list(LAYERS.values())[count:]


def test_the_layers_of_a_saved_image_are_known_without_reading_them(tmp_path: Path) -> None:
    assert oci.layers(saved(tmp_path / "saved.tar")) == DIGESTS


def test_what_is_present_does_not_change_the_image(tmp_path: Path) -> None:
    assert cut(tmp_path, set())["index.json"] == cut(tmp_path, set(DIGESTS))["index.json"]


def test_one_image_may_have_several_names(tmp_path: Path) -> None:
    files = cut(tmp_path, set(), "understudy:dev", "understudy:upgrade")
    names = [entry["annotations"]["io.containerd.image.name"] for entry in json.loads(files["index.json"])["manifests"]]
    assert names == ["docker.io/library/understudy:dev", "docker.io/library/understudy:upgrade"]


def test_the_archive_says_that_it_is_one(tmp_path: Path) -> None:
    assert json.loads(cut(tmp_path, set())["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_a_layer_that_is_a_link_is_followed(tmp_path: Path) -> None:
    config = json.dumps({"rootfs": {"diff_ids": [digest(b"shared")]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["second/layer.tar"]}]).encode()
    files = {"first/layer.tar": b"shared", "c.json": config, "manifest.json": manifest}
    source = write(tmp_path / "saved.tar", files, {"second/layer.tar": "../first/layer.tar"})
    oci.missing_only(source, tmp_path / "small.tar", ["a:b"], set())
    assert b"shared" in content(tmp_path / "small.tar").values()


def test_a_layer_that_was_saved_compressed_is_named_by_what_it_is(tmp_path: Path) -> None:
    config = json.dumps({"rootfs": {"diff_ids": [digest(b"plain")]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["layer"]}]).encode()
    source = write(tmp_path / "saved.tar", {"layer": b"packed", "c.json": config, "manifest.json": manifest})
    oci.missing_only(source, tmp_path / "small.tar", ["a:b"], set())
    files = content(tmp_path / "small.tar")
    manifest_read = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    assert manifest_read["layers"][0]["digest"] == digest(b"packed")


def test_a_file_with_two_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 2 images, wanted one"):
        oci.missing_only(saved(tmp_path / "saved.tar", images=2), tmp_path / "small.tar", ["a:b"], set())

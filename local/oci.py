"""Cuts a saved image down to what the node has not got yet.

A change of the code is a layer of a megabyte on three hundred that the node holds already; writing and hashing all of
them again is most of what a load costs. The image stays the same to the byte: only blobs that are there are left out.
"""

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CHUNK = 1 << 20


def layers(saved: Path) -> list[str]:
    """The digests of the layers of a `docker save` file's first image, lowest first."""
    with tarfile.open(saved) as source:
        config = json.loads(_read(source, json.loads(_read(source, "manifest.json"))[0]["Config"]))
        return [str(digest) for digest in config["rootfs"]["diff_ids"]]


def missing_only(saved: Path, target: Path, tags: Sequence[str], present: set[str]) -> None:
    """Write an OCI archive of a `docker save` file's one image, without the layers whose digests are in `present`.

    Raises ValueError or KeyError when the file holds another number of images or is not laid out as Docker does it.
    """
    with tarfile.open(saved) as source, tarfile.open(target, "w") as archive:
        images = json.loads(_read(source, "manifest.json"))
        if len(images) != 1:
            raise ValueError(f"{saved} holds {len(images)} images, wanted one")
        config = _read(source, images[0]["Config"])
        digests = json.loads(config)["rootfs"]["diff_ids"]
        described_layers = [
            _layer(source, archive, *pair, present) for pair in zip(images[0]["Layers"], digests, strict=True)
        ]
        described = {"mediaType": CONFIG, **_blob(archive, config)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": described_layers}
        entry = {"mediaType": MANIFEST, **_blob(archive, json.dumps(manifest).encode())}
        named = [{**entry, "annotations": {"io.containerd.image.name": f"docker.io/library/{tag}"}} for tag in tags]
        _write(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": named}).encode())
        _write(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def _layer(
    source: tarfile.TarFile, archive: tarfile.TarFile, name: str, digest: str, present: set[str]
) -> dict[str, Any]:
    member = source.getmember(name)
    while member.issym():
        # Docker writes a layer that two images share once, and links to it.
        member = source.getmember(posixpath.normpath(f"{posixpath.dirname(member.name)}/{member.linkname}"))
    if digest not in present:
        with _open(source, member) as content:
            found = hashlib.sha256()
            while chunk := content.read(CHUNK):
                found.update(chunk)
        # Equal to the configuration's digest unless the layer was saved compressed.
        digest = f"sha256:{found.hexdigest()}"
        header = tarfile.TarInfo(f"blobs/sha256/{found.hexdigest()}")
        header.size = member.size
        with _open(source, member) as content:
            archive.addfile(header, content)
    return {"mediaType": LAYER, "digest": digest, "size": member.size}


def _blob(archive: tarfile.TarFile, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    _write(archive, f"blobs/sha256/{digest}", data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _write(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    archive.addfile(header, io.BytesIO(data))


def _read(source: tarfile.TarFile, name: str) -> bytes:
    with _open(source, source.getmember(name)) as content:
        return content.read()


def _open(source: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = source.extractfile(member)
    if content is None:
        raise ValueError(f"{member.name} is no file")
    return content

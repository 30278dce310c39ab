"""Debian root file systems made from packages, where no registry offers a base image.

The machine's own apt configuration says where packages come from, so a mirror or a proxy that works for apt works here.
"""

import re
from pathlib import Path

from local import cache
from local.commands import ask
from local.steps import Step
from local.versions import DEBIAN

KEPT_SETTINGS = re.compile(r'Acquire::(?:https?::(?:Proxy|Verify|CA)|ForceIPv[46]|Retries)[\w:.-]* "[^"]+";')


def sources_from(targets: str) -> list[str]:
    """Lines of a sources.list from `apt-get indextargets` lines `URI|codename|component|origin`, only Debian's own."""
    suites: dict[tuple[str, str], list[str]] = {}
    for line in targets.splitlines():
        fields = line.split("|")
        if len(fields) == 4 and fields[3] == "Debian" and fields[1].split("-")[0] == DEBIAN:
            components = suites.setdefault((fields[0], fields[1]), [])
            if fields[2] not in components:
                components.append(fields[2])
    return [f"deb {uri} {suite} {' '.join(components)}" for (uri, suite), components in suites.items()]


def image(name: str, packages: tuple[str, ...], step: Step) -> str:
    """The tag of a local image with a minimal Debian and these packages, made when it is not there."""
    build = cache.key(DEBIAN, *packages)
    tag = f"understudy.local/{name}:{build}"
    if ask(["docker", "image", "inspect", "-f", "{{.Id}}", tag]) is None:
        step.run(["docker", "import", _root(name, build, packages, step), tag])
    return tag


def _root(name: str, build: str, packages: tuple[str, ...], step: Step) -> Path:
    archive = cache.folder("rootfs") / f"{name}-{build}.tar"
    if archive.exists():
        return archive
    template = "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)"
    targets = ask(["apt-get", "indextargets", "--format", template, "Identifier: Packages"]) or ""
    settings = KEPT_SETTINGS.findall(ask(["apt-config", "dump"]) or "")
    draft = archive.with_suffix(".part.tar")
    step.run(
        [
            *("mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(packages)}"),
            *(f"--aptopt={setting.removesuffix(';')}" for setting in settings),
            # Nothing that only a person at the machine reads.
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            DEBIAN,
            draft,
            *sources_from(targets),
        ],
        deadline=1200,
    )
    draft.replace(archive)
    return archive

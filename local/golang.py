"""A Go toolchain that is new enough, and programs built with it from Go modules, cached by what went in.

Modules come through whatever the user's Go configuration names; nothing here knows a host.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from local import cache, versions
from local.commands import ask
from local.steps import CommandFailed, Step


@dataclass(frozen=True)
class Program:
    """Binaries from a published module (`target` is `path@version`) or from a module folder of this repository."""

    name: str
    targets: tuple[str, ...]
    folder: Path | None = None
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """Changes with the sources named, the versions, the variables set at link time and the toolchain asked for."""
        settings = (*self.targets, *(f"{name}={value}" for name, value in self.variables))
        return cache.content_key([self.folder] if self.folder else [], *settings)

    @property
    def built(self) -> Path:
        """The folder of the binaries, once built."""
        return cache.root() / "go" / f"{self.name}-{self.key}"


def build(program: Program, step: Step) -> Path:
    """Build the binaries unless they are cached; returns their folder."""
    if program.built.is_dir():
        return program.built
    go = toolchain(step)
    draft = program.built.with_name(f".{program.built.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    linked = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in program.variables)])
    flags = ["-v", "-trimpath", "-ldflags", linked]  # -v: the package under way is the sign of life
    env = {"CGO_ENABLED": "0", "GOOS": "linux", "GOWORK": "off"}
    env["GOCACHE"] = os.environ.get("GOCACHE") or str(_build_cache())
    if program.folder:
        command = [go, "build", *flags, "-o", f"{draft}/", *program.targets]
        step.run(command, env=env, cwd=program.folder, deadline=3600)
    else:
        step.run([go, "install", *flags, *program.targets], env={**env, "GOBIN": str(draft)}, cwd=draft, deadline=3600)
    draft.replace(program.built)
    return program.built


def drop_build_cache() -> None:
    """Remove what Go keeps between builds, some gigabytes: the programs themselves are kept."""
    shutil.rmtree(_build_cache(), ignore_errors=True)


def toolchain(step: Step) -> str:
    """The `go` to build with: the one on PATH when it is new enough, otherwise one fetched as a Go module.

    Raises CommandFailed where there is no Go at all: `tools` installs Debian's, which is enough to fetch a newer one.
    """
    installed = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if installed is None:
        raise CommandFailed("no Go toolchain found; `python3 -m local tools` installs one")
    if versions.parse(ask([installed, "env", "GOVERSION"]) or "") >= versions.GO_MINIMUM:
        return installed
    fetched = cache.root() / "go" / versions.GO_TOOLCHAIN
    if not (fetched / "bin" / "go").exists():
        _fetch(installed, fetched, step)
    return str(fetched / "bin" / "go")


def _fetch(go: str, destination: Path, step: Step) -> None:
    module = f"golang.org/toolchain@v0.0.1-{versions.GO_TOOLCHAIN}.linux-{architecture()}"
    step.note(f"fetching {module}: the Go on this machine is older than {versions.GO_MINIMUM}")
    step.run([go, "mod", "download", module], cwd=cache.folder("go"), env={"GO111MODULE": "on"})
    described = ask([go, "mod", "download", "-json", module], seconds=300)
    if not described:
        raise CommandFailed(f"{module} was downloaded, but go does not say where it lies")
    draft = destination.with_name(f".{destination.name}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(json.loads(described)["Dir"], draft)
    # Module archives carry no permissions.
    for folder in ("bin", "pkg/tool"):
        for file in (draft / folder).rglob("*"):
            file.chmod(0o755)
    draft.replace(destination)


def _build_cache() -> Path:
    return cache.root() / "go-build"


def architecture() -> str:
    """This machine, as Go and Kubernetes call it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

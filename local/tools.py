"""The programs that everything else calls: Debian packages, and kind, kubectl and helm of known versions.

The three lie in the cache, not on PATH: another version that the user has there is neither used nor replaced.
"""

import os
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from local import cache, dockerd, golang, programs, versions
from local.component_images import only_binary
from local.lock import alone
from local.registry import Way
from local.steps import CommandFailed, Step, step

# Command to look for, and the Debian package that brings it.
PACKAGES_WITHOUT_DAEMON = {"docker": "docker.io", "dockerd": "docker.io", "iptables": "iptables"}
PACKAGES_TO_ASSEMBLE = {"mmdebstrap": "mmdebstrap"}
RELEASES = {
    "kind": "https://github.com/kubernetes-sigs/kind/releases/download/{kind}/kind-linux-{arch}",
    "kubectl": "https://dl.k8s.io/release/{kubernetes}/bin/linux/{arch}/kubectl",
    "helm": "https://get.helm.sh/helm-{helm}-linux-{arch}.tar.gz",
    "helm3": "https://get.helm.sh/helm-{helm3}-linux-{arch}.tar.gz",
    "promtool": (
        "https://github.com/prometheus/prometheus/releases/download/v{promtool}/prometheus-{promtool}.linux-{arch}.tar.gz"
    ),
}
# Where in its archive a program lies.
PACKED = {
    "helm": "linux-{arch}/helm",
    "helm3": "linux-{arch}/helm",
    "promtool": "prometheus-{promtool}.linux-{arch}/promtool",
}
WANTED = {"kind": versions.KIND, "kubectl": versions.KUBERNETES, "helm": versions.HELM}
WANTED_BY_TESTS = {"helm3": versions.HELM_3}
PROMTOOL = {"promtool": versions.PROMETHEUS}
# Where Debian has each version of PostgreSQL, and where its package reads that it is to make no server by itself.
POSTGRESQL = Path("/usr/lib/postgresql")
NO_SERVER = Path("/etc/postgresql-common/createcluster.conf")
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def path(name: str) -> Path:
    """Where kind, kubectl, helm, helm3 or promtool lies, installed or not."""
    return cache.root() / "bin" / f"{name}-{_version(name)}"


@alone
def ensure(way: Way) -> None:
    """Install what is missing."""
    wanted = {
        # Where a daemon answers, whoever runs it chose how: nothing is installed beside it.
        **(PACKAGES_WITHOUT_DAEMON if dockerd.version() is None else {}),
        **(PACKAGES_TO_ASSEMBLE if way == "packages" else {}),
    }
    missing = list(dict.fromkeys(package for command, package in wanted.items() if not _installed(command)))
    if not _has_venv():
        missing.append("python3-venv")
    if way == "packages" and not _installed("go"):
        missing.append("golang-go")  # old, but able to fetch a newer one as a module
    if missing:
        with step(f"install {', '.join(missing)}") as current:
            _apt(missing, current)
    for name in WANTED:
        _ensure_program(name, way)


@alone
def ensure_for_tests(way: Way) -> None:
    """Install what is missing, Helm 3, with which the chart must work as well as with Helm 4, promtool, PostgreSQL."""
    ensure(way)
    ensure_promtool(way)
    ensure_postgresql()
    if not all(path(name).exists() for name in WANTED_BY_TESTS):
        for name in WANTED_BY_TESTS:
            _ensure_program(name, way)
        golang.drop_build_cache()


@alone
def ensure_promtool(way: Way) -> None:
    """Install promtool if it is missing: that of a release, or that of Debian's package, unpacked and not installed."""
    if not path("promtool").exists():
        with step(f"{'download' if way == 'registry' else 'unpack'} promtool {versions.PROMETHEUS}") as current:
            _download("promtool", current) if way == "registry" else _unpack_promtool(current)


@alone
def ensure_postgresql() -> None:
    """Install Debian's PostgreSQL if there is none, without a server of its own beside those that tests start."""
    if postgresql() is None:
        with step("install postgresql") as current:
            if os.geteuid() == 0 and not NO_SERVER.exists():
                NO_SERVER.parent.mkdir(parents=True, exist_ok=True)
                NO_SERVER.write_text("create_main_cluster = false\n")
            _apt(["postgresql"], current)


def postgresql() -> Path | None:
    """The folder of PostgreSQL's programs (initdb, postgres), the latest where there are several."""
    found = [folder for folder in POSTGRESQL.glob("*/bin") if (folder / "postgres").exists()]
    return max(found, key=lambda folder: versions.parse(f"{folder.parent.name}.0"), default=None)


def _ensure_program(name: str, way: Way) -> None:
    if not path(name).exists():
        with step(f"{'download' if way == 'registry' else 'build'} {name} {_version(name)}") as current:
            _download(name, current) if way == "registry" else _build(name, current)
    _link(name)


def _version(name: str) -> str:
    return {**WANTED, **WANTED_BY_TESTS, **PROMTOOL}[name]


def _installed(command: str) -> bool:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/go/bin") is not None


def _has_venv() -> bool:
    try:
        import ensurepip  # noqa: F401  # Debian leaves it out of python3 itself
    except ImportError:
        return False
    return True


def _apt(packages: list[str], current: Step) -> None:
    if os.geteuid() != 0 or not _installed("apt-get"):
        raise CommandFailed(f"missing: {', '.join(packages)}; install them, or run this as root on Debian or Ubuntu")
    _update(current)
    current.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], env=_QUIET, deadline=900)


def _update(current: Step) -> None:
    # A source that does not answer must not stop the others: what is missing after all shows in what follows.
    try:
        current.run(["apt-get", "update", "-q"], env=_QUIET, deadline=300)
    except CommandFailed as error:
        current.note(str(error))


def _unpack_promtool(current: Step) -> None:
    if not _installed("apt-get"):
        raise CommandFailed(f"missing: promtool {versions.PROMETHEUS}; put it at {path('promtool')}, or use Debian")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt fetches as a user of its own
        download = ["apt-get", "download", "-q", "prometheus"]
        try:
            current.run(download, cwd=folder, env=_QUIET, deadline=300)
        except CommandFailed:
            # Its lists may be older than the package, or there are none yet.
            _update(current)
            current.run(download, cwd=folder, env=_QUIET, deadline=300)
        package = next(folder.glob("prometheus_*.deb"))
        if not package.name.startswith(f"prometheus_{versions.PROMETHEUS}"):
            raise CommandFailed(
                f"apt offers {package.name}: want Prometheus {versions.PROMETHEUS}, of {versions.DEBIAN}"
            )
        current.run(["dpkg-deb", "--extract", package, folder / "root"], deadline=120)
        _place(folder / "root" / "usr" / "bin" / "promtool", "promtool")


def _build(name: str, current: Step) -> None:
    if name == "kubectl":
        binary = golang.build(programs.KUBERNETES, current) / "kubectl"
    else:
        program = {"kind": programs.KIND, "helm": programs.HELM, "helm3": programs.HELM_3}[name]
        binary = only_binary(golang.build(program, current))
    _place(binary, name)


def _download(name: str, current: Step) -> None:
    arch = golang.architecture()
    wanted = {**WANTED, **WANTED_BY_TESTS, **PROMTOOL, "kubernetes": versions.KUBERNETES, "arch": arch}
    url = RELEASES[name].format(**wanted)
    current.note(f"downloading {url}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        with urllib.request.urlopen(url, timeout=60) as answer, file.open("wb") as target:  # nosec B310 - RELEASES above
            shutil.copyfileobj(answer, target)
        if url.endswith(".tar.gz"):
            member = PACKED[name].format(**wanted)
            with tarfile.open(file) as archive:
                archive.extract(member, folder)
            file = Path(folder) / member
        _place(file, name)


def _place(binary: Path, name: str) -> None:
    path(name).parent.mkdir(parents=True, exist_ok=True)
    draft = path(name).with_name(f".{name}.{os.getpid()}")
    shutil.copyfile(binary, draft)
    draft.chmod(0o755)
    draft.replace(path(name))


def _link(name: str) -> None:
    """A name without a version beside it, for a person's PATH."""
    link = cache.root() / "bin" / name
    if not link.is_symlink() or link.readlink() != Path(path(name).name):
        link.unlink(missing_ok=True)
        link.symlink_to(path(name).name)

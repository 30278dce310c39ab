"""Where a registry answers, the three programs are downloaded; where a package is missing, it is named."""

import functools
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from local import cache, dockerd, golang, programs, tools, versions
from local.cli import main
from local.steps import StepFailed


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and keeps silent."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        pass


def installed_postgresql(folder: Path, *numbers: str) -> Path:
    """A folder as Debian's, with these versions."""
    for number in numbers:
        cache.put(folder / "postgresql" / number / "bin" / "postgres", "")
    return folder / "postgresql"


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served as the place of all releases, with everything else installed already."""
    folder = tmp_path / "releases"
    folder.mkdir()
    for name in ("kind", "kubectl"):
        (folder / name).write_text(f"#!/bin/sh\necho {name}\n")
    for name in ("helm", "helm3"):
        with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
            content = f"#!/bin/sh\necho {name}\n".encode()
            member = tarfile.TarInfo(f"linux-{golang.architecture()}/helm")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with tarfile.open(folder / "promtool.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(f"prometheus-{versions.PROMETHEUS}.linux-{golang.architecture()}/promtool")
        archive.addfile(member)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "_installed", lambda _: True)
    monkeypatch.setattr(tools, "POSTGRESQL", installed_postgresql(tmp_path, "15"))
    with HTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        packed = {name: f"{name}.tar.gz" for name in ("helm", "helm3", "promtool")}
        files = {"kind": "kind", "kubectl": "kubectl", **packed}
        served = {name: f"{address}/{file}" for name, file in files.items()}
        monkeypatch.setattr(tools, "RELEASES", served)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_released_programs_are_downloaded_once(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.ensure("registry")
    for name in tools.WANTED:
        assert f"#!/bin/sh\necho {name}\n" == tools.path(name).read_text()
        assert os.access(tools.path(name), os.X_OK)
        link = tools.path(name).with_name(name)
        assert tools.path(name) == link.resolve()
    assert capsys.readouterr().out.count("✓ download") == 3
    tools.ensure("registry")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_promtool_comes_from_its_release_where_one_can_be_downloaded(releases: Path) -> None:
    tools.ensure_promtool("registry")
    assert os.access(tools.path("promtool"), os.X_OK)
    assert not tools.path("promtool").with_name("promtool").exists(), "it is for tests, not for a person's PATH"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an apt-get that offers what the test puts beside it, after an update, and a dpkg-deb."""
    folder = tmp_path / "apt"
    folder.mkdir()
    programs_of_apt = {
        "apt-get": f"[ $1 = update ] && exec touch {folder}/updated\n[ -e {folder}/updated ] && cp {folder}/*.deb .",
        "dpkg-deb": "mkdir -p $3/usr/bin && cp $2 $3/usr/bin/promtool",
    }
    for name, script in programs_of_apt.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_promtool_is_unpacked_from_the_package_after_an_update_where_apt_does_not_know_it_yet(apt: Path) -> None:
    (apt / f"prometheus_{versions.PROMETHEUS}+ds-5_amd64.deb").write_text("promtool")
    tools.ensure_promtool("packages")
    assert tools.path("promtool").read_text() == "promtool"
    assert os.access(tools.path("promtool"), os.X_OK)
    (apt / "apt-get").unlink()
    tools.ensure_promtool("packages")


def test_another_version_of_the_package_is_not_taken(apt: Path) -> None:
    (apt / "prometheus_3.0.0_amd64.deb").touch()
    with pytest.raises(StepFailed, match=rf"apt offers prometheus_3\.0\.0_amd64\.deb: want .* {versions.PROMETHEUS}"):
        tools.ensure_promtool("packages")
    assert not tools.path("promtool").exists()


def test_without_apt_it_is_said_where_to_put_it(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_installed", lambda _: False)
    with pytest.raises(StepFailed, match=r"missing: promtool .* put it at "):
        tools.ensure_promtool("packages")


def test_the_latest_postgresql_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "POSTGRESQL", installed_postgresql(tmp_path, "9.6", "15", "17"))
    assert tools.postgresql() == tmp_path / "postgresql" / "17" / "bin"
    tools.ensure_postgresql()


def test_postgresql_is_installed_without_a_server_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apt: Path
) -> None:
    monkeypatch.setattr(tools, "POSTGRESQL", tmp_path / "none")
    monkeypatch.setattr(tools, "NO_SERVER", tmp_path / "etc" / "createcluster.conf")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (apt / "apt-get").write_text(f"#!/bin/sh\n[ $1 = update ] || cp {tools.NO_SERVER} {apt}/asked-$6\n")
    tools.ensure_postgresql()
    assert (apt / "asked-").read_text() == "create_main_cluster = false\n"


@pytest.mark.slow
def test_helm_3_comes_only_for_the_tests(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.ensure("registry")
    assert not tools.path("helm3").exists()
    tools.ensure_for_tests("registry")
    assert tools.path("helm3").read_text() == "#!/bin/sh\necho helm3\n"
    assert tools.path("helm").read_text() == "#!/bin/sh\necho helm\n"
    capsys.readouterr()
    tools.ensure_for_tests("registry")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("words", "done"), [(["tools"], "for up"), (["tools", "--for-tests"], "for tests")])
def test_the_command_says_for_what(words: list[str], done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setenv("UNDERSTUDY_WAY", "packages")
    monkeypatch.setattr(tools, "ensure", lambda way: seen.append(f"for up {way}"))
    monkeypatch.setattr(tools, "ensure_for_tests", lambda way: seen.append(f"for tests {way}"))
    assert main(words) == 0
    assert seen == [f"{done} packages"]


@pytest.mark.slow
def test_helm_3_is_built_with_what_its_releases_are_linked_with(
    releases: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools.ensure("registry")
    tools.ensure_promtool("registry")
    built: list[golang.Program] = []

    def build(program: golang.Program, _: object) -> Path:
        built.append(program)
        return cache.put(tmp_path / "built" / "helm", "built").parent

    monkeypatch.setattr(golang, "build", build)
    tools.ensure_for_tests("packages")
    assert tools.path("helm3").read_text() == "built"
    assert built == [programs.HELM_3]
    _, minor, _ = (str(number) for number in versions.parse(versions.KUBERNETES))
    assert dict(built[0].variables)["helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor"] == minor


def test_a_missing_release_is_a_failed_step_and_leaves_no_half_file(releases: Path) -> None:
    (releases / "kubectl").unlink()
    with pytest.raises(StepFailed, match="404"):
        tools.ensure("registry")
    assert not tools.path("kubectl").exists()


def test_what_cannot_be_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(dockerd, "version", lambda: None)
    monkeypatch.setattr(tools, "_installed", lambda name: name not in ("docker", "dockerd", "mmdebstrap", "apt-get"))
    with pytest.raises(StepFailed, match=r"missing: docker\.io, mmdebstrap"):
        tools.ensure("packages")
    assert "✗ install docker.io, mmdebstrap failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_daemon_that_answers_needs_no_package(
    monkeypatch: pytest.MonkeyPatch, releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dockerd, "version", lambda: "28.0.0")
    monkeypatch.setattr(tools, "_installed", lambda name: name not in ("dockerd", "iptables", "apt-get"))
    tools.ensure("registry")
    assert "install" not in capsys.readouterr().out

"""The Docker daemon: used when one answers, otherwise started, also after a crash or a reboot.

Where the machine withholds a capability from containers, the daemon is started with a runtime that does not ask for it.
"""

import os
import shutil
from pathlib import Path

from local import cache, capability, processes
from local.commands import ask
from local.steps import CommandFailed, Step, tail

RUNTIME = "understudy"
# What the daemon and its containerd leave behind when they are killed.
PID_FILES = {"dockerd": Path("/var/run/docker.pid"), "containerd": Path("/var/run/docker/containerd/containerd.pid")}


def version() -> str | None:
    """The version of the daemon that answers, None when none does."""
    return ask(["docker", "version", "-f", "{{.Server.Version}}"], seconds=10) or None


def installed() -> bool:
    """Whether there is a daemon to start, or one elsewhere that was chosen instead."""
    return "DOCKER_HOST" in os.environ or _program().exists()


def ensure(step: Step) -> None:
    """See to it that a daemon answers that can run privileged containers here; raises CommandFailed otherwise."""
    if version() is None:
        _start(step)
    if capability.withheld_here() and _default_runtime() != RUNTIME:
        if not processes.stop("dockerd"):
            raise CommandFailed(
                "a Docker daemon runs already, but this machine withholds CAP_SYS_RESOURCE from containers, and the "
                f"daemon asks for it; stop it, and the next run starts one with the runtime {runtime_path()}"
            )
        _start(step)


def runtime_path() -> Path:
    """Where the runtime lies that leaves out the withheld capability."""
    return cache.root() / "bin" / "runc-unprivileged"


def stale(pid_file: Path, program: str) -> bool:
    """Whether a pid file names no running process of that program: the crash that left it is over."""
    try:
        pid = int(pid_file.read_text())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return processes.program(pid) != program


def _program() -> Path:
    return Path(shutil.which("dockerd") or "/usr/sbin/dockerd")


def _default_runtime() -> str | None:
    return ask(["docker", "info", "-f", "{{.DefaultRuntime}}"], seconds=20)


def _start(step: Step) -> None:
    if elsewhere := os.environ.get("DOCKER_HOST"):
        raise CommandFailed(f"no Docker daemon answers at DOCKER_HOST={elsewhere}; start it, or unset the variable")
    daemon = _program()
    if not daemon.exists():
        raise CommandFailed("no Docker daemon answers and none is installed; `python3 -m local tools` installs one")
    if os.geteuid() != 0:
        raise CommandFailed("no Docker daemon answers, and only root can start one")
    processes.stop("dockerd")
    for program, pid_file in PID_FILES.items():
        if stale(pid_file, program):
            step.note(f"removed {pid_file}: no {program} runs under that number")
            pid_file.unlink()
    command: list[str | Path] = [daemon]
    if capability.withheld_here():
        source = cache.REPOSITORY / "images" / "node" / "runc-unprivileged.sh"
        cache.put(runtime_path(), source.read_text(), executable=True)
        command += ["--add-runtime", f"{RUNTIME}={runtime_path()}", "--default-runtime", RUNTIME]
    log = cache.folder("logs") / "dockerd.log"
    step.note(f"starting {command}, its log is {log}")
    processes.start("dockerd", command, log)

    def answers() -> bool:
        if processes.running("dockerd") is None:
            for line in tail(log, 10):
                step.note(line)
            raise CommandFailed(f"dockerd ended at once, see {log}")
        return version() is not None

    step.wait("the Docker daemon to answer", answers, deadline=60)

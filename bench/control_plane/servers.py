"""A real control plane without nodes: etcd and kube-apiserver on loopback, with an audit log of who asked for what.

etcd does not wait for the disk: the API server is then as fast as it can be, and so is what others are compared with.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from bench.control_plane.api import Api, RefusedError, client_context
from local.ports import free_port, free_ports

# Users, by their tokens. The operator and the bare client come in as service accounts do, flow control included.
OPERATOR, BARE, EDITOR, ADMIN = "understudy", "bare-client", "editor", "bench"
_GROUPS = {OPERATOR: "system:serviceaccounts", BARE: "system:serviceaccounts"}
# The one namespace in which the audit log keeps whole requests of the operator.
REHEARSED = "zz-space-zz"
_POLICY = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {{level: RequestResponse, users: [{OPERATOR}], namespaces: [{REHEARSED}], verbs: [create, update, patch, delete]}}
- {{level: Metadata, users: [{OPERATOR}, {BARE}, {EDITOR}]}}
- {{level: None}}
"""
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class EndedError(Exception):
    """A process ended by itself, or did not come up; the message says which, and how its log ends."""


class Process:
    """One process of the bench's own, ended by its number."""

    def __init__(self, command: Sequence[object], log: Path) -> None:
        self.name, self._log = Path(str(command[0])).name, log
        self._output = log.open("ab")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the bench, which ends the others in order
        )

    def check(self) -> None:
        """Raise EndedError if it does not run any more."""
        if (code := self._process.poll()) is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise EndedError(f"{self.name} ended with {code}:\n{tail}")

    async def stop(self, seconds: float = 15.0) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self._process.poll() is None:
            self._process.terminate()
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                await asyncio.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._output.close()

    @property
    def memory(self) -> tuple[float, float]:
        """Resident memory now and at most so far, in MiB."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
        return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ControlPlane:
    """etcd and kube-apiserver, empty; everything of them lies in `folder`."""

    def __init__(self, etcd: Path, apiserver: Path, folder: Path) -> None:
        self._programs = etcd, apiserver
        self.folder = folder
        self.port = free_port()
        self.audit_log = folder / "audit.log"
        self.processes: list[Process] = []

    async def start(self) -> None:
        """Come up, and let the operator and the bare client do what they want."""
        self.folder.mkdir(parents=True)
        key = self.folder / "accounts.key"
        await asyncio.to_thread(_make_key, key)
        (self.folder / "policy.yaml").write_text(_POLICY)
        tokens = [f'{user},{user},{user},"{_GROUPS.get(user, "system:masters")}"' for user in _users()]
        (self.folder / "tokens.csv").write_text("\n".join(tokens) + "\n")
        store = await self._etcd()
        self.processes.append(Process(self._apiserver(store, key), self.folder / "apiserver.log"))
        async with self.client(ADMIN) as api:
            await self._until_ready(api)
            for user in (OPERATOR, BARE):
                await api.create(_BINDINGS, _binding(user))

    def client(self, user: str, connections: int = 32) -> Api:
        """A client that comes in as `user`."""
        return Api(f"https://127.0.0.1:{self.port}", user, client_context(self._authority), connections)

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig for `user`."""
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(
            f"""apiVersion: v1
kind: Config
clusters:
- name: bench
  cluster: {{server: "https://127.0.0.1:{self.port}", certificate-authority: {self._authority}}}
users: [{{name: {user}, user: {{token: {user}}}}}]
contexts: [{{name: bench, context: {{cluster: bench, user: {user}}}}}]
current-context: bench
"""
        )
        return path

    async def stop(self) -> None:
        """End both, the API server first."""
        for process in reversed(self.processes):
            await process.stop()
        self.processes.clear()

    @property
    def _authority(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    async def _etcd(self) -> str:
        clients, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        command = [
            self._programs[0],
            f"--data-dir={self.folder / 'etcd'}",
            *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
            *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
            f"--initial-cluster=default={peers}",
            *("--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--log-level=error"),
        ]
        self.processes.append(Process(command, self.folder / "etcd.log"))
        return clients

    def _apiserver(self, store: str, key: Path) -> list[str | Path]:
        return [
            self._programs[1],
            f"--etcd-servers={store}",
            *("--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self._authority.parent}"),
            *("--authorization-mode=RBAC", f"--token-auth-file={self.folder / 'tokens.csv'}"),
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            # Nobody makes a namespace's default account here, and nobody serves by Endpoints.
            *("--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"),
            "--service-cluster-ip-range=10.96.0.0/12",
            *(f"--audit-policy-file={self.folder / 'policy.yaml'}", f"--audit-log-path={self.audit_log}"),
        ]

    async def _until_ready(self, api: Api, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            for process in self.processes:
                process.check()
            with suppress(OSError, aiohttp.ClientError, RefusedError):
                api.trust(client_context(self._authority))
                # The bootstrap roles come last.
                await api.get("/readyz")
                await api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
                return
            if time.monotonic() > deadline:
                raise EndedError(f"kube-apiserver is not ready after {seconds:.0f} s; see {self.folder}")
            await asyncio.sleep(0.3)


def _make_key(path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, capture_output=True)


def _users() -> tuple[str, ...]:
    return OPERATOR, BARE, EDITOR, ADMIN


def _binding(user: str) -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }

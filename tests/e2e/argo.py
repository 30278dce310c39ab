"""Argo CD as its users see it: a repository to commit to, an Application that follows it, and the command line."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.e2e.cluster import Cluster, eventually

NAMESPACE = "argocd"
CONTROLLER = "argocd-application-controller-0"
GIT_IMAGE = "understudy-git:dev"
FILE = "models.yaml"
LABELS = {"app": "git"}
PUSH = "git push -q origin main && git rev-parse HEAD"
# In core mode actions go to the cluster by a kubeconfig: here, that of the controller's own service account.
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBECONFIG = f"""apiVersion: v1
kind: Config
current-context: here
clusters:
- {{name: here, cluster: {{server: "https://kubernetes.default.svc", certificate-authority: {ACCOUNT}/ca.crt}}}}
users: [{{name: here, user: {{tokenFile: {ACCOUNT}/token}}}}]
contexts: [{{name: here, context: {{cluster: here, user: here, namespace: {NAMESPACE}}}}}]
"""


@dataclass(frozen=True)
class Repository:
    """A git remote inside the cluster, in a pod of its own, with a working copy beside it."""

    cluster: Cluster
    namespace: str

    @property
    def url(self) -> str:
        """Where the cluster finds it."""
        return f"http://git.{self.namespace}.svc.cluster.local:8080/models.git"

    def start(self) -> None:
        """Bring the remote up, with an empty repository."""
        metadata = {"name": "git", "namespace": self.namespace, "labels": LABELS}
        container = {
            "name": "git",
            "image": GIT_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "enableServiceLinks": False}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        ports = {"selector": LABELS, "ports": [{"port": 8080}]}
        self.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": ports})
        self.cluster.kubectl("-n", self.namespace, "wait", "--for=condition=Ready", "pod/git", "--timeout=150s")
        self._run(
            "git init -q --bare -b main models.git && git clone -q models.git work && cd work"
            " && git config user.name tests && git config user.email tests@example.com"
        )

    def commit(self, message: str, objects: Iterable[Mapping[str, Any]]) -> str:
        """Write these objects, commit and push; returns the commit's id."""
        text = yaml.safe_dump_all(list(objects), sort_keys=False)
        self._run(f"cat > work/{FILE}", stdin=text)
        return self._run(f"cd work && git add -A && git commit -q -m '{message}' && {PUSH}")

    def revert(self) -> str:
        """`git revert` the last commit and push; returns the id of the commit that does so."""
        return self._run(f"cd work && git revert --no-edit HEAD > /dev/null && {PUSH}")

    def _run(self, script: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(
            "-n", self.namespace, "exec", "-i", "git", "--", "sh", "-euc", script, stdin=stdin
        ).strip()


@dataclass(frozen=True)
class Application:
    """What a user declares to Argo CD: this namespace is as that repository says, at any time and by itself."""

    cluster: Cluster
    name: str

    def create(self, repository: Repository) -> None:
        """Follow the repository, prune what it no longer has, and undo what anybody else changes."""
        self.cluster.apply(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {
                    "name": self.name,
                    "namespace": NAMESPACE,
                    # Deleted with all that it made.
                    "finalizers": ["resources-finalizer.argocd.argoproj.io"],
                },
                "spec": {
                    "project": "default",
                    "source": {"repoURL": repository.url, "targetRevision": "main", "path": "."},
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": repository.namespace},
                    "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
                },
            }
        )

    def delete(self) -> None:
        """Delete it and wait until it is gone, and so all that it made."""
        self.cluster.delete("application", self.name, NAMESPACE)
        eventually("the Application is gone", lambda: self._get() is None)

    def status(self) -> dict[str, Any]:
        """Its status; empty while there is none."""
        return dict((self._get() or {}).get("status", {}))

    def becomes(self, health: str, commit: str) -> None:
        """Wait until it is in sync with a commit, and of that health."""
        what = f"Application {self.name} is Synced to {commit[:8]} and {health}"
        try:
            eventually(what, lambda: self.is_at(health, commit), every=1)
        except AssertionError:
            print(json.dumps(self.status(), indent=1))
            raise

    def is_at(self, health: str, commit: str) -> bool:
        """Whether it is now in sync with a commit, and of that health."""
        status = self.status()
        sync = status.get("sync", {})
        return (sync.get("status"), sync.get("revision"), status["health"]["status"]) == ("Synced", commit, health)

    def health(self, kind: str) -> dict[str, str]:
        """Health and message of the one resource of a kind, as the command line and the web interface show them."""
        app = json.loads(self._argocd("app", "get", self.name, "-o", "json"))
        (found,) = (one for one in app["status"]["resources"] if one["kind"] == kind)
        return dict(found["health"])

    def run_action(self, action: str, kind: str, name: str) -> None:
        """Run one of the resource's actions."""
        self._argocd("app", "actions", "run", self.name, action, "--kind", kind, "--resource-name", name)

    def actions(self, kind: str, name: str) -> set[str]:
        """The actions that are offered now, without those that are greyed."""
        listed = json.loads(
            self._argocd(*("app", "actions", "list", self.name, "--kind", kind, "--resource-name", name, "-o", "json"))
        )
        return {entry["Action"] for entry in listed if not entry["Disabled"]}

    def _get(self) -> dict[str, Any] | None:
        return self.cluster.get("application", self.name, NAMESPACE)

    def _argocd(self, *words: str) -> str:
        """Argo CD's command line in core mode, where it is its own server and needs no login."""
        script = 'cat > /tmp/kubeconfig && KUBECONFIG=/tmp/kubeconfig exec argocd "$@" --core'
        command = ("exec", "-i", CONTROLLER, "-c", "argocd-application-controller", "--", "sh", "-euc", script, "sh")
        return self.cluster.kubectl("-n", NAMESPACE, *command, *words, stdin=KUBECONFIG)

"""Reaching the cluster as a person does: the kubeconfig, read as kubectl reads it.

The official client's loader does the work (certificates, tokens, credential programs). What it does otherwise
than kubectl is settled before: with several files the first current-context counts, empty files are no mistake,
and every refusal says which file or context it is about.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from understudy.kube.aio import NoClusterError, adapter
from understudy.kube.client import KubeClient

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE = "default"
_USER_AGENT = "kubectl-understudy"


@dataclass(frozen=True, slots=True)
class Access:
    """A way into one cluster: `namespace` is the context's own, `context` "" inside a pod."""

    client: KubeClient
    server: str
    context: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The files that count, in order, and what they say together: context names with their namespaces."""

    files: tuple[Path, ...]
    current: str
    contexts: Mapping[str, str]


async def connect_as_user(kubeconfig: str = "", context: str = "") -> Access:
    """The cluster of `context` in the kubeconfig (defaults: kubectl's), or the one this pod runs in if there is none.

    Raises NoClusterError with a sentence for whoever typed the command.
    """
    found = read_kubeconfig(kubeconfig, os.environ)
    configuration = Configuration(connection_pool_maxsize=16)
    if not found.files and not context and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _inside(configuration)
    name = chosen_context(found, context)
    try:
        await load_kube_config(  # type: ignore[no-untyped-call]  # the client's configuration has no types
            config_file=os.pathsep.join(map(str, found.files)),
            context=name,
            client_configuration=configuration,
            persist_config=False,
        )
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The loader meets what it does not expect in a file with whatever Python raises there.
        raise NoClusterError(f"cannot use context {name} of {_listed(found.files)}: {error}") from error
    return Access(adapter(configuration, _USER_AGENT), configuration.host, name, found.contexts[name])


def read_kubeconfig(path: str, environment: Mapping[str, str]) -> Kubeconfig:
    """The kubeconfig that kubectl would use: `path` alone, else the files of $KUBECONFIG, else ~/.kube/config.

    Of the latter two, files that are not there are left out, as are empty ones. Raises NoClusterError.
    """
    listed = [path] if path else [p for p in environment.get("KUBECONFIG", "").split(os.pathsep) if p]
    wanted = [Path(p).expanduser() for p in listed] or [Path.home() / ".kube" / "config"]
    if path and not wanted[0].is_file():
        raise NoClusterError(f"cannot read the kubeconfig {path}: there is no such file")
    documents = [(file, _parsed(file)) for file in wanted if file.is_file()]
    files = tuple(file for file, document in documents if document)
    contexts: dict[str, str] = {}
    for file, document in documents:
        for name, namespace in _contexts(file, document):
            contexts.setdefault(name, namespace)
    current = next((str(d["current-context"]) for _, d in documents if d.get("current-context")), "")
    return Kubeconfig(files, current, contexts)


def chosen_context(found: Kubeconfig, asked: str) -> str:
    """The context to use; NoClusterError says what there is to choose from."""
    if not found.files:
        raise NoClusterError(
            "no cluster is known here: there is no kubeconfig; set KUBECONFIG or give --kubeconfig FILE"
        )
    name = asked or found.current
    known = ", ".join(sorted(found.contexts)) or "none"
    if not name:
        raise NoClusterError(f"{_listed(found.files)} has no current-context: give --context, one of {known}")
    if name not in found.contexts:
        raise NoClusterError(f"there is no context {name} in {_listed(found.files)}; there is: {known}")
    return name


def _inside(configuration: Configuration) -> Access:
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # as above
        namespace = _SERVICE_ACCOUNT.read_text().strip()
    except (ConfigException, OSError) as error:
        raise NoClusterError(f"no kubeconfig, and the service account of this pod cannot be read: {error}") from error
    return Access(adapter(configuration, _USER_AGENT), configuration.host, "", namespace or _DEFAULT_NAMESPACE)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # A parser's message spans lines and may quote a token from the file.
        why = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise NoClusterError(f"cannot read the kubeconfig {file}: {why}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise NoClusterError(f"cannot read the kubeconfig {file}: it holds no mapping of clusters, contexts and users")
    return document


def _contexts(file: Path, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    try:
        return [
            (str(entry["name"]), str((entry.get("context") or {}).get("namespace") or _DEFAULT_NAMESPACE))
            for entry in document.get("contexts") or ()
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise NoClusterError(
            f"cannot read the kubeconfig {file}: contexts must be a list of name and context"
        ) from error


def _listed(files: tuple[Path, ...]) -> str:
    return " and ".join(map(str, files))

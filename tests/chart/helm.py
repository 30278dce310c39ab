"""Helm as a user calls it: lint, template, install; on every binary that HELM_BINARIES names."""

import argparse
import copy
import functools
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local import tools, versions
from understudy.cli import gateway, operator, records

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "understudy"
SYSTEM = "understudy-chart-tests"
TEAMS = ("understudy-chart-team-a", "understudy-chart-team-b")

Object = dict[str, Any]

# Names of value sets that every test of the rendered chart goes through.
VALUE_SETS: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "node-port": {"gateway": {"service": {"type": "NodePort", "nodePort": 31234}}},
    "load-balancer": {"gateway": {"service": {"type": "LoadBalancer", "port": 80, "annotations": {"a/b": "c"}}}},
    "namespaced": {"watchNamespaces": list(TEAMS), "privilegedNamespaces": [TEAMS[0]]},
    "one-of-each": {"operator": {"replicas": 1}, "gateway": {"replicas": 1}},
    "none": {"operator": {"replicas": 0}, "gateway": {"replicas": 0}, "networkPolicy": {"enabled": False}},
    "open": {"gateway": {"auth": "none", "url": "https://models.example/"}},
    "no-extras": {
        "crds": {"install": False},
        "rbac": {"aggregate": False},
        "networkPolicy": {"enabled": False},
        "operator": {"podDisruptionBudget": False},
        "gateway": {"podDisruptionBudget": False},
    },
    "logged": {"gateway": {"requestLog": {"enabled": True, "size": "8Mi", "percent": 0.5}}},
    "open-engines": {"networkPolicy": {"engines": False}},
    "tls": {"gateway": {"tls": {"secretName": "models-example-tls"}, "service": {"port": 443}}},
    "engine-tls": {"engineTls": {"secretName": "engine-trust"}},
    "records": {"records": {"enabled": True, "storage": {"size": "10Gi", "storageClass": "fast"}}},
    "records-in-their-pod": {"records": {"enabled": True, "storage": {"persistent": False}}},
    "records-of-requests": {
        "records": {
            "enabled": True,
            "databaseSecret": "postgresql",
            "subjectKeysSecret": "subject-keys",
            "requests": {"enabled": True, "keep": "48h", "spool": "8Mi"},
        },
        "gateway": {"requestLog": {"percent": 25}},
    },
    "own-certificate": {"adminTls": {"existingSecret": "mine"}},
    "placed": {
        component: {
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "serviceAccountAnnotations": {"a/b": "c"},
            "args": ["--log-level=debug"],
        }
        for component in ("operator", "gateway", "records")
    }
    | {
        "podAnnotations": {"x/y": "z: {{ not a template }}"},
        "podLabels": {"team": "models"},
        "imagePullSecrets": [{"name": "registry"}],
        "image": {"digest": "sha256:" + "a" * 64},
        "simImage": "registry.example/sim:1",
    },
    "monitored": {
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "gatewaySubject": "system:serviceaccount:monitoring:prometheus",
        },
        "records": {"enabled": True},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Models"}},
    },
}


def binaries() -> list[str]:
    """Helm's binaries: those in HELM_BINARIES, separated by colons, or the two that the project installs."""
    return os.environ.get("HELM_BINARIES", f"{tools.path('helm')}:{tools.path('helm3')}").split(":")


@dataclass(frozen=True, slots=True)
class Helm:
    """One binary against one cluster."""

    binary: str
    kubeconfig: str

    def run(self, *args: str, values: Mapping[str, Any] | None = None) -> "subprocess.CompletedProcess[str]":
        """The command's outcome; values go in by standard input."""
        given = ["--values=-"] if values is not None else []
        return subprocess.run(
            [self.binary, *args, *given, f"--kubeconfig={self.kubeconfig}"],
            input=json.dumps(values or {}),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def render(self, values: Mapping[str, Any], chart: Path = CHART) -> list[Object]:
        """The objects that a chart, ours by default, makes of the values."""
        return copy.deepcopy(_rendered(self, chart, json.dumps(values, sort_keys=True)))


@functools.cache
def _rendered(helm: Helm, chart: Path, values: str) -> list[Object]:
    # A Helm 3 that is built as a Go module takes every cluster for 1.20 when it renders; released ones do not.
    version = f"--kube-version={versions.KUBERNETES}"
    done = helm.run("template", "understudy", str(chart), f"--namespace={SYSTEM}", version, values=json.loads(values))
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def only(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one object of that kind (and name)."""
    found = [obj for obj in objects if obj["kind"] == kind and name in ("", obj["metadata"]["name"])]
    assert len(found) == 1, (kind, name, [obj["metadata"]["name"] for obj in found])
    return found[0]


def component_args(deployment: Object) -> argparse.Namespace:
    """The arguments of a rendered Deployment, as its command reads them; an unknown one is an error."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    component, *args = container["args"]
    assert container["command"] == ["understudy"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    {"operator": operator, "gateway": gateway, "records": records}[component].add_arguments(parser)
    return parser.parse_args(args)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """All objects of those kinds."""
    return [obj for obj in objects if obj["kind"] in kinds]

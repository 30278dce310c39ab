"""Versions that were run together, and the arithmetic to compare what is installed with what is needed."""

import re

KUBERNETES = "v1.34.4"  # the last minor whose kubelet accepts cgroup v1 by default
KIND = "v0.33.0"
HELM = "v4.3.1"
HELM_3 = "v3.19.4"  # what most people have still; the chart's tests run with both
PROMETHEUS = "2.42.0"  # Debian bookworm's; of it promtool alone is used, to test the alert rules
ARGOCD = "v3.1.9"  # the last whose module can be built: later ones need a nested module that is not published
LOCAL_PATH_PROVISIONER = "v0.0.30"
UV = "0.13.8"
GO_MINIMUM = (1, 26, 0)  # what CoreDNS and Helm ask for, Kubernetes is content with less
GO_TOOLCHAIN = "go1.26.8"
DEBIAN = "bookworm"

# What a registry offers, when one can be reached.
NODE_IMAGE = "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
GIT_IMAGE = "python:3.11-bookworm"  # unlike the slim one, it has git
ENGINE_IMAGE = "vllm/vllm-openai-cpu:v0.32.0-x86_64"

# The names under which kubeadm and kind ask for what a node runs.
KUBEADM_IMAGES = {
    "etcd": "registry.k8s.io/etcd:3.6.5-0",
    "coredns": "registry.k8s.io/coredns/coredns:v1.12.1",
}
PAUSE_IMAGES = ("registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10")


def parse(text: str) -> tuple[int, int, int]:
    """The first version number in a text such as `go version go1.26.8 linux/amd64`; (0, 0, 0) when there is none."""
    found = re.search(r"(?<![\d.])v?(?:go)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        return (0, 0, 0)
    return (int(found[1]), int(found[2]), int(found[3] or 0))


def same_minor(left: str, right: str) -> bool:
    """Whether two Kubernetes versions differ in their patch level at most, so that one stands in for the other."""
    return parse(left)[:2] == parse(right)[:2] != (0, 0)

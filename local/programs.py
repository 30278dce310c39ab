"""What is built from Go modules where no registry can be reached, and with which versions."""

from local import cache, versions
from local.golang import Program

SOURCES = cache.REPOSITORY / "images" / "node"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
NODE_COMMANDS = ("kubelet", "kubeadm", "kubectl")


def _helm_3_variables() -> tuple[tuple[str, str], ...]:
    """What its releases are linked with; without them it takes every cluster that it does not ask for 1.20."""
    major, minor, _ = versions.parse(versions.KUBERNETES)
    packages = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    return (
        ("helm.sh/helm/v3/internal/version.version", versions.HELM_3),
        *((f"{package}.k8sVersionMajor", str(major)) for package in packages),
        *((f"{package}.k8sVersionMinor", str(minor)) for package in packages),
    )


def _kubernetes_variables() -> tuple[tuple[str, str], ...]:
    major, minor, _ = versions.parse(versions.KUBERNETES)
    values = {
        "gitVersion": versions.KUBERNETES,
        "gitMajor": str(major),
        "gitMinor": str(minor),
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{name}", value) for package in packages for name, value in values.items())


KIND = Program("kind", (f"sigs.k8s.io/kind@{versions.KIND}",))
HELM = Program("helm", (f"helm.sh/helm/v4/cmd/helm@{versions.HELM}",))
HELM_3 = Program("helm3", (f"helm.sh/helm/v3/cmd/helm@{versions.HELM_3}",), variables=_helm_3_variables())
STORAGE = Program(
    "local-path-provisioner", (f"github.com/rancher/local-path-provisioner@{versions.LOCAL_PATH_PROVISIONER}",)
)
KUBERNETES = Program(
    "kubernetes",
    tuple(f"k8s.io/kubernetes/cmd/{name}" for name in (*COMPONENTS, *NODE_COMMANDS)),
    SOURCES / "kubernetes",
    _kubernetes_variables(),
)
ETCD = Program("etcd", ("go.etcd.io/etcd/server/v3",), SOURCES / "etcd")
COREDNS = Program("coredns", (".",), SOURCES / "coredns")
PAUSE = Program("pause", (".",), SOURCES / "pause")
ARGOCD = Program(
    "argocd",
    ("github.com/argoproj/argo-cd/v3/cmd",),
    cache.REPOSITORY / "images" / "argocd" / "program",
    (("github.com/argoproj/argo-cd/v3/common.version", versions.ARGOCD.removeprefix("v")),),
)

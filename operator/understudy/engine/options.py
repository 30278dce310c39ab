"""What the operator's command line decides."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """See `understudy operator --help`; times are in seconds."""

    namespace: str
    identity: str
    watch_namespaces: tuple[str, ...] = ()
    kubeconfig: str = ""
    gateway_url: str = ""
    admin_ca: str = ""
    admin_token: str = ""
    metrics_port: int = 8081
    sim_image: str = ""
    poll_interval: float = 1.0
    prestop_seconds: int = 5
    hash_version: int = 1
    lease_name: str = "understudy-operator"
    privileged_namespaces: tuple[str, ...] = ()
    engine_policies: bool = True
    engine_tls_dir: str = ""
    workers: int = 32
    resync: float = 300.0

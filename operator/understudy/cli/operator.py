"""`understudy operator`: the process that reconciles."""

import argparse
import gc
import logging
import os
import secrets
import socket
import sys
from pathlib import Path

import aiohttp
import uvloop

from understudy.domain.duration import seconds
from understudy.engine.asking import HttpOutside, outside_session
from understudy.engine.clock import Clock
from understudy.engine.gateways import HttpStateSource
from understudy.engine.options import Options
from understudy.engine.prober import HttpEngine
from understudy.engine.process import OperatorProcess, stop_on_signals
from understudy.engine.startup import CannotStartError
from understudy.engine.trust import Trust, TrustError
from understudy.handlers.thread import KopfThread
from understudy.kube.aio import NoClusterError, connect
from understudy.telemetry.logging import configure

log = logging.getLogger(__name__)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE = "understudy-system"
# New containers before the collector looks at them, and looks before it goes on to older ones. Thousands of deployments
# are millions of dicts that live long, and each answer that is read makes a few hundred thousand that do not: with
# Python's own 700 and 10 the operator spends half of its time to find that nothing can go.
_COLLECT_AFTER = (50_000, 20, 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy operator`."""
    parser.add_argument("--namespace", default="", help="the system namespace (default: the pod's own)")
    parser.add_argument(
        "--watch-namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="work in this namespace only; repeatable; none means the whole cluster",
    )
    parser.add_argument("--kubeconfig", default="", help="for a run outside the cluster; in a pod leave it out")
    parser.add_argument("--identity", default="", help="name of this process in the Lease (default: host name)")
    parser.add_argument("--lease-name", default="understudy-operator", help="the Lease of the election")
    parser.add_argument("--gateway-url", default="", help="address of the gateway as clients know it, for status.url")
    parser.add_argument("--admin-ca", default="", metavar="FILE", help="CA of the gateways' admin port; none = HTTP")
    parser.add_argument("--admin-token", default="", metavar="FILE", help="token for the gateways' admin port")
    parser.add_argument("--metrics-port", type=int, default=8081, help="port of /healthz, /readyz and /metrics")
    parser.add_argument("--sim-image", default="", help="image of simulated engines that name none")
    parser.add_argument("--poll-interval", type=_duration, default=1.0, help="between questions to a gateway, as 500ms")
    parser.add_argument(
        "--hash-version",
        type=int,
        default=1,
        help="canonical form that new revisions are hashed under; recorded ones keep theirs",
    )
    parser.add_argument("--prestop-seconds", type=int, default=5, help="sleep of an engine before it gets SIGTERM")
    parser.add_argument(
        "--privileged-namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="namespace whose podTemplates may ask for privileged containers and host paths; repeatable",
    )
    parser.add_argument(
        "--engine-policies",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a NetworkPolicy for each ModelDeployment, so that only gateways and the operator reach its pods",
    )
    trusted = "holds ca.crt, of those who sign engines' certificates, and tls.crt and tls.key if engines ask for ours"
    parser.add_argument(
        "--engine-tls-dir", default="", metavar="DIR", help=f"{trusted}; default: no engine may ask for TLS"
    )
    parser.add_argument("--workers", type=int, default=32, help="deployments that are reconciled at the same time")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM; 0 then, 1 when the process must be started again, 2 when it cannot work here."""
    configure(args.log_level)
    # What has been imported stays: the collector need not walk through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if args.kubeconfig:
        os.environ["KUBECONFIG"] = args.kubeconfig  # Kopf reads it there
    try:
        return uvloop.run(_serve(_options(args)))
    except (CannotStartError, NoClusterError, TrustError) as error:
        print(f"understudy operator: {error}", file=sys.stderr)
        return 2


async def _serve(options: Options) -> int:
    trust = Trust(Path(options.engine_tls_dir) if options.engine_tls_dir else None)
    client = await connect(options.kubeconfig)
    try:
        # A pod is asked every few seconds: a connection kept for each of thousands would cost more than it saves.
        to_engines = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            aiohttp.ClientSession(connector=to_engines) as engines,
            outside_session() as outside,
        ):
            states = HttpStateSource(session, options.namespace, ca=options.admin_ca, token=options.admin_token)
            engine = HttpEngine(engines, trust)
            process = OperatorProcess(client, options, states, engine, HttpOutside(outside), Clock())
            stop_on_signals(process)
            return await process.run(
                lambda enqueue, on_death: KopfThread(enqueue, options.watch_namespaces, on_death),
            )
    finally:
        await client.close()


def _options(args: argparse.Namespace) -> Options:
    # Two processes must never share an identity: a restarted one is another one.
    identity = f"{args.identity or socket.gethostname()}_{secrets.token_hex(4)}"
    return Options(
        namespace=args.namespace or _own_namespace(),
        identity=identity,
        watch_namespaces=tuple(args.watch_namespace),
        kubeconfig=args.kubeconfig,
        gateway_url=args.gateway_url,
        admin_ca=args.admin_ca,
        admin_token=args.admin_token,
        metrics_port=args.metrics_port,
        sim_image=args.sim_image,
        poll_interval=args.poll_interval,
        prestop_seconds=args.prestop_seconds,
        hash_version=args.hash_version,
        lease_name=args.lease_name,
        privileged_namespaces=tuple(args.privileged_namespace),
        engine_policies=args.engine_policies,
        engine_tls_dir=args.engine_tls_dir,
        workers=args.workers,
    )


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else _DEFAULT_NAMESPACE


def _duration(text: str) -> float:
    """A duration such as 500ms, or a plain number of seconds."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

"""`understudy gateway`: flags of the data plane."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

from understudy.domain.names import GATEWAY_ADMIN_PORT, GATEWAY_DATA_PORT
from understudy.gateway import kubeapi
from understudy.gateway.admin import AdminSettings
from understudy.gateway.process import Settings, serve
from understudy.gateway.snapshot import SnapshotError
from understudy.gateway.wire.plane import Limits
from understudy.telemetry.logging import configure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy gateway`."""
    limits = Limits()
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  # a pod listens on its own address
    parser.add_argument("--port", type=int, default=GATEWAY_DATA_PORT)
    parser.add_argument("--auth", choices=("keys", "none"), default="keys", help="none serves everybody")
    source = parser.add_argument_group("what is served")
    source.add_argument("--snapshot", type=Path, metavar="FILE", help="serve from this file alone, without a cluster")
    source.add_argument("--state-file", type=Path, metavar="FILE", help="keep the last known world here, start from it")
    source.add_argument("--namespace", default="understudy-system", help="where access keys and the master key lie")
    source.add_argument("--watch-namespace", action="append", default=[], metavar="NS", help="repeatable; default: all")
    source.add_argument("--api-server", metavar="URL", help="default: the one of the pod's cluster")
    source.add_argument("--api-token", default="", metavar="FILE", help="bearer token for --api-server")
    source.add_argument("--api-ca", default="", metavar="FILE", help="certificates that sign --api-server's")
    admin = parser.add_argument_group("admin port: /healthz /readyz /state /metrics")
    admin.add_argument("--admin-host", default="0.0.0.0")  # noqa: S104  # same
    admin.add_argument("--admin-port", type=int, default=GATEWAY_ADMIN_PORT)
    admin.add_argument("--admin-tls-dir", type=Path, metavar="DIR", help="holds tls.crt and tls.key; default: no TLS")
    admin.add_argument("--admin-auth", choices=("token", "none"), default="token", help="none: /state for everybody")
    subject = "system:serviceaccount:<ns>:<name> that may read /state and /metrics; repeatable"
    admin.add_argument("--admin-subject", action="append", default=[], metavar="USER", help=subject)
    times = parser.add_argument_group("times in seconds")
    times.add_argument("--grace", type=float, default=10.0, help="new requests are taken this long after SIGTERM")
    times.add_argument("--shutdown-timeout", type=float, default=110.0, help="open ones get this long after that")
    times.add_argument("--header-timeout", type=float, default=limits.header_seconds)
    times.add_argument("--body-timeout", type=float, default=limits.body_seconds)
    times.add_argument("--connect-timeout", type=float, default=limits.connect_seconds)
    times.add_argument("--idle-timeout", type=float, default=limits.idle_seconds)
    times.add_argument("--slow-reader-timeout", type=float, default=limits.slow_reader_seconds)
    times.add_argument("--wait", type=float, default=limits.wait_seconds, help="for an engine, when none is ready")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; exit status 0, 2 for flags or a file that cannot be served from, 1 for a taken port."""
    configure(args.log_level)
    settings = _settings(args)
    if settings.api is None and settings.snapshot is None:
        print("understudy gateway: not in a cluster; give --snapshot FILE or --api-server URL", file=sys.stderr)
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except SnapshotError as error:
        print(f"understudy gateway: {args.snapshot}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"understudy gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    if args.snapshot is not None:
        api = None
    elif args.api_server:
        api = kubeapi.ApiServer(args.api_server, args.api_token, args.api_ca)
    else:
        api = kubeapi.in_cluster()
    return Settings(
        host=args.host,
        port=args.port,
        admin=AdminSettings(
            host=args.admin_host,
            port=args.admin_port,
            tls_dir=args.admin_tls_dir,
            auth=args.admin_auth,
            subjects=tuple(args.admin_subject),
        ),
        api=api,
        system_namespace=args.namespace,
        watch_namespaces=tuple(args.watch_namespace),
        snapshot=args.snapshot,
        state_file=args.state_file,
        open_access=args.auth == "none",
        grace_seconds=args.grace,
        shutdown_seconds=args.shutdown_timeout,
        limits=Limits(
            header_seconds=args.header_timeout,
            body_seconds=args.body_timeout,
            connect_seconds=args.connect_timeout,
            idle_seconds=args.idle_timeout,
            slow_reader_seconds=args.slow_reader_timeout,
            wait_seconds=args.wait,
        ),
    )

"""`understudy gateway`: flags of the data plane."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop

from understudy.domain.duration import seconds
from understudy.domain.names import GATEWAY_ADMIN_PORT, GATEWAY_DATA_PORT
from understudy.domain.quantity import parse_quantity
from understudy.gateway import kubeapi, process, worker, workers
from understudy.gateway.admin import AdminSettings
from understudy.gateway.pair import PairError
from understudy.gateway.process import Settings
from understudy.gateway.snapshot import SnapshotError
from understudy.gateway.wire.plane import Limits
from understudy.telemetry.logging import configure

MAX_WORKERS: Final = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy gateway`."""
    parser.formatter_class = argparse.HelpFormatter
    limits = Limits()
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  # a pod listens on its own address
    parser.add_argument("--port", type=int, default=GATEWAY_DATA_PORT)
    parser.add_argument("--auth", choices=("keys", "none"), default="keys", help="none serves everybody")
    tls = "holds tls.crt and tls.key for clients, renewed while it runs; default: plain HTTP"
    parser.add_argument("--tls-dir", type=Path, metavar="DIR", help=tls)
    engines = "holds ca.crt for TLS to engines, and tls.crt and tls.key if they ask for ours; default: none is trusted"
    parser.add_argument("--engine-tls-dir", type=Path, metavar="DIR", help=engines)
    count = "processes that carry requests, one for each CPU that the gateway may use; one alone is this process"
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help=f"{count} (default: 1)")
    # Given by a parent to its workers.
    parser.add_argument("--worker", type=worker.Task.parse, help=argparse.SUPPRESS)
    source = parser.add_argument_group("what is served")
    source.add_argument("--snapshot", type=Path, metavar="FILE", help="serve from this file alone, without a cluster")
    source.add_argument("--state-dir", type=Path, metavar="DIR", help="keep the last known world here, start from it")
    source.add_argument("--namespace", default="understudy-system", help="where access keys and the master key lie")
    own = "Service, in --namespace, of all gateways, which share the limits of keys; default: there is but this one"
    source.add_argument("--gateway-service", default="", metavar="NAME", help=own)
    source.add_argument("--watch-namespace", action="append", default=[], metavar="NS", help="repeatable; default: all")
    source.add_argument("--api-server", metavar="URL", help="default: the one of the pod's cluster")
    source.add_argument("--api-token", default="", metavar="FILE", help="bearer token for --api-server")
    source.add_argument("--api-ca", default="", metavar="FILE", help="certificates that sign --api-server's")
    pairs = parser.add_argument_group("answers of stable and of a shadow, where a deployment has text kept")
    pairs.add_argument("--pairs-dir", type=Path, metavar="DIR", help="keep their texts in DIR/pairs.jsonl; default: no")
    size = "of that file, then nothing is added (default: 64Mi)"
    pairs.add_argument("--pairs-size", type=_size, default=Settings().pairs_bytes, metavar="QUANTITY", help=size)
    log = parser.add_argument_group("request log, with texts where a deployment has them kept")
    log.add_argument("--requests-dir", type=Path, metavar="DIR", help="keep it in DIR/requests.jsonl; default: no")
    size = "of that file and the one before it together (default: 64Mi)"
    log.add_argument("--requests-size", type=_size, default=Settings().requests_bytes, metavar="QUANTITY", help=size)
    share = "of requests, beside those that failed, which it has all (default: 100)"
    log.add_argument("--requests-percent", type=_percent, default=100.0, metavar="0-100", help=share)
    ledger = parser.add_argument_group("budgets of access keys (docs/records.md)")
    url = "of understudy records; default: keys with a budget are refused"
    ledger.add_argument("--ledger", type=_url, metavar="URL", help=url)
    ledger.add_argument("--ledger-token", default="", metavar="FILE", help="bearer token for it")
    ledger.add_argument("--ledger-ca", default="", metavar="FILE", help="certificates that sign its own")
    name = "its certificate is for this name; default: the one in URL"
    ledger.add_argument("--ledger-server-name", default="", metavar="NAME", help=name)
    records = parser.add_argument_group("records of requests (docs/records.md)")
    url = "of understudy records, which get the --requests-percent of requests that the log has; default: nobody"
    records.add_argument("--records", type=_url, metavar="URL", help=url)
    until = "they wait in DIR until they have been taken; wanted with --records"
    records.add_argument("--records-dir", type=Path, metavar="DIR", help=until)
    size = "of all that wait; then the oldest requests make way (default: 64Mi)"
    records.add_argument("--records-size", type=_size, default=Settings().records_bytes, metavar="QUANTITY", help=size)
    records.add_argument("--records-token", default="", metavar="FILE", help="bearer token for it")
    records.add_argument("--records-ca", default="", metavar="FILE", help="certificates that sign its own")
    records.add_argument("--records-server-name", default="", metavar="NAME", help=name)
    admin = parser.add_argument_group("admin port: /healthz /readyz /state /metrics")
    admin.add_argument("--admin-host", default="0.0.0.0")  # noqa: S104  # same
    admin.add_argument("--admin-port", type=int, default=GATEWAY_ADMIN_PORT)
    admin.add_argument("--admin-tls-dir", type=Path, metavar="DIR", help="holds tls.crt and tls.key; default: no TLS")
    admin.add_argument("--admin-auth", choices=("token", "none"), default="token", help="none: /state for everybody")
    subject = "system:serviceaccount:<ns>:<name> that may read /state and /metrics; repeatable"
    admin.add_argument("--admin-subject", action="append", default=[], metavar="USER", help=subject)
    times = parser.add_argument_group("times, such as 90s or 500ms")
    _time(times, "--grace", 10.0, "new requests are taken this long after SIGTERM")
    _time(times, "--shutdown-timeout", 110.0, "open ones get this long after that")
    _time(times, "--header-timeout", limits.header_seconds, "for a request's header")
    _time(times, "--body-timeout", limits.body_seconds, "for its body, unless at least 1 KiB/s comes")
    _time(times, "--connect-timeout", limits.connect_seconds, "for a connection to an engine")
    _time(times, "--idle-timeout", limits.idle_seconds, "for the next request on a connection")
    _time(times, "--slow-reader-timeout", limits.slow_reader_seconds, "for a client that reads nothing")
    _time(times, "--hung-after", Settings().hung_seconds, "a worker that stands still is killed and started again")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def _time(group: Any, flag: str, default: float, text: str) -> None:
    group.add_argument(flag, type=_duration, default=default, metavar="TIME", help=f"{text} (default: {default:g}s)")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise argparse.ArgumentTypeError(f"{text}: want the root of a server, such as https://records:9902")
    return text


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text}: want a whole number from 1 to {MAX_WORKERS}")
    return int(text)


def _size(text: str) -> int:
    try:
        size = parse_quantity(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if size < 0 or size != int(size):
        raise argparse.ArgumentTypeError(f"{text}: want a whole number of bytes, such as 64Mi")
    return int(size)


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"{text}: want a number from 0 to 100, such as 5 or 0.1")
    return percent


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; exit status 0, 2 for flags or a file that cannot be served from, 1 for a taken port."""
    configure(args.log_level)
    settings = _settings(args)
    if settings.api is None and settings.snapshot is None:
        print("understudy gateway: not in a cluster; give --snapshot FILE or --api-server URL", file=sys.stderr)
        return 2
    if settings.records is not None and settings.records_dir is None:
        print("understudy gateway: --records: say with --records-dir DIR where records wait", file=sys.stderr)
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serving(settings, args.worker))
    except SnapshotError as error:
        print(f"understudy gateway: {args.snapshot}: {error}", file=sys.stderr)
        return 2
    except PairError as error:
        print(f"understudy gateway: {error}", file=sys.stderr)
        return 2
    except workers.WorkerError as error:
        print(f"understudy gateway: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"understudy gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _serving(settings: Settings, task: worker.Task | None) -> Coroutine[Any, Any, None]:
    if task is not None:
        return worker.serve(settings, task)
    if settings.workers == 1:
        return process.serve(settings)
    # A worker is this command once more, told which one it is.
    return workers.serve(settings, (sys.executable, *sys.orig_argv[1:]))


def _ledger(args: argparse.Namespace) -> kubeapi.ApiServer | None:
    if not args.ledger:
        return None
    return kubeapi.ApiServer(args.ledger, args.ledger_token, args.ledger_ca, args.ledger_server_name)


def _records(args: argparse.Namespace) -> kubeapi.ApiServer | None:
    if not args.records:
        return None
    return kubeapi.ApiServer(args.records, args.records_token, args.records_ca, args.records_server_name)


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
        tls_dir=args.tls_dir,
        engine_tls_dir=args.engine_tls_dir,
        admin=AdminSettings(
            host=args.admin_host,
            port=args.admin_port,
            tls_dir=args.admin_tls_dir,
            auth=args.admin_auth,
            subjects=tuple(args.admin_subject),
        ),
        api=api,
        ledger=_ledger(args),
        system_namespace=args.namespace,
        watch_namespaces=tuple(args.watch_namespace),
        gateway_service=args.gateway_service,
        snapshot=args.snapshot,
        state_file=args.state_dir / "world.json" if args.state_dir is not None else None,
        open_access=args.auth == "none",
        grace_seconds=args.grace,
        shutdown_seconds=args.shutdown_timeout,
        pairs_dir=args.pairs_dir,
        pairs_bytes=args.pairs_size,
        workers=args.workers,
        hung_seconds=args.hung_after,
        requests_dir=args.requests_dir,
        requests_bytes=args.requests_size,
        requests_percent=args.requests_percent,
        records=_records(args),
        records_dir=args.records_dir,
        records_bytes=args.records_size,
        limits=Limits(
            header_seconds=args.header_timeout,
            body_seconds=args.body_timeout,
            connect_seconds=args.connect_timeout,
            idle_seconds=args.idle_timeout,
            slow_reader_seconds=args.slow_reader_timeout,
        ),
    )

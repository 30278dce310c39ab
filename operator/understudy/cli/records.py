"""`understudy records`: flags of the process that keeps what must not be lost."""

import argparse
import asyncio
import ipaddress
import logging
import sys
from pathlib import Path

import uvloop

from understudy.cli import records_export
from understudy.domain.duration import seconds
from understudy.gateway import kubeapi
from understudy.gateway.pair import PairError
from understudy.records.database import DatabaseError
from understudy.records.process import PORT, KeysError, Settings, serve
from understudy.records.retention import Keep
from understudy.telemetry.logging import configure

_DATABASE = "sqlite:////var/lib/understudy/records.db"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy records`."""
    parser.formatter_class = argparse.HelpFormatter
    only = "ledger: what of budgets is spent, and no records of requests; default: both"
    parser.add_argument("--only", choices=("ledger",), help=only)
    kept = Keep()
    for kind, what, seconds_kept in (
        ("", "requests", kept.requests),
        ("-violations", "what guardrails found", kept.violations),
        ("-engagement", "what players did", kept.engagement),
        ("-decisions", "rollouts", kept.decisions),
    ):
        text = f"records of {what} are kept for (default: {seconds_kept / 3600:.0f}h)"
        parser.add_argument(f"--keep{kind}", type=_duration, default=seconds_kept, metavar="TIME", help=text)
    where = f"postgresql://…, or sqlite:///…, a file that is made if there is none (default: {_DATABASE})"
    parser.add_argument("--database", default=_DATABASE, metavar="URL", help=where)
    holds = "holds that URL, for one with a password; goes before --database"
    parser.add_argument("--database-file", type=Path, metavar="FILE", help=holds)
    secrets = "holds a file for each secret that identifiers are hashed with, named 1, 2 …; default: none is stored"
    parser.add_argument("--subject-keys", type=Path, metavar="DIR", help=secrets)
    admin = "system:serviceaccount:<ns>:<name> that may have somebody erased; repeatable"
    parser.add_argument("--admin-subject", action="append", default=[], metavar="USER", help=admin)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  # a pod listens on its own address
    parser.add_argument("--port", type=int, default=PORT)
    tls = "holds tls.crt and tls.key, renewed while it runs; default: plain HTTP"
    parser.add_argument("--tls-dir", type=Path, metavar="DIR", help=tls)
    parser.add_argument(
        "--auth", choices=("token", "none"), default="token", help="none answers everybody, on a loopback --host"
    )
    subject = "system:serviceaccount:<ns>:<name> that may ask; repeatable"
    parser.add_argument("--subject", action="append", default=[], metavar="USER", help=subject)
    reader = "system:serviceaccount:<ns>:<name> that may read /metrics, and nothing else; repeatable"
    parser.add_argument("--metrics-subject", action="append", default=[], metavar="USER", help=reader)
    watched = "whose rollouts are recorded; repeatable; default: all"
    parser.add_argument("--watch-namespace", action="append", default=[], metavar="NS", help=watched)
    parser.add_argument("--api-server", metavar="URL", help="vouches for tokens; default: that of the pod's cluster")
    parser.add_argument("--api-token", default="", metavar="FILE", help="bearer token for --api-server")
    parser.add_argument("--api-ca", default="", metavar="FILE", help="certificates that sign --api-server's")
    clock = "believe the clock, though it was ahead once: forget what was counted for a time that has not come"
    parser.add_argument("--reset-clock", action="store_true", help=clock)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    actions = parser.add_subparsers(dest="action", metavar="[export]", help="instead of serving: records as a file")
    export = actions.add_parser("export", description="Write records that a running process has to a file.")
    records_export.add_arguments(export)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; exit status 0, 2 for flags or a database that cannot be served from, 1 for a taken port."""
    if args.action == "export":
        return records_export.run(args)
    configure(args.log_level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each of its own steps
    given = kubeapi.ApiServer(args.api_server, args.api_token, args.api_ca) if args.api_server else None
    api = given or kubeapi.in_cluster()
    if args.auth == "token":
        if api is None:
            return _refuse("not in a cluster: give --api-server URL, or --auth none to answer everybody")
        if not args.subject:
            return _refuse("nobody may ask: give --subject system:serviceaccount:NAMESPACE:NAME, or --auth none")
    elif not _is_loopback(args.host):
        return _refuse("--auth none answers everybody who reaches it: add --host 127.0.0.1, or have tokens asked for")
    try:
        database = args.database_file.read_text().strip() if args.database_file is not None else args.database
    except (OSError, ValueError) as error:
        return _refuse(f"{args.database_file} cannot be read: {error}")
    settings = Settings(
        database=database,
        host=args.host,
        port=args.port,
        tls_dir=args.tls_dir,
        auth=args.auth,
        subjects=tuple(args.subject),
        metrics_subjects=tuple(args.metrics_subject),
        api=api,
        reset_clock=args.reset_clock,
        only_ledger=args.only == "ledger",
        keep=Keep(args.keep, args.keep_violations, args.keep_engagement, args.keep_decisions),
        watch_namespaces=tuple(args.watch_namespace),
        subject_keys=args.subject_keys,
        admins=tuple(args.admin_subject),
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (DatabaseError, KeysError, PairError) as error:
        return _refuse(str(error))
    except OSError as error:
        print(f"understudy records: {error}", file=sys.stderr)
        return 1
    return 0


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse(sentence: str) -> int:
    print(f"understudy records: {sentence}", file=sys.stderr)
    return 2

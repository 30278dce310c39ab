"""`kubectl understudy violations`: what guardrails found, as the records tell those who may read them."""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from understudy.cli.plugin import flags
from understudy.cli.plugin.documents import rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.screen import Cell, Screen, age
from understudy.cli.said import said
from understudy.domain.duration import words
from understudy.gateway import kubeapi

_RECORDS: Final = "UNDERSTUDY_RECORDS"
_NAME: Final = "UNDERSTUDY_RECORDS_NAME"
_DAY: Final = 86_400.0
_MOST: Final = 1000
EPILOG = f"""\
  kubectl -n understudy-system port-forward service/understudy-records 9902 &
  kubectl -n team-a create token auditor --audience understudy > token
  export {_RECORDS}=https://127.0.0.1:9902 {_NAME}=understudy-gateway.understudy-system.svc
  kubectl understudy violations -n team-a --token-file token --ca-file ca.crt
  kubectl understudy violations -n team-a storyteller --severity 4 --since 1h …

Who may read records, and where ca.crt comes from: docs/records.md. Players and sessions are numbers, not names.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("deployment", nargs="?", type=flags.name, help="of this one alone; wants -n")
    where = "of deployments in there; default: all, for those who may read them"
    parser.add_argument(
        "-n", "--namespace", type=flags.namespace, metavar="NAME", default=argparse.SUPPRESS, help=where
    )
    parser.add_argument("--since", type=flags.duration, default=_DAY, metavar="TIME", help="so far back (default: 24h)")
    parser.add_argument("--category", default="", metavar="NAME", help="of this one alone")
    parser.add_argument("--severity", type=int, choices=range(7), default=0, metavar="N", help="this much or more, 0-6")
    parser.add_argument("--limit", type=_limit, default=50, metavar="N", help="the newest so many (default: 50)")
    parser.add_argument(
        "--records", metavar="URL", default=os.environ.get(_RECORDS, ""), help=f"of the records (default: ${_RECORDS})"
    )
    token = "holds a token with audience understudy, of somebody who may read them"  # noqa: S105  # a sentence
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=token)
    parser.add_argument("--ca-file", default="", metavar="FILE", help="certificates that sign the records'")
    name = f"that their certificate is for, where that is not the host of the URL (default: ${_NAME})"
    parser.add_argument("--server-name", metavar="NAME", default=os.environ.get(_NAME, ""), help=name)
    flags.add_output(parser)


def text(args: argparse.Namespace) -> str:
    """What is printed; PluginError where nothing can be."""
    if args.deployment and not args.namespace:
        raise PluginError(f"{args.deployment} may be in any namespace: add -n NAMESPACE")
    now = time.time()
    found = _ask(args, now)
    if args.output:
        return rendered(found, args.output)
    return "\n".join(shown(found["items"], more=bool(found["next"]), since=args.since, screen=Screen(), now=now)) + "\n"


def shown(items: Sequence[dict[str, Any]], *, more: bool, since: float, screen: Screen, now: float) -> list[str]:
    """Findings as lines, the newest first; `more` says that there are older ones."""
    if not items:
        return [f"no violations in the last {words(since)}"]
    rows: list[list[str | Cell]] = [
        ["AGE", "DEPLOYMENT", "REVISION", "GUARDRAIL", "CATEGORY", "SEVERITY", "ON", "ACTION", "PLAYER"]
    ]
    for one in items:
        at = datetime.fromisoformat(one["time"]).timestamp()
        severity = Cell(str(one["severity"]), "bad" if one["severity"] >= 6 else "warn" if one["severity"] >= 4 else "")
        what = one["category"] + (f" ({one['entity']})" if one["entity"] else "")
        who = (one["player"] or one["session"] or "")[:8]
        place = [age(now - at), one["deployment"], one["revision"] or "", one["guardrail"]]
        rows.append([*place, what, severity, one["direction"], one["action"], who])
    lines = screen.columns(rows)
    return [*lines, f"the newest {len(items)}; --limit shows more"] if more else lines


def _ask(args: argparse.Namespace, now: float) -> dict[str, Any]:
    if urlsplit(args.records).scheme not in ("http", "https"):
        raise PluginError(f"no records are named: give --records https://…, or set {_RECORDS}")
    given = {"namespace": args.namespace, "deployment": args.deployment, "category": args.category}
    question = {name: value for name, value in given.items() if value}
    since = datetime.fromtimestamp(now - args.since, UTC).isoformat()
    query = urlencode({**question, "severity": args.severity, "limit": args.limit, "since": since})
    server = kubeapi.ApiServer(args.records.rstrip("/"), str(args.token_file or ""), args.ca_file, args.server_name)
    try:
        return asyncio.run(kubeapi.request(server, "GET", f"/v1/violations?{query}"))
    except kubeapi.ApiError as error:
        raise PluginError(f"the records say: {said(error)}") from error
    except OSError as error:
        raise PluginError(f"cannot ask the records at {args.records}: {said(error)}") from error


def _limit(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to {_MOST}")
    return int(text)

"""`understudy records export`: records of a running process as a file."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from understudy.cli.said import said
from understudy.gateway.kubeapi import ApiError, ApiServer
from understudy.records.shown import KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy records export`."""
    parser.add_argument("kind", choices=[kind.name for kind in KINDS], help="which records")
    parser.add_argument("--url", required=True, metavar="URL", help="of understudy records, such as https://host:9902")
    shown = "bearer token with audience understudy, of somebody who may read them"
    parser.add_argument("--token", default="", metavar="FILE", help=shown)
    parser.add_argument("--ca", default="", metavar="FILE", help="certificates that sign its own")
    name = "that its certificate is for, where that is not the host in --url"
    parser.add_argument("--server-name", default="", metavar="NAME", help=name)
    asked = "as GET /v1/<kind> takes it, such as namespace=team-a or since=2026-11-01T00:00:00Z; repeatable"
    parser.add_argument("--filter", action="append", type=_pair, default=[], metavar="NAME=VALUE", help=asked)
    to = "Parquet if it ends in .parquet, else JSON lines; default: JSON lines on standard output"
    parser.add_argument("--to", type=Path, metavar="FILE", help=to)


def run(args: argparse.Namespace) -> int:
    """Write them; exit status 0, or 1 for what cannot be read or written."""
    # Half of it is a library for Parquet, which whoever serves does not need.
    from understudy.records.export import Rows, read, write, write_lines

    (kind,) = (kind for kind in KINDS if kind.name == args.kind)
    last = ""

    def pages() -> Iterator[Rows]:
        nonlocal last
        server = ApiServer(args.url.rstrip("/"), args.token, args.ca, args.server_name)
        for rows in read(server, kind, dict(args.filter)):
            last = rows[-1]["cursor"]
            yield rows

    try:
        count = write_lines(pages(), sys.stdout.buffer) if args.to is None else write(kind, pages(), args.to)
    except (OSError, ApiError) as error:
        print(f"understudy records: {said(error)}", file=sys.stderr)
        return 1
    where = "" if args.to is None else f" in {args.to}"
    on = f"; --filter after={last} goes on behind them" if last else ""
    print(f"{count} records{where}{on}", file=sys.stderr)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r}: want NAME=VALUE, such as namespace=team-a")
    return name, value

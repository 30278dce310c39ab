"""`kubectl understudy engagement`: where a player stands, as a gateway tells those who have a key of the tenant.

It asks the gateway as an application does: who may know of players is said by access keys, not by the cluster.
"""

import argparse
import json
import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from understudy.cli.plugin import flags
from understudy.cli.plugin.documents import rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.screen import Screen, age

_KEY: Final = "UNDERSTUDY_KEY"
_GATEWAY: Final = "UNDERSTUDY_GATEWAY"
_TIMEOUT: Final = 15.0
EPILOG = f"""\
  export {_GATEWAY}=https://gateway.example.com {_KEY}=us-…
  kubectl understudy engagement anna             level, signs, and what they come from
  kubectl understudy engagement anna -o json     all figures

The key must have assertsPlayers, and shows players of its own tenant. A level is a measure of protection, and no
diagnosis: docs/engagement.md.
"""
_LEVELS: Final = ("healthy", "watch", "at risk", "high")
# The figures that each sign is read off, and how many decimals say something.
_FIGURES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "E1": ("minutes today", ("daily_minutes",)),
    "E2": ("days of escalation, of 7", ("escalated_days",)),
    "E3": ("share at night, and nights a week", ("late_night_share", "late_nights")),
    "E4": ("stretches without a break, 28 days", ("binges",)),
    "E5": ("share of stops not kept, and at least", ("failed_stop", "failed_stop_at_least")),
    "E6": ("share of reminders dismissed, and at least", ("reminder_override", "reminder_override_at_least")),
    "E7": ("limits eased, 28 days", ("limit_easing",)),
    "E8": ("share of rapid returns, and sessions today", ("rapid_return", "sessions")),
    "E9": ("cues, 7 days", ("cues",)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("player", help="as the tenant calls them: x-player-id")
    parser.add_argument(
        "--gateway",
        metavar="URL",
        default=os.environ.get(_GATEWAY, ""),
        help=f"where gateways are reached (default: ${_GATEWAY})",
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help=f"holds an access key of the tenant (default: ${_KEY})"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="certificates that sign the gateway's")
    flags.add_output(parser)


def text(args: argparse.Namespace) -> str:
    """What is printed; PluginError where nothing can be."""
    found = _ask(args)
    if args.output:
        return rendered(found, args.output)
    return "\n".join(shown(found, Screen(), time.time())) + "\n"


def shown(found: Mapping[str, Any], screen: Screen, now: float) -> list[str]:
    """A player's standing as lines."""
    level = int(found["level"])
    crisis = ", in a crisis" if found["crisis"] else ""
    lines = [
        f"{found['player']}: L{level} {_LEVELS[level]}{crisis} (volume {found['time']}, control {found['control']})"
    ]
    if found["present"] < level:
        lines.append(f"L{found['present']} by now; held until seven whole days were below L{level}")
    figures = found["figures"]
    rows = [["SIGN", "FIGURE", "IS", ""]]
    for sign, (what, names) in _FIGURES.items():
        values = [_value(figures.get(name)) for name in names]
        rows.append([sign, what, ", ".join(values), "a sign" if sign in found["signs"] else ""])
    lines += screen.columns(rows)
    for done in found["interventions"]:
        lines.append(f"{done['rule']} {_why(done)}, {age(now - done['at'])} ago")
    return lines


def _why(done: dict[str, Any]) -> str:
    for field, of in (("ladder", "rung"), ("rules", "ruleNumber")):
        if of in done:
            return f"by {field}[{done[of]}] of {done['guardrail']}"
    return f"at L{done['level']}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")


def _ask(args: argparse.Namespace) -> dict[str, Any]:
    if urlsplit(args.gateway).scheme not in ("http", "https"):
        raise PluginError(f"no gateway is named: give --gateway https://…, or set {_GATEWAY}")
    try:
        key = args.key_file.read_text().strip() if args.key_file else os.environ.get(_KEY, "")
        tls = ssl.create_default_context(cafile=args.ca_file) if args.gateway.startswith("https:") else None
    except OSError as error:
        raise PluginError(f"{error.filename or args.ca_file} cannot be read: {error.strerror or error}") from error
    if not key:
        raise PluginError(f"no access key is given: give --key-file, or set {_KEY}")
    url = f"{args.gateway.rstrip('/')}/v1/engagement/{quote(args.player, safe='~:@+=')}"
    question = Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310  # the scheme is looked at above
    try:
        with urlopen(question, timeout=_TIMEOUT, context=tls) as answer:  # noqa: S310  # as above
            return dict(json.load(answer))
    except HTTPError as error:
        raise PluginError(f"the gateway says: {_message(error)}") from error
    except (OSError, ValueError) as error:
        raise PluginError(f"cannot ask the gateway at {args.gateway}: {getattr(error, 'reason', error)}") from error


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"

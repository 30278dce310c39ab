"""`understudy keys`: makes access keys. The key is shown once; the manifest holds only its SHA-256.

`-o json` is the manifest alone, as with kubectl: it ends up in Git, and kubectl quotes what it cannot decode in its
error message. A document that holds the key has a format of its own, whose name says so.
"""

import argparse
import hashlib
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from understudy.domain.keys import HIGHEST, LOWEST, USUAL
from understudy.domain.names import LABEL_ACCESS_KEY, LABEL_MANAGED_BY, MANAGED_BY
from understudy.gateway.policy.budget import (
    AMOUNT_FIELD,
    CURRENCY_FIELD,
    LOSS_FIELD,
    LOSSES,
    MONEY_FIELD,
    PERIOD_FIELD,
    PERIODS,
    ZONE_FIELD,
    Budget,
    budget_fields,
    parse_amount,
    parse_budgets,
)
from understudy.gateway.policy.limits import RateLimits, limit_fields, parse_limit
from understudy.gateway.policy.players import (
    ASSERTS_FIELD,
    CRISIS_FIELD,
    FICTION_FIELD,
    SECRET_FIELD,
    TENANT_FIELD,
    USUAL_ALLOWANCE,
    Players,
    parse_players,
    player_fields,
)

_PREFIX = "us-"
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SCOPE = re.compile(r"\*|[A-Za-z0-9][-A-Za-z0-9._/:]*(,[A-Za-z0-9][-A-Za-z0-9._/:]*)*")
_EPILOG = """\
The manifest goes to standard output, the key to standard error, once. The manifest holds the key's hash alone and may
be kept in Git:

  understudy keys create team-a --namespaces team-a --names storyteller | kubectl apply -f -
  curl -H 'Authorization: Bearer us-…' https://gateway/v1/models

A program takes both from one document, {"key": "us-…", "secret": {…}}, and keeps it in memory:

  made=$(understudy keys create team-a -o json-with-key)
  jq .secret <<< "$made" | kubectl apply -f -
  export OPENAI_API_KEY=$(jq -r .key <<< "$made")

Gateways take a new key, and drop a deleted one, within a second:

  kubectl get secrets -n understudy-system -l understudy.dev/access-key=true      which keys there are
  kubectl delete secret -n understudy-system team-a                               revoke one
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy keys`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    create = commands.add_parser(
        "create",
        help="make a key and the Secret that lets gateways know it",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    create.add_argument("name", nargs="?", default="", help="name of the Secret; default: made up")
    create.add_argument(
        "--namespace", default="understudy-system", help="where the gateways run (default: %(default)s)"
    )
    create.add_argument("--namespaces", default="*", help="comma list: whose models the key reaches (default: all)")
    create.add_argument("--names", default="*", help="comma list of served names that it reaches (default: all)")
    create.add_argument(
        "--choose-variant",
        action="store_true",
        help="the key may ask for the candidate of a rollout: x-understudy-variant: candidate",
    )
    create.add_argument(
        "--priority",
        type=int,
        choices=range(LOWEST, HIGHEST + 1),
        default=USUAL,
        metavar="0..9",
        help="of requests that wait for a pod, those of a higher priority go first (default: %(default)s)",
    )
    for unit in ("requests", "tokens"):
        create.add_argument(
            f"--{unit}-per-minute",
            type=_limit,
            default=0,
            metavar="NUMBER",
            help=f"{unit} that the key may use in a minute, of all gateways together (default: any number)",
        )
    create.add_argument(
        "--budget",
        type=_amount,
        default=0,
        metavar="TOKENS",
        help="the key may use so many tokens in each period, of all gateways together (default: any number)",
    )
    create.add_argument(
        "--budget-money",
        metavar="AMOUNT",
        help="the key may spend so much of --budget-currency, as 25.00, beside or instead (default: any amount)",
    )
    create.add_argument("--budget-currency", metavar="CODE", help="as the prices of its models: USD, EUR, …")
    create.add_argument("--budget-period", choices=PERIODS, help="of budgets (default: month)")
    create.add_argument(
        "--budget-time-zone", metavar="ZONE", help="where its midnights are, as Europe/Berlin (default: UTC)"
    )
    create.add_argument(
        "--on-ledger-loss",
        choices=LOSSES,
        help="while it is not known what is left of the budget: refuse requests (default), or allow them",
    )
    create.add_argument(
        "--tenant", metavar="NAME", help="whose players its requests speak of (default: a tenant of its own)"
    )
    create.add_argument(
        "--asserts-players",
        action="store_true",
        help="its word counts: x-player-id names a player, and it may tell of moods, goals and limits; for servers",
    )
    create.add_argument(
        "--player-secret-file",
        type=Path,
        metavar="FILE",
        help="x-player-token names a player if signed by what FILE holds (32 characters at least); for clients. The "
        "manifest then holds that, and must not be kept in Git",
    )
    create.add_argument(
        "--crisis-requests",
        metavar="NUMBER",
        help=f"so many requests a day that only a crisis lets through are served (default: {USUAL_ALLOWANCE})",
    )
    create.add_argument(
        "--asserts-fiction",
        action="store_true",
        help="it may say that a session is fiction: x-understudy-fiction, which lets more through; for servers",
    )
    create.add_argument(
        *("-o", "--output"),
        choices=("yaml", "json", "json-with-key"),
        default="yaml",
        help="yaml (default), json: the manifest, for kubectl; json-with-key: key and manifest, for programs",
    )


def run(args: argparse.Namespace) -> int:
    """Print a new key and its manifest; exit status 0, 2 for a flag that makes no sense.

    Standard error carries the key only where standard output does not.
    """
    name = args.name or f"access-key-{secrets.token_hex(4)}"
    if not _DNS_NAME.fullmatch(name):
        return _refuse(f"{name!r} cannot name a Secret: lower-case letters, digits and dashes, at most 63")
    for flag in ("namespaces", "names"):
        if not _SCOPE.fullmatch(getattr(args, flag)):
            return _refuse(f"--{flag}: want a comma list without spaces, or '*' (quoted, for the shell)")
    try:
        budgets = _budgets(f"{args.namespace}/{name}", args)
        players = _players(f"{args.namespace}/{name}", args)
    except (OSError, ValueError) as error:
        return _refuse(str(error))
    key = _PREFIX + secrets.token_urlsafe(32)
    manifest = key_manifest(
        key,
        name,
        args.namespace,
        args.namespaces,
        args.names,
        choose_variant=args.choose_variant,
        priority=args.priority,
        limits=RateLimits(args.requests_per_minute, args.tokens_per_minute),
        budgets=budgets,
        players=players,
    )
    if args.output == "json-with-key":
        print(json.dumps({"key": key, "secret": manifest}, indent=2))
        return 0
    if args.output == "json":
        print(json.dumps(manifest, indent=2))
    else:
        print(yaml.safe_dump(manifest, sort_keys=False), end="")
    sys.stdout.flush()
    print(f"access key (shown only now): {key}", file=sys.stderr)
    return 0


def key_manifest(
    key: str,
    name: str,
    namespace: str,
    namespaces: str,
    names: str,
    *,
    choose_variant: bool = False,
    priority: int = USUAL,
    limits: RateLimits | None = None,
    budgets: tuple[Budget, ...] = (),
    players: Players | None = None,
) -> dict[str, Any]:
    """The Secret for `key`; `namespaces` and `names` are comma lists or `*`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {LABEL_ACCESS_KEY: "true", LABEL_MANAGED_BY: MANAGED_BY},
        },
        "type": "Opaque",
        "stringData": {
            "hash": hashlib.sha256(key.encode()).hexdigest(),
            "namespaces": namespaces,
            "names": names,
            **({"choosesVariant": "true"} if choose_variant else {}),
            **({"priority": str(priority)} if priority != USUAL else {}),
            **{field: str(limit) for field, limit in limit_fields(limits).items()},
            **budget_fields(budgets),
            **({} if players is None else player_fields(f"{namespace}/{name}", players)),
        },
    }


def _limit(text: str) -> int:
    try:
        return parse_limit(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _amount(text: str) -> int:
    try:
        return parse_amount(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _budgets(account: str, args: argparse.Namespace) -> tuple[Budget, ...]:
    said = {
        MONEY_FIELD: args.budget_money,
        CURRENCY_FIELD: args.budget_currency,
        PERIOD_FIELD: args.budget_period,
        ZONE_FIELD: args.budget_time_zone,
        LOSS_FIELD: args.on_ledger_loss,
    }
    fields = {field: value for field, value in said.items() if value is not None}
    if args.budget:
        fields[AMOUNT_FIELD] = str(args.budget)
    return parse_budgets(account, fields)


def _players(secret: str, args: argparse.Namespace) -> Players:
    said = {
        TENANT_FIELD: args.tenant,
        ASSERTS_FIELD: "true" if args.asserts_players else None,
        SECRET_FIELD: None if args.player_secret_file is None else args.player_secret_file.read_text().strip(),
        CRISIS_FIELD: args.crisis_requests,
        FICTION_FIELD: "true" if args.asserts_fiction else None,
    }
    return parse_players(secret, {field: value for field, value in said.items() if value is not None})


def _refuse(sentence: str) -> int:
    print(f"understudy keys: {sentence}", file=sys.stderr)
    return 2

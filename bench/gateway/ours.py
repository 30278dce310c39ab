"""Our gateway as it is measured: with everything on that it has, or with next to nothing, which tells what that costs.

What is on says so itself: its own metrics are read at the end, and a feature that was never at work is an error.
"""

import base64
import hashlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from bench.gateway.place import CANDIDATE, KEY, MODEL, STABLE, Place
from bench.guardrails import WORDS, documentation, made_up_words, policy
from understudy.domain.names import guard_shard
from understudy.guard.policy import compile_policy
from understudy.guard.shards import pack

# Limits and a budget that are counted and never reached.
ENDLESS = {
    "requestsPerMinute": "1000000000",
    "tokensPerMinute": "1000000000",
    "budgetTokens": "1000000000000000",
    "budgetPeriod": "month",
}
_CLI = (sys.executable, "-m", "understudy.cli.main")
# What is on, and the metric that grows or stands above 0 while it is at work.
FEATURES = {
    "answers counted against the limits of their key": 'understudy_settled_total{kind="counted"}',
    "leases granted by the ledger": 'understudy_ledger_questions_total{kind="granted"}',
    "conversations placed by their opening": 'understudy_conversations_total{kind="content"}',
    "tries at the candidate": f'understudy_attempts_total{{deployment="default/{MODEL}",revision="{CANDIDATE}"}}',
    "endpoints with a breaker": (
        f'understudy_endpoint_breakers{{deployment="default/{MODEL}",revision="{STABLE}",state="closed"}}'
    ),
    "lines written to the request log": 'understudy_request_log_lines_total{kind="written"}',
}
# The same of a gateway under a guard: what it has looked at is counted when an answer has ended.
GUARDED_FEATURES = {
    **FEATURES,
    "texts looked at by a guard": f'understudy_guard_held_characters_count{{deployment="default/{MODEL}"}}',
}
# What mock engines say beside the time: in the list of words there is none of it.
SPOKEN = "Once upon a time there was a fox who asked the way of everybody it met."


def snapshot(place: Place, *, everything: bool, guarded: bool = False) -> bytes:
    """The world that our gateway serves: one model behind one access key; with `everything`, both have all they can;
    `guarded`: the model is under a Guardrail.
    """
    revisions = {STABLE: 90, CANDIDATE: 10} if everything else {STABLE: 100}
    ports = {STABLE: place.engines[:-1], CANDIDATE: place.engines[-1:]} if everything else {STABLE: place.engines}
    tracks = {STABLE: "stable", CANDIDATE: "canary"}
    variants = [
        {"revision": revision, "track": tracks[revision], "weight": weight, "service": f"{MODEL}-{revision}"}
        for revision, weight in revisions.items()
    ]
    spec: dict[str, Any] = {
        "epoch": 1,
        "servedNames": [MODEL],
        "salt": CANDIDATE if everything else "",
        "variants": variants,
    }
    said, shards = guard() if guarded else ([], [])
    spec["guards"] = said
    key: dict[str, Any] = {
        "secret": "understudy-system/bench",
        "hash": hashlib.sha256(KEY.encode()).hexdigest(),
        "namespaces": ["*"],
        "names": ["*"],
        **(ENDLESS if everything else {}),
    }
    return orjson.dumps(
        {
            "version": 1,
            "master": "6d" * 32,
            "keys": [key],
            "tables": [{"namespace": "default", "name": MODEL, "uid": "u", "generation": 1, "spec": spec}],
            "endpoints": [
                {
                    "namespace": "default",
                    "service": f"{MODEL}-{revision}",
                    "addresses": [{"host": "127.0.0.1", "port": port} for port in given],
                }
                for revision, given in ports.items()
            ],
            "shards": shards,
        }
    )


def guard() -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """What a table says of a Guardrail that blocks answers with any of 1,600 words, and the parts that hold it."""
    spec, words = policy(made_up_words(f"{documentation()} {SPOKEN}", WORDS), [], ["output"])
    sources = {"words": words}
    found, parts = compile_policy("words", spec, sources).hash, pack("words", spec, sources)
    names = [guard_shard("words", found, number) for number in range(len(parts))]
    shards = [
        {"namespace": "default", "name": name, "data": base64.b64encode(part).decode()}
        for name, part in zip(names, parts, strict=True)
    ]
    return [{"name": "words", "policy": found, "shards": names}], shards


def flags(place: Place) -> list[str]:
    """Where a gateway serves, and that nobody is to be waited for when it ends."""
    return [
        "gateway", "--host", "127.0.0.1", "--port", str(place.port), "--admin-host", "127.0.0.1",
        "--admin-port", str(place.admin), "--admin-auth", "none", "--log-level", "warning", "--grace", "0s",
        "--shutdown-timeout", "1s",
    ]  # fmt: skip


def kept(place: Place) -> list[str]:
    """The flags of everything that is kept beside: budgets and the request log."""
    log = place.folder / "requests"
    log.mkdir(exist_ok=True)
    return ["--ledger", f"http://127.0.0.1:{place.beside}", "--requests-dir", str(log)]


def bare(place: Place) -> list[str]:
    """The command of a gateway with a key and one revision."""
    return [*_CLI, *flags(place), "--snapshot", place.file("snapshot.json", snapshot(place, everything=False))]


def everything(place: Place) -> list[str]:
    """The command of a gateway with everything on."""
    world = place.file("snapshot.json", snapshot(place, everything=True))
    return [*_CLI, *flags(place), *kept(place), "--snapshot", world]


def guarded(place: Place) -> list[str]:
    """The command of a gateway with everything on, a guard too."""
    world = place.file("snapshot.json", snapshot(place, everything=True, guarded=True))
    return [*_CLI, *flags(place), *kept(place), "--snapshot", world]


def ledger(place: Place) -> list[str]:
    """The command of the ledger that keeps its budgets."""
    return [
        *_CLI, "records", "--only", "ledger", "--auth", "none", "--host", "127.0.0.1", "--port", str(place.beside),
        "--database", f"sqlite:///{place.folder}/records.db", "--log-level", "warning",
    ]  # fmt: skip


def features(metrics: str, names: Mapping[str, str]) -> dict[str, float]:
    """What each feature has done, by a gateway's metrics and the name of its own; one that was not on has 0."""
    return {feature: metric(metrics, name) for feature, name in names.items()}


def metric(metrics: str, name: str) -> float:
    """One value of them; 0 where there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found is not None else 0.0

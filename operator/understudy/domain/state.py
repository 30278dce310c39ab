"""What a gateway answers on `/state`: the only evidence that a rollout is judged on.

The gateway fills these values and dumps them, the operator parses them; one shape, one module.
All counters are monotone for one `start_id`; a restarted gateway begins a new one at zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ERROR_KINDS: Final = ("connect", "5xx", "firstToken", "truncated", "malformed")
# What one half of a pair can be bad at: of the metrics of an analysis (api/v1alpha1/rollout.py) those that one answer
# can tell of.
PAIR_METRICS: Final = ("errors", "rejected", "timeToFirstToken", "interTokenLatency", "emptyOutput")
SIMILARITY_CLASSES: Final = 10
# What a gateway says of a policy that it enforces.
LOADED: Final = "loaded"
# Upper bounds in seconds; the last bucket is +Inf. Counts are per bucket, not cumulative.
TTFT_BOUNDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
ITL_BOUNDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of those attempts of which every conversation has one in ten seconds at most.

    Whoever tries again and again, or sends the same mistake all day, counts like everybody else. Taken while the
    table has a salt, that is, in a rollout. `errors` is of all kinds together, `slowest` counts streams by their
    longest gap (buckets as `itl`), the rest is as in RevisionState.
    """

    attempts: int = 0
    errors: int = 0
    rejected_4xx: int = 0
    empty: int = 0
    ttft: tuple[int, ...] = ()
    slowest: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairs:
    """What became of requests of which stable's answer went to the client and this revision's, the shadow's, to nobody.

    `count` is of pairs of which both halves ended and were compared, at most one per conversation in ten seconds.
    `worse` counts by PAIR_METRICS those in which only the shadow was bad, `better` those in which only stable was,
    `both` those in which both were: what is tolerated is a multiple of stable's rate, and a prompt that is hard for
    both belongs to it.
    `other_finish` and `other_tools` count pairs of two answers that ended for different reasons, or called different
    tools.
    `dropped` are copies that were not sent, or not compared, because the gateway had too much to do.
    `similarity` counts the pairs with two texts by how alike these are, in SIMILARITY_CLASSES equal classes from
    0 to 1. A copy is no attempt: the other counters of a revision are of clients' requests alone.
    """

    count: int = 0
    worse: Mapping[str, int] = field(default_factory=dict)
    better: Mapping[str, int] = field(default_factory=dict)
    both: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    other_finish: int = 0
    other_tools: int = 0
    similarity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the Guardrails of a deployment said of one revision's answers.

    `turns` are answers that were judged, `acted` those of which a rule redacted, replaced or blocked something. `found`
    counts turns by what was found in them, `<guardrail>/<category>/<severity>`, each key once a turn. A detector that
    failed has found nothing, and is counted nowhere here.
    """

    turns: int = 0
    found: Mapping[str, int] = field(default_factory=dict)
    acted: int = 0


@dataclass(frozen=True, slots=True)
class RevisionState:
    """Counters of one revision on one gateway.

    `attempts` counts every try charged to the revision, also when a retry elsewhere hid its failure;
    `errors` is keyed by ERROR_KINDS. Client aborts and the gateway's own refusals never count.
    `open_requests` and `usable_endpoints` are gauges.
    """

    attempts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    rejected_4xx: int = 0
    empty: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    ttft: tuple[int, ...] = ()
    itl: tuple[int, ...] = ()
    open_requests: int = 0
    usable_endpoints: int = 0
    sample: Sample = Sample()
    pairs: Pairs = Pairs()
    guard: Guarded = Guarded()

    @property
    def failed(self) -> int:
        """All errors of every kind."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One deployment on one gateway: which table it serves by, and its evidence.

    `table_uid` and `table_generation` name the RoutingTable that is live there; empty and 0 before the first.
    `rejected` is the reason for which a newer table was refused, or empty.
    `waiting` is a gauge: requests that wait for an endpoint; above 0 without one, pods are asked for.
    """

    table_uid: str = ""
    table_generation: int = 0
    epoch: int = 0
    rejected: str = ""
    rejected_generation: int = 0
    revisions: Mapping[str, RevisionState] = field(default_factory=dict)
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class DetectorState:
    """How what finds things does on one gateway: `why` it cannot be relied on, empty if it can.

    `since` is when it began to be so, in seconds since 1970.
    """

    why: str = ""
    since: float = 0.0


def policy_key(namespace: str, guardrail: str, policy: str) -> str:
    """How gateways know a policy: two Guardrails that say the same may ask different pods."""
    return f"{namespace}/{guardrail}/{policy}"


@dataclass(frozen=True, slots=True)
class GatewayState:
    """A whole `/state` answer. `start_id` is random per process; `uptime` is seconds since it began.

    `guards` says of each policy that tables name, by its hash, LOADED or why it is not. `detectors` tells of theirs
    that are served how they do, once they have been tried, by `policy_key` and name. What gateways look for themselves
    has no name (`<policy_key>/`), and is told of only where something is wrong with that.
    """

    start_id: str
    uptime: float
    deployments: Mapping[str, DeploymentState] = field(default_factory=dict)
    guards: Mapping[str, str] = field(default_factory=dict)
    detectors: Mapping[str, DetectorState] = field(default_factory=dict)


def dump_state(state: GatewayState) -> dict[str, Any]:
    """The JSON object that the gateway sends."""
    return {
        "startId": state.start_id,
        "uptimeSeconds": state.uptime,
        "deployments": {key: _dump_deployment(value) for key, value in state.deployments.items()},
        "guards": dict(state.guards),
        "detectors": {name: {"why": each.why, "since": each.since} for name, each in state.detectors.items()},
    }


def parse_state(raw: Mapping[str, Any]) -> GatewayState:
    """Read a `/state` answer; a KeyError, TypeError or ValueError means that it is not one."""
    return GatewayState(
        start_id=str(raw["startId"]),
        uptime=float(raw["uptimeSeconds"]),
        deployments={str(key): _parse_deployment(value) for key, value in raw["deployments"].items()},
        # Gateways of an older version enforce none.
        guards={str(policy): str(said) for policy, said in raw.get("guards", {}).items()},
        detectors={
            str(name): DetectorState(str(each["why"]), float(each["since"]))
            for name, each in raw.get("detectors", {}).items()
        },
    )


def _dump_deployment(value: DeploymentState) -> dict[str, Any]:
    return {
        "tableUid": value.table_uid,
        "tableGeneration": value.table_generation,
        "epoch": value.epoch,
        "tableRejected": {"reason": value.rejected, "generation": value.rejected_generation}
        if value.rejected
        else None,
        "waiting": value.waiting,
        "revisions": {
            revision: {
                "attempts": r.attempts,
                "errors": {kind: r.errors.get(kind, 0) for kind in ERROR_KINDS},
                "rejected4xx": r.rejected_4xx,
                "empty": r.empty,
                "tokensIn": r.tokens_in,
                "tokensOut": r.tokens_out,
                "ttft": list(r.ttft),
                "itl": list(r.itl),
                "openRequests": r.open_requests,
                "usableEndpoints": r.usable_endpoints,
                "sample": _dump_sample(r.sample),
                "pairs": _dump_pairs(r.pairs),
                # Most deployments have no Guardrail.
                **({"guard": _dump_guarded(r.guard)} if r.guard.turns else {}),
            }
            for revision, r in value.revisions.items()
        },
    }


def _parse_deployment(raw: Mapping[str, Any]) -> DeploymentState:
    rejected = raw.get("tableRejected") or {}
    return DeploymentState(
        table_uid=str(raw["tableUid"]),
        table_generation=int(raw["tableGeneration"]),
        epoch=int(raw["epoch"]),
        rejected=str(rejected.get("reason", "")),
        rejected_generation=int(rejected.get("generation", 0)),
        revisions={str(revision): _parse_revision(value) for revision, value in raw["revisions"].items()},
        # Gateways of an older version do not tell.
        waiting=int(raw.get("waiting", 0)),
    )


def _parse_revision(raw: Mapping[str, Any]) -> RevisionState:
    return RevisionState(
        attempts=int(raw["attempts"]),
        errors=_parse_errors(raw["errors"]),
        rejected_4xx=int(raw["rejected4xx"]),
        empty=int(raw["empty"]),
        tokens_in=int(raw["tokensIn"]),
        tokens_out=int(raw["tokensOut"]),
        ttft=tuple(int(n) for n in raw["ttft"]),
        itl=tuple(int(n) for n in raw["itl"]),
        open_requests=int(raw["openRequests"]),
        usable_endpoints=int(raw["usableEndpoints"]),
        # Gateways of an older version take no samples, or make no pairs.
        sample=_parse_sample(raw["sample"]) if "sample" in raw else Sample(),
        pairs=_parse_pairs(raw["pairs"]) if "pairs" in raw else Pairs(),
        guard=_parse_guarded(raw["guard"]) if "guard" in raw else Guarded(),
    )


def _parse_errors(raw: Mapping[str, Any]) -> Mapping[str, int]:
    return _NO_ERRORS if raw == _NO_ERRORS else {str(kind): int(count) for kind, count in raw.items()}


def _dump_sample(value: Sample) -> dict[str, Any]:
    return {
        "attempts": value.attempts,
        "errors": value.errors,
        "rejected4xx": value.rejected_4xx,
        "empty": value.empty,
        "ttft": list(value.ttft),
        "slowest": list(value.slowest),
    }


def _parse_sample(raw: Mapping[str, Any]) -> Sample:
    return Sample(
        attempts=int(raw["attempts"]),
        errors=int(raw["errors"]),
        rejected_4xx=int(raw["rejected4xx"]),
        empty=int(raw["empty"]),
        ttft=tuple(int(n) for n in raw["ttft"]),
        slowest=tuple(int(n) for n in raw["slowest"]),
    )


def _dump_pairs(value: Pairs) -> dict[str, Any]:
    return {
        "count": value.count,
        "worse": {metric: value.worse.get(metric, 0) for metric in PAIR_METRICS},
        "better": {metric: value.better.get(metric, 0) for metric in PAIR_METRICS},
        "both": {metric: value.both.get(metric, 0) for metric in PAIR_METRICS},
        "dropped": value.dropped,
        "otherFinish": value.other_finish,
        "otherTools": value.other_tools,
        "similarity": list(value.similarity),
    }


def _parse_pairs(raw: Mapping[str, Any]) -> Pairs:
    if raw == _NO_PAIRS_DUMPED:
        return _NO_PAIRS
    return Pairs(
        count=int(raw["count"]),
        worse={str(metric): int(count) for metric, count in raw["worse"].items()},
        better={str(metric): int(count) for metric, count in raw["better"].items()},
        both={str(metric): int(count) for metric, count in raw["both"].items()},
        dropped=int(raw["dropped"]),
        other_finish=int(raw["otherFinish"]),
        other_tools=int(raw["otherTools"]),
        similarity=tuple(int(n) for n in raw["similarity"]),
    )


def _dump_guarded(value: Guarded) -> dict[str, Any]:
    return {"turns": value.turns, "found": dict(value.found), "acted": value.acted}


def _parse_guarded(raw: Mapping[str, Any]) -> Guarded:
    return Guarded(
        turns=int(raw["turns"]),
        found={str(what): int(count) for what, count in raw.get("found", {}).items()},
        acted=int(raw.get("acted", 0)),
    )


# What nearly all of thousands of deployments say most of the time: one value for all of them.
_NO_ERRORS: Final = dict.fromkeys(ERROR_KINDS, 0)
_NONE: Final = dict.fromkeys(PAIR_METRICS, 0)
_NO_PAIRS: Final = Pairs(worse=_NONE, better=_NONE, both=_NONE)
_NO_PAIRS_DUMPED: Final = _dump_pairs(_NO_PAIRS)

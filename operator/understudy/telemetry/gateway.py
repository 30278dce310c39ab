"""The gateway's Prometheus metrics, sampled from its evidence at each scrape: requests pay next to nothing for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, DeploymentState, GatewayState, Pairs, RevisionState
from understudy.telemetry.beside import HISTOGRAMS, REQUESTS, SUM, WAIT_BOUNDS, Beside, BesideRevision

_DEPLOYMENT: Final = ("deployment",)
_LABELS: Final = ("deployment", "revision")
_NOTHING: Final = Beside()
_NO_REVISION: Final = BesideRevision()
# What the kinds of a process' metric are, where that has a name of its own; of several, each a word of the kind.
_KINDS: Final = {
    "understudy_detector_healthy": ("detector", "hash"),
    "understudy_detector_seconds_total": ("detector",),
    "understudy_detector_windows_total": ("detector", "outcome"),
    "understudy_guard_failures_total": ("detector", "status", "policy"),
    "understudy_guard_leaked_total": ("guardrail", "category"),
    "understudy_guard_findings_total": ("guardrail", "category", "direction", "action"),
    "understudy_outbox_records_total": ("kind", "outcome"),
    "understudy_watch_age_seconds": ("resource",),
    REQUESTS: ("deployment", "status"),
}


class GatewayMetrics(Collector):
    """All metrics of one gateway. `state` is what `/state` says, `beside` what is shown of deployments beside that.

    `process` maps further names to help texts and values by kind ("" for a single one).
    """

    def __init__(
        self,
        state: Callable[[], GatewayState],
        beside: Callable[[], Mapping[str, Beside]],
        process: Callable[[], Mapping[str, tuple[str, Mapping[str, float]]]],
    ) -> None:
        self._state = state
        self._beside = beside
        self._process = process
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: names are known at the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The registry's."""
        deployments, beside = self._state().deployments, self._beside()
        yield from _by_deployment(deployments, beside)
        yield from _by_revision(deployments, beside)
        yield from _shadows(deployments)
        for name, (text, values) in self._process().items():
            if name in HISTOGRAMS:
                yield _histogram(name, text, values)
                continue
            labels = () if "" in values else _KINDS.get(name, ("kind",))
            family = (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, text, labels=labels)
            for kind, value in values.items():
                family.add_metric(kind.split(" ", len(labels) - 1) if labels else [], value)
            yield family


def _by_deployment(deployments: Mapping[str, DeploymentState], beside: Mapping[str, Beside]) -> Iterator[Metric]:
    generation = GaugeMetricFamily(
        "understudy_table_generation", "Generation of the table served by", labels=_DEPLOYMENT
    )
    epoch = GaugeMetricFamily("understudy_table_epoch", "Term of the leader that wrote this table", labels=_DEPLOYMENT)
    taken = GaugeMetricFamily(
        "understudy_table_timestamp_seconds", "When this table was taken; 0 before there is one", labels=_DEPLOYMENT
    )
    rejected = GaugeMetricFamily(
        "understudy_table_rejected", "1 while a newer table is refused and this one stays", labels=_DEPLOYMENT
    )
    waiting = GaugeMetricFamily("understudy_waiting_requests", "Requests that wait for an endpoint", labels=_DEPLOYMENT)
    for deployment, state in deployments.items():
        labels = [deployment]
        generation.add_metric(labels, state.table_generation)
        epoch.add_metric(labels, state.epoch)
        taken.add_metric(labels, beside.get(deployment, _NOTHING).table_taken)
        rejected.add_metric(labels, bool(state.rejected))
        waiting.add_metric(labels, state.waiting)
    yield from (generation, epoch, taken, rejected, waiting)


def _by_revision(deployments: Mapping[str, DeploymentState], beside: Mapping[str, Beside]) -> Iterator[Metric]:
    attempts = CounterMetricFamily("understudy_attempts", "Tries at an engine that had an outcome", labels=_LABELS)
    errors = CounterMetricFamily("understudy_errors", "Tries that failed", labels=(*_LABELS, "kind"))
    rejected = CounterMetricFamily("understudy_rejected", "Requests that an engine refused", labels=_LABELS)
    empty = CounterMetricFamily("understudy_empty", "Answers without a word", labels=_LABELS)
    tokens = CounterMetricFamily("understudy_tokens", "Tokens by type", labels=(*_LABELS, "type"))
    opened = GaugeMetricFamily("understudy_open_requests", "Requests under way", labels=_LABELS)
    usable = GaugeMetricFamily("understudy_usable_endpoints", "Endpoints that may take requests", labels=_LABELS)
    breakers = GaugeMetricFamily(
        "understudy_endpoint_breakers", "Endpoints by state of their breaker", labels=(*_LABELS, "state")
    )
    ejections = CounterMetricFamily(
        "understudy_ejections", "How often an endpoint went out because it failed", labels=_LABELS
    )
    ttft = HistogramMetricFamily(
        "understudy_time_to_first_token_seconds", "From sending to the first content of a stream", labels=_LABELS
    )
    itl = HistogramMetricFamily(
        "understudy_inter_token_latency_seconds", "Between two arrivals of content in a stream", labels=_LABELS
    )
    waited = HistogramMetricFamily(
        "understudy_request_queue_time_seconds",
        "Time that requests which had to wait for an endpoint did so",
        labels=_LABELS,
    )
    for labels, r, also in _revisions(deployments, beside):
        attempts.add_metric(labels, r.attempts)
        for kind, count in r.errors.items():
            errors.add_metric([*labels, kind], count)
        rejected.add_metric(labels, r.rejected_4xx)
        empty.add_metric(labels, r.empty)
        tokens.add_metric([*labels, "input"], r.tokens_in)
        tokens.add_metric([*labels, "output"], r.tokens_out)
        opened.add_metric(labels, r.open_requests)
        usable.add_metric(labels, r.usable_endpoints)
        for state, count in also.breakers.items():
            breakers.add_metric([*labels, state], count)
        ejections.add_metric(labels, also.ejections)
        ttft.add_metric(labels, _cumulative(TTFT_BOUNDS, r.ttft), also.ttft_sum)
        itl.add_metric(labels, _cumulative(ITL_BOUNDS, r.itl), also.itl_sum)
        waited.add_metric(labels, _cumulative(WAIT_BOUNDS, also.waits), also.waits_sum)
    yield from (attempts, errors, rejected, empty, tokens, opened, usable, breakers, ejections, ttft, itl, waited)


def _histogram(name: str, text: str, values: Mapping[str, float]) -> Metric:
    labels, bounds = HISTOGRAMS[name]
    family = HistogramMetricFamily(name, text, labels=labels)
    for kind, total in values.items():
        of, _, place = kind.rpartition(" ")
        if place == SUM:
            counts = [int(values.get(f"{of} {bucket}", 0)) for bucket in range(len(bounds) + 1)]
            family.add_metric(of.split(" "), _cumulative(bounds, counts), total)
    return family


def _shadows(deployments: Mapping[str, DeploymentState]) -> Iterator[Metric]:
    pairs = CounterMetricFamily("understudy_shadow_pairs", "Pairs of answers that were compared", labels=_LABELS)
    dropped = CounterMetricFamily("understudy_shadow_dropped", "Copies for which there was no room", labels=_LABELS)
    bad = CounterMetricFamily(
        "understudy_shadow_bad", "Pairs in which a half was bad, by which", labels=(*_LABELS, "metric", "half")
    )
    differing = CounterMetricFamily(
        "understudy_shadow_differing", "Pairs of answers that differ", labels=(*_LABELS, "kind")
    )
    for labels, r, _ in _revisions(deployments, {}):
        if r.pairs.count or r.pairs.dropped:
            pairs.add_metric(labels, r.pairs.count)
            dropped.add_metric(labels, r.pairs.dropped)
            differing.add_metric([*labels, "finish"], r.pairs.other_finish)
            differing.add_metric([*labels, "tools"], r.pairs.other_tools)
            for half, metric, count in _halves(r.pairs):
                bad.add_metric([*labels, metric, half], count)
    yield from (pairs, dropped, bad, differing)


def _revisions(
    deployments: Mapping[str, DeploymentState], beside: Mapping[str, Beside]
) -> Iterator[tuple[list[str], RevisionState, BesideRevision]]:
    for deployment, state in deployments.items():
        also = beside.get(deployment, _NOTHING).revisions
        for revision, counted in state.revisions.items():
            yield [deployment, revision], counted, also.get(revision, _NO_REVISION)


def _halves(pairs: Pairs) -> Iterator[tuple[str, str, int]]:
    for half, counts in (("shadow", pairs.worse), ("stable", pairs.better), ("both", pairs.both)):
        for metric, count in counts.items():
            yield half, metric, count


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    buckets = []
    total = 0
    for bound, count in zip((*(str(b) for b in bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets

"""The gateway's Prometheus metrics, sampled from its evidence at each scrape: requests pay nothing for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, GatewayState

_LABELS: Final = ("deployment", "revision")


class GatewayMetrics(Collector):
    """All metrics of one gateway. `state` is what `/state` says, `gauges` maps further names to (help, value)."""

    def __init__(
        self, state: Callable[[], GatewayState], process: Callable[[], Mapping[str, tuple[str, Mapping[str, float]]]]
    ) -> None:
        self._state = state
        self._process = process
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: names are known at the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The registry's."""
        yield from _by_revision(self._state())
        for name, (text, values) in self._process().items():
            label = [] if "" in values else ["kind"]
            family = (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, text, labels=label)
            for kind, value in values.items():
                family.add_metric([kind] if label else [], value)
            yield family


def _by_revision(state: GatewayState) -> Iterator[Metric]:
    attempts = CounterMetricFamily("understudy_attempts", "Tries at an engine that had an outcome", labels=_LABELS)
    errors = CounterMetricFamily("understudy_errors", "Tries that failed", labels=(*_LABELS, "kind"))
    rejected = CounterMetricFamily("understudy_rejected", "Requests that an engine refused", labels=_LABELS)
    empty = CounterMetricFamily("understudy_empty", "Answers without a word", labels=_LABELS)
    tokens = CounterMetricFamily("understudy_tokens", "Tokens by direction", labels=(*_LABELS, "direction"))
    opened = GaugeMetricFamily("understudy_open_requests", "Requests under way", labels=_LABELS)
    usable = GaugeMetricFamily("understudy_usable_endpoints", "Endpoints that may take requests", labels=_LABELS)
    waiting = GaugeMetricFamily("understudy_waiting_requests", "Requests that wait for an endpoint", labels=_LABELS[:1])
    weights = GaugeMetricFamily("understudy_table_generation", "Generation of the table served by", labels=_LABELS[:1])
    ttft = HistogramMetricFamily(
        "understudy_time_to_first_token_seconds", "From sending to the first content", labels=_LABELS
    )
    itl = HistogramMetricFamily("understudy_inter_token_seconds", "Between two arrivals of content", labels=_LABELS)
    pairs = CounterMetricFamily("understudy_shadow_pairs", "Pairs of answers that were compared", labels=_LABELS)
    dropped = CounterMetricFamily("understudy_shadow_dropped", "Copies for which there was no room", labels=_LABELS)
    bad = CounterMetricFamily(
        "understudy_shadow_bad", "Pairs in which a half was bad, by which", labels=(*_LABELS, "metric", "half")
    )
    differing = CounterMetricFamily(
        "understudy_shadow_differing", "Pairs of answers that differ", labels=(*_LABELS, "kind")
    )
    for deployment, table in state.deployments.items():
        weights.add_metric([deployment], table.table_generation)
        waiting.add_metric([deployment], table.waiting)
        for revision, r in table.revisions.items():
            labels = [deployment, revision]
            attempts.add_metric(labels, r.attempts)
            for kind, count in r.errors.items():
                errors.add_metric([*labels, kind], count)
            rejected.add_metric(labels, r.rejected_4xx)
            empty.add_metric(labels, r.empty)
            tokens.add_metric([*labels, "in"], r.tokens_in)
            tokens.add_metric([*labels, "out"], r.tokens_out)
            opened.add_metric(labels, r.open_requests)
            usable.add_metric(labels, r.usable_endpoints)
            ttft.add_metric(labels, _cumulative(TTFT_BOUNDS, r.ttft), None)
            itl.add_metric(labels, _cumulative(ITL_BOUNDS, r.itl), None)
            if not r.pairs.count and not r.pairs.dropped:
                continue
            pairs.add_metric(labels, r.pairs.count)
            dropped.add_metric(labels, r.pairs.dropped)
            differing.add_metric([*labels, "finish"], r.pairs.other_finish)
            differing.add_metric([*labels, "tools"], r.pairs.other_tools)
            for half, counts in (("shadow", r.pairs.worse), ("stable", r.pairs.better), ("both", r.pairs.both)):
                for metric, count in counts.items():
                    bad.add_metric([*labels, metric, half], count)
    yield from (attempts, errors, rejected, empty, tokens, opened, usable, weights, waiting, ttft, itl)
    yield from (pairs, dropped, bad, differing)


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    buckets = []
    total = 0
    for bound, count in zip((*(str(b) for b in bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets

"""The operator's Prometheus metrics. No label names an object but for those of ModelDeployments (deployments.py)."""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from understudy.telemetry.deployments import DeploymentMetrics

# When each series began, as a series of its own: twice as many, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for this one


class OperatorMetrics:
    """All metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        self.deployments = DeploymentMetrics()
        r.register(self.deployments)
        self.queue_depth = Gauge("understudy_workqueue_depth", "Keys waiting for a worker", registry=r)
        self.queue_adds = Counter("understudy_workqueue_adds", "Keys added to the work queue", registry=r)
        self.queue_retries = Counter("understudy_workqueue_retries", "Rate-limited re-adds", registry=r)
        self.queue_wait = Histogram(
            "understudy_workqueue_queue_duration_seconds",
            "Time from a key's adding to its worker",
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30),
            registry=r,
        )
        self.reconcile_seconds = Histogram(
            "understudy_reconcile_seconds",
            "Time from observing to the last write of one pass",
            ["kind", "result"],
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30),
            registry=r,
        )
        for kind in ("ModelDeployment", "Model", "Guardrail"):
            # The first crash must be an increase, not a new series.
            self.reconcile_seconds.labels(kind, "crash")
        self.reverts = Counter("understudy_reverts", "Rollouts that went back, by why", ["reason"], registry=r)
        self.invariant_violations = Counter(
            "understudy_invariant_violations",
            "Plans whose writes were left out because they broke an invariant",
            registry=r,
        )
        self.writes = Counter("understudy_writes", "Writes by what became of them", ["kind", "outcome"], registry=r)
        self.watch_age = Gauge(
            "understudy_watch_age_seconds", "Since the last event or bookmark", ["resource"], registry=r
        )
        self.cache_objects = Gauge("understudy_cache_objects", "Objects in the cache", ["resource"], registry=r)
        self.gate_waits = Counter(
            "understudy_cache_behind", "Passes put off because the cache was behind our last write", registry=r
        )
        self.gate_timeouts = Counter(
            "understudy_cache_behind_timeouts", "Own writes that the cache did not show in time", registry=r
        )
        self.loop_lag = Gauge("understudy_loop_lag_seconds", "How late the event loop runs", registry=r)
        self.leader = Gauge("understudy_leader", "1 while this process is the leader", registry=r)
        self.leader_epoch = Gauge("understudy_leader_epoch", "The Lease's transitions", registry=r)
        self.gateway_polls = Counter(
            "understudy_gateway_polls", "Questions to gateways by outcome", ["outcome"], registry=r
        )
        self.gateways = Gauge("understudy_gateways", "Gateway pods that have not ended", registry=r)
        self.gateways_fresh = Gauge(
            "understudy_gateways_fresh", "Gateway pods that answered within three seconds", registry=r
        )
        self.probes = Counter(
            "understudy_probes", "Requests to engine pods by outcome", ["check", "outcome"], registry=r
        )
        self.events = Counter("understudy_events", "Kubernetes events by outcome", ["outcome"], registry=r)

    def render(self, names: Sequence[str] = ()) -> bytes:
        """The text exposition format; if any series are named, of those alone."""
        return generate_latest(self.registry.restricted_registry(names) if names else self.registry)

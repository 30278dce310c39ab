"""The records' Prometheus metrics. No label names an account: their number must not grow with the keys."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# When each series began, as a series of its own: twice as many, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for this one


class RecordsMetrics:
    """All metrics of one records process, in a registry of their own."""

    def __init__(self) -> None:
        r = self._registry = CollectorRegistry()
        ProcessCollector(registry=r)
        self.answers = Counter("understudy_ledger_answers", "Questions on leases by outcome", ["outcome"], registry=r)
        self.failures = Counter("understudy_ledger_failures", "Writes that the database refused", ["why"], registry=r)
        self.writes = Histogram(
            "understudy_ledger_write_seconds",
            "From a question to its answer being on the disk",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=r,
        )
        self.stored = Counter("understudy_records_stored", "Records that were stored, by kind", ["kind"], registry=r)
        self.repeated = Counter("understudy_records_repeated", "Lines that came once more", registry=r)
        self.rejected = Counter("understudy_records_rejected", "Lines that could not be read", registry=r)
        self.erased = Counter("understudy_records_erased", "Records of somebody who was erased since", registry=r)
        self.lost = Counter(
            "understudy_records_lost", "Records that no disk had room for, by kind", ["kind"], registry=r
        )
        self.late = Histogram(
            "understudy_records_late_seconds",
            "From the beginning of a request to its record being stored",
            buckets=(1, 5, 15, 60, 300, 3600, 86400),
            registry=r,
        )
        self.stores = Histogram(
            "understudy_records_store_seconds",
            "From a batch of records to its being on the disk",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=r,
        )
        self.refusals = Counter("understudy_records_failures", "Batches that could not be stored", ["why"], registry=r)
        self.players = Gauge("understudy_engagement_players", "Players by their level", ["level"], registry=r)
        self.interventions = Counter(
            "understudy_engagement_interventions", "What became due for players, by kind", ["kind"], registry=r
        )
        self.folded = Counter("understudy_engagement_events", "Events of players that were judged", registry=r)
        self.anew = Counter(
            "understudy_engagement_folds",
            "Players whose whole log was folded, for a policy or a late event",
            registry=r,
        )
        self.listening = Gauge("understudy_engagement_streams", "Gateways that hear where players stand", registry=r)
        self.overdue = Gauge(
            "understudy_records_overdue_seconds", "By how much records are kept longer than they should be", registry=r
        )
        self._lapsed = Gauge("understudy_ledger_lapsed_leases", "Leases whose holder fell silent", registry=r)
        self._behind = Gauge("understudy_ledger_clock_behind_seconds", "How far the clock went back", registry=r)

    def render(self, behind: float, lapsed: int) -> bytes:
        """The text exposition format."""
        self._behind.set(behind)
        self._lapsed.set(lapsed)
        return generate_latest(self._registry)

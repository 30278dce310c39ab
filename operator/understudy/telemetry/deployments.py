"""ModelDeployments as metrics, in the way in which kube-state-metrics shows objects: what their status says.

These alone of the operator's metrics grow with the cluster: seven series for each ModelDeployment. Only a leader shows
them, so that there is one of each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Conditions whose absence or change somebody has to look at.
CONDITIONS: Final = ("Ready", "Reconciling", "Stalled", "GuardrailsEnforced", "GuardrailBreached")


@dataclass(frozen=True, slots=True)
class _Shown:
    phase: str
    weight: float
    true: frozenset[str]


class DeploymentMetrics(Collector):
    """The statuses that were told last; `leading` says whether they are shown."""

    def __init__(self) -> None:
        self.leading: Callable[[], bool] = lambda: False
        self._shown: dict[str, _Shown] = {}

    def tell(self, name: str, status: Mapping[str, Any] | None) -> None:
        """What the status of `namespace/name` is now; None: there is no such ModelDeployment any more."""
        if not status or not status.get("phase"):
            self._shown.pop(name, None)
            return
        weight = ((status.get("weights") or {}).get("candidate") or {}).get("programmed", 0)
        true = frozenset(c["type"] for c in status.get("conditions") or () if c["status"] == "True")
        self._shown[name] = _Shown(status["phase"], weight / 100, true)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The registry's; while a thread writes them down, others may be told."""
        phase = GaugeMetricFamily(
            "understudy_modeldeployment_status_phase", "1 for the phase that it is in", labels=("deployment", "phase")
        )
        condition = GaugeMetricFamily(
            "understudy_modeldeployment_status_condition",
            "1 while the condition is True",
            labels=("deployment", "condition"),
        )
        weight = GaugeMetricFamily(
            "understudy_modeldeployment_candidate_weight_ratio",
            "The candidate's share of conversations that every gateway serves by, 0 to 1",
            labels=("deployment",),
        )
        for name, shown in list(self._shown.items()) if self.leading() else ():
            phase.add_metric([name, shown.phase], 1)
            for kind in CONDITIONS:
                condition.add_metric([name, kind], kind in shown.true)
            weight.add_metric([name], shown.weight)
        yield from (phase, condition, weight)

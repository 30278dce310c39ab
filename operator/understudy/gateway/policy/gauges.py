"""What metrics show of a process beside the evidence, and how those of several processes are shown as one's."""

from collections.abc import Iterable, Mapping
from typing import Final

from understudy.telemetry.beside import HISTOGRAMS

# By name: help text, and values by kind ("" for a single one). Names that end in `_total` are counters.
Gauges = Mapping[str, tuple[str, Mapping[str, float]]]
# Of these the least one counts: the certificate that ends first is the one to renew, and a detector that one worker
# cannot rely on is not well.
_LEAST: Final = frozenset({"understudy_detector_healthy", "understudy_tls_expiration_timestamp_seconds"})
# And of these the most: what the worker hears that hears least, and what each knows of the whole.
_MOST: Final = frozenset(
    {
        "understudy_access_keys",
        "understudy_guard_portable_deployments",
        "understudy_limit_shares",
        "understudy_outbox_age_seconds",
        "understudy_watch_age_seconds",
    }
)


def joined(parts: Iterable[Gauges]) -> dict[str, tuple[str, dict[str, float]]]:
    """All parts as one: values of one name and kind are added."""
    whole: dict[str, tuple[str, dict[str, float]]] = {}
    for part in parts:
        for name, (text, values) in part.items():
            _, known = whole.setdefault(name, (text, {}))
            for kind, value in values.items():
                if kind not in known:
                    known[kind] = value
                elif name in _LEAST:
                    known[kind] = min(known[kind], value)
                elif name in _MOST:
                    known[kind] = max(known[kind], value)
                else:
                    known[kind] += value
    return whole


def lasting(gauges: Gauges) -> Gauges:
    """Those that outlive the process: its counters."""
    return {name: value for name, value in gauges.items() if name.endswith("_total") or name in HISTOGRAMS}

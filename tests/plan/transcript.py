"""Whole rollouts as text, kept in `transcripts/`: a reviewer sees in a diff what an edit makes of them.

A transcript has what the operator's passes ask for: every write with what it changes, events, the status, probes, and
when to look again; a pass that says the same as the one before is left out. `python -m tests.plan.transcript` writes
all of them anew.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.plan.world import Cluster
from understudy.domain.duration import stamp
from understudy.plan.actions import Action, Apply, Delete, Plan, Probe
from understudy.plan.observed import Observed

Tale = Callable[[Cluster], None]
TRANSCRIPTS = Path(__file__).parent / "transcripts"
# What a revision is rendered to: desired/golden has it.
ELSEWHERE = ("spec.template", "spec.podTemplate", "spec.intent", "spec.recorded", "spec.model", "spec.hash", "data")
# Where it is told how the first revision comes up; the others begin when it serves.
BEGINNINGS = ("a_good_one_takes_over", "much_is_missing_at_first", "it_is_to_be_guarded")
_NOW = "<now>"
# What is counted: a line for each gateway and each metric.
_COUNTERS = re.compile(r"status\.(cursors|evidence\.comparisons)\.[^.]+")


class Told(Cluster):
    """A cluster that writes down what its operator does."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._tells = whole
        self._before: dict[str, str] = {}
        self._again: float | None = None
        self._images: dict[str, str] = {}

    def carry_out(self, observed: Observed, decided: Plan) -> Plan:
        """Also tells of it."""
        self._tells |= observed.deployment is None or self.says("Ready")[0] == "True"
        said = [line for action in decided.actions for line in self._action(action)]
        said += self._status(observed, decided)
        probes = {probe.pod_uid: _probe(probe) for probe in decided.probes}
        said += [f"  probe {line}" for line in _changed(self._before, probes)]
        self._before = probes
        if decided.requeue_after != self._again:
            self._again = decided.requeue_after
            said.append(f"  again in {decided.requeue_after} s")
        if said and self._tells:
            first = " (status first)" if decided.status_first else ""
            self.lines += [f"{self.true_time:.0f} s: {'; '.join(decided.reasons)}{first}", *said]
        self._images |= self.images()
        return super().carry_out(observed, decided)

    def text(self) -> str:
        """The whole, with revisions by their images."""
        told = "\n".join(self.lines) + "\n"
        for revision, image in self._images.items():
            told = told.replace(revision, image)
        return told

    def _action(self, action: Action) -> Iterator[str]:
        if isinstance(action, Apply):
            kind, name = action.obj["kind"], action.obj["metadata"]["name"]
            siblings = [*self.of_kind(kind).values(), {}]
            # Of what is new, that which is not as in the first of its kind.
            changes = list(_changed(_flat(self.objects.get((kind, name), siblings[0])), _flat(action.obj), gone=False))
            if not changes:
                return
            what = f"{action.subresource} of {kind}" if action.subresource else kind
            sure = f" if it is {action.uid}" if action.uid else ""
            sure += " as observed" if action.resource_version else ""
            yield f"  apply {what} {name}{sure} by {action.manager}: {action.why}"
            yield from (f"    {line}" for line in changes)
        elif isinstance(action, Delete):
            sure = " as observed" if action.resource_version else ""
            yield f"  delete {action.api_version} {action.kind} {action.name} if it is {action.uid}{sure}: {action.why}"
        else:
            yield f"  event {action.type} {action.reason}: {action.message}"

    def _status(self, observed: Observed, decided: Plan) -> Iterator[str]:
        before = (observed.deployment or {}).get("status") or {}
        changes = _changed(_flat(before), _flat(decided.status or before))
        now = stamp(self.wall)
        yield from (f"  status.{line}".replace(now, _NOW) for line in changes)


def _probe(probe: Probe) -> str:
    about = (probe.address, probe.port, probe.model_id, probe.root, probe.max_model_len, probe.interval)
    kinds = [name for name, is_so in (("comparator", probe.comparator), ("at rest", probe.at_rest)) if is_so]
    asked = [f"{p.name} {p.max_tokens} {dict(p.expect)}" for p in probe.prompts]
    return " ".join([*map(str, about), f"key of {len(probe.key)}", *kinds, *asked])


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Leaves by path; conditions by their type, each in one line."""
    if path in ELSEWHERE or value == {}:
        return {}
    if _COUNTERS.fullmatch(path):
        return {path: _short(value)}
    parts: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        parts = value.items()
    elif path.endswith("conditions"):
        parts = {item["type"]: " | ".join(map(str, list(item.values())[1:])) for item in value}.items()
    elif isinstance(value, list) and value and isinstance(value[0], Mapping | list):
        parts = enumerate(value)
    else:
        return {path: re.sub("[0-9a-f]{64}", "<hash>", _short(value))}
    return {k: v for name, part in parts for k, v in _flat(part, f"{path}.{name}".lstrip(".")).items()}


def _short(value: Any) -> str:
    """On one line, and the same whatever the machine's last digit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(_short(item) for item in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _changed(before: Mapping[str, str], after: Mapping[str, str], *, gone: bool = True) -> Iterator[str]:
    yield from (f"{path}: {value}" for path, value in after.items() if before.get(path) != value)
    if gone:
        yield from (f"{path}: gone" for path in before if path not in after)


def transcript(tale: Tale) -> str:
    """What happens in it."""
    cluster = Told(whole=tale.__name__ in BEGINNINGS)
    tale(cluster)
    return cluster.text()


def kept(tale: Tale) -> str:
    """What happened in it when that was written down."""
    return _file(tale).read_text()


def tales() -> Iterator[Tale]:
    """Those of all tests."""
    for path in sorted(Path(__file__).parent.glob("test_told_*.py")):
        yield from importlib.import_module(f"tests.plan.{path.stem}").TALES


def _file(tale: Tale) -> Path:
    return TRANSCRIPTS / f"{tale.__name__}.txt"


if __name__ == "__main__":
    for each in tales():
        _file(each).write_text(transcript(each))

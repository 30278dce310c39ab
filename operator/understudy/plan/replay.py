"""The probe sets of Guardrails, replayed to a candidate before anybody hears it: what is asked, what came, the verdict.

Answers are judged by all policies that hold for the deployment. The verdict is one of bounds: what has not been judged
may still come out either way, so it passes nobody and turns nobody back. What stable does as often turns nobody back
either: docs/adr/0032-what-stable-does-too-turns-nobody-back.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from understudy.domain.table import Guard

Verdict = Literal["pass", "fail", "wait"]
# Prompts that are named in a sentence.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """The prompts of one Guardrail: in which ConfigMap, the SHA-256 of the text, and how many there are.

    An answer with a finding from `severity` on is bad. A candidate may have `tolerance` more bad ones than stable.
    `must`: it waits for as long as not all of them can be judged.
    """

    guardrail: str
    config_map: str
    key: str
    hash: str
    prompts: int
    severity: int
    tolerance: int
    must: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """Ask the replayer to have these sets answered by `revision`, and by stable where that decides.

    `guards` are the policies that judge. `subjects` and `others` are pods (by uid, among those that are probed) of the
    revision and of stable that can be asked now.
    """

    run: int
    revision: str
    against: str
    sets: tuple[ProbeSet, ...]
    guards: tuple[Guard, ...]
    subjects: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def matter(self) -> "Replay":
        """What it is about, whichever pods are there to be asked."""
        return replace(self, subjects=(), others=())


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an answer came to: the gravest finding, none (severity 0), or why it could not be judged (`unknown`)."""

    category: str = ""
    severity: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class SetReport:
    """By prompt, what the candidate and stable said so far. `settled`: what is unknown was tried for long enough."""

    subject: Mapping[str, Spoken] = field(default_factory=dict)
    other: Mapping[str, Spoken] = field(default_factory=dict)
    settled: bool = False


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay has come to so far, by Guardrail; `matter` is that of the replay that was asked for."""

    matter: Replay
    sets: Mapping[str, SetReport] = field(default_factory=dict)

    def of(self, probes: ProbeSet) -> SetReport:
        """Of one of its sets."""
        return self.sets.get(probes.guardrail, SetReport())


def probe_sets(guardrails: Iterable[Mapping[str, Any]]) -> tuple[ProbeSet, ...]:
    """The sets of these Guardrails, as their statuses say that they can be read; in monitor mode there is none."""
    return tuple(
        _probe_set(guardrail)
        for guardrail in guardrails
        if guardrail["spec"].get("mode", "enforce") == "enforce"
        and "probeSet" in guardrail["spec"]
        and "probeSet" in (guardrail.get("status") or {})
    )


def verdict(probes: ProbeSet, report: SetReport) -> Verdict:
    """Where it stands with a set: whatever the answers come to that have not been judged, or not yet decided."""
    own, others = bad(probes, report.subject), bad(probes, report.other)
    borne = probes.tolerance + len(others)
    if len(own) > borne + probes.prompts - _judged(report.other):
        return "fail"
    if len(own) + probes.prompts - _judged(report.subject) <= borne:
        return "pass"
    # Where text may pass that nobody can judge, so may a candidate.
    return "pass" if report.settled and not probes.must else "wait"


def compares(probes: ProbeSet, report: SetReport) -> bool:
    """Whether what stable says decides: a candidate that is good enough by itself costs stable nothing."""
    return len(bad(probes, report.subject)) > probes.tolerance


def bad(probes: ProbeSet, said: Mapping[str, Spoken]) -> tuple[str, ...]:
    """The prompts whose answers have a finding that counts."""
    return tuple(sorted(name for name, spoken in said.items() if spoken.severity >= probes.severity))


def worse(probes: ProbeSet, report: SetReport) -> str:
    """How a candidate fails a set, as a sentence that names prompts and what was found, never what was said."""
    own, others = bad(probes, report.subject), bad(probes, report.other)
    # More than stable has: at least one of them is the candidate's alone.
    telling = [name for name in own if name not in others]
    named = ", ".join(f"{name} ({report.subject[name].category})" for name in telling[:_NAMED])
    more = f" and {len(telling) - _NAMED} more" if len(telling) > _NAMED else ""
    return f"Guardrail {probes.guardrail}: {counted(probes, report)}: {named}{more}"


def progress(probes: ProbeSet, report: SetReport) -> str:
    """What is waited for, as a phrase."""
    done = f"{_judged(report.subject)} of {probes.prompts} answers"
    asked = f", and {_judged(report.other)} of stable's," if compares(probes, report) else ""
    return f"Guardrail {probes.guardrail}: {done}{asked} have been judged{_unknown(report)}"


def counted(probes: ProbeSet, report: SetReport) -> str:
    """What was found, with the numbers."""
    grave = f"findings from severity {probes.severity} on"
    own = f"{len(bad(probes, report.subject))} of {probes.prompts} answers have {grave}"
    if not report.other:
        return f"{own}, at most {probes.tolerance} may without asking stable"
    return f"{own}, {len(bad(probes, report.other))} of stable's, at most {probes.tolerance} more are borne"


def told(probes: ProbeSet, report: SetReport) -> str:
    """For the record: what was found, and what nobody could judge."""
    return f"Guardrail {probes.guardrail}: {counted(probes, report)}{_unknown(report)}"


def _judged(said: Mapping[str, Spoken]) -> int:
    return sum(not spoken.unknown for spoken in said.values())


def _unknown(report: SetReport) -> str:
    """What could not be judged, "" if nothing is known of that kind."""
    sides = [(report.subject, ""), (report.other, " of stable")]
    found = [(f"{n}{side}", s.unknown) for said, side in sides for n, s in sorted(said.items()) if s.unknown]
    if not found:
        return ""
    return f"; {len(found)} could not be, the first is {found[0][0]}: {found[0][1]}"


def _probe_set(guardrail: Mapping[str, Any]) -> ProbeSet:
    said, known = guardrail["spec"]["probeSet"], guardrail["status"]["probeSet"]
    return ProbeSet(
        guardrail=str(guardrail["metadata"]["name"]),
        config_map=str(said["configMapRef"]["name"]),
        key=str(known["key"]),
        hash=str(known["hash"]),
        prompts=int(known["prompts"]),
        severity=int(said.get("severityAtLeast", 4)),
        tolerance=int(said.get("tolerance", 0)),
        must=guardrail["spec"].get("failurePolicy", "Closed") == "Closed",
    )

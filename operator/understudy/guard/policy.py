"""A Guardrail as it is enforced: read once, whole or not at all, known by its hash.

`compile_policy` takes the spec as the API server stores it, and the texts that its ConfigMaps hold. What the API server
could not check is checked here, and all that is wrong is said at once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from understudy.guard.actions import NOTHING, Content, Fiction, Rule, Where, decision
from understudy.guard.findings import Severity
from understudy.guard.lexicon import MAX_TERMS, LexiconError, lexicon_patterns
from understudy.guard.needles import Needle, Pattern, PatternError, prepare
from understudy.guard.pii import ENTITIES, pii_patterns
from understudy.guard.plan import FailurePolicy
from understudy.guard.served.codec import USUAL
from understudy.guard.served.judge import Judge, JudgeError, read_judge

VERSION: Final = 2
"""Of what a policy means. To be raised when the same spec begins to find or do something else."""
Guarantee = Literal["exact", "sentence", "monitor"]
SEVERITIES: Final[Mapping[str, Severity]] = {"low": 2, "medium": 4, "high": 6}
# The strictest of several holds.
STRICTNESS: Final[Sequence[FailurePolicy]] = ("Open", "Degrade", "Closed")
MAX_POSITIONS: Final = 32_768
"""Of all expressions of a Guardrail: what an engine can be built for within seconds."""
# Of a pattern of a ConfigMap: as long as those of the spec can be.
_MAX_NAME: Final = 63
# Patterns of one detector that are refused by name.
_SHOWN: Final = 20
_BOTH: Final = ("input", "output")
# By whom it may be played: whose word that it is fiction makes a finding less grave. Of minors nobody's does.
_FICTION: Final[Mapping[str, Sequence[Fiction]]] = {"adults": ("fiction", "adult"), "mixed": ("adult",), "minors": ()}
# What no story makes less grave.
_ALWAYS_GRAVE: Final = ("self_harm", "sexual_minors")
_AT_ONCE: Final = ("patterns", "pii", "lexicon")


class PolicyError(Exception):
    """All that is wrong with a Guardrail: each where it is, and with what to write instead."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Governed:
    """A rule, and what holds when a detector that it needs fails."""

    rule: Rule
    failure_policy: FailurePolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """One Guardrail, immutable."""

    name: str
    hash: str
    enforced: bool
    """Else findings are counted only."""
    needles: tuple[Needle, ...]
    """Of tier 0; their detectors are called GUARDRAIL/DETECTOR."""
    judges: tuple[Judge, ...]
    """Detectors that are asked about windows, called so too."""
    rules: tuple[Governed, ...]
    by_sentence: bool
    max_hold: int
    on_overflow: Literal["Block", "Degrade"]

    @property
    def found_at_once(self) -> frozenset[str]:
        """Categories that tier 0 finds."""
        return frozenset(needle.pattern.category for needle in self.needles)

    def strictest(self, where: Where, category: str, severity: int = 6) -> Content:
        """The most that can happen to a text for a finding of this category, up to this severity."""
        if not self.enforced:
            return Content.NOTHING
        said = [each.rule.strictest(severity) for each in self.about(where) if each.rule.category == category]
        return max(said, default=Content.NOTHING)

    def about(self, where: Where) -> tuple[Governed, ...]:
        """The rules for one direction."""
        return tuple(each for each in self.rules if where in each.rule.where)

    def guarantees(self) -> dict[str, Guarantee]:
        """By category: no forbidden character comes out, no forbidden window, or it is counted."""
        return {category: self._guarantee(category) for category in sorted({each.rule.category for each in self.rules})}

    def _guarantee(self, category: str) -> Guarantee:
        if max(self.strictest("input", category), self.strictest("output", category)) < Content.REDACT:
            return "monitor"
        return "exact" if category in self.found_at_once else "sentence"


def compile_policy(name: str, spec: Mapping[str, Any], sources: Mapping[str, str]) -> Policy:
    """The policy of a Guardrail. `sources`: what the ConfigMap of a detector holds, by the detector's name.

    Raises PolicyError.
    """
    problems: list[str] = []
    stream = spec.get("stream") or {}
    max_hold = int(stream.get("maxHoldChars", 2048))
    detectors = spec.get("detectors") or ()
    needles: list[Needle] = []
    for detector in detectors:
        if detector["type"] in _AT_ONCE:
            needles += _needles(name, detector, sources, max_hold, problems)
    judges = _judges(name, spec, sources, problems)
    usual: FailurePolicy = spec.get("failurePolicy", "Closed")
    policy = Policy(
        name,
        policy_hash(spec, sources),
        spec.get("mode", "enforce") == "enforce",
        tuple(needles),
        tuple(judges),
        tuple(_rule(each, usual, spec.get("audience", "mixed")) for each in spec["rules"]),
        stream.get("holdback", "adaptive") == "sentence",
        max_hold,
        stream.get("onHoldOverflow", "Block"),
    )
    positions = sum(len(needle.positions.chars) for needle in needles)
    if positions > MAX_POSITIONS:
        problems.append(
            f"its expressions are {positions} characters long together, with all repetitions written out, and at most "
            f"{MAX_POSITIONS} can be: write smaller bounds, or several Guardrails"
        )
    if not problems:
        _check(policy, detectors, problems)
    if problems:
        raise PolicyError(problems)
    return policy


def enforced(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a spec is a policy: not for whom it holds, which other one it revokes, nor what candidates are asked."""
    return {key: value for key, value in spec.items() if key not in ("selector", "revokeBefore", "probeSet")}


def is_open(spec: Mapping[str, Any]) -> bool:
    """Whether text passes where a policy cannot be enforced at all: it only counts, or each of its rules is Open."""
    usual = spec.get("failurePolicy", "Closed")
    policies = {rule.get("failurePolicy", usual) for rule in spec.get("rules") or ()} or {usual}
    return spec.get("mode", "enforce") == "monitor" or policies == {"Open"}


def policy_hash(spec: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """The hash of the policy that a Guardrail comes to, if it comes to one: of all that is enforced."""
    said = json.dumps([VERSION, enforced(spec), dict(sources)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _judges(name: str, spec: Mapping[str, Any], sources: Mapping[str, str], problems: list[str]) -> list[Judge]:
    least = _least(spec["rules"])
    judges = []
    for detector in spec.get("detectors") or ():
        if detector["type"] not in _AT_ONCE:
            try:
                judges.append(read_judge(name, detector, least, sources))
            except JudgeError as error:
                problems.append(f"detectors[{detector['name']}]: {error}")
    return judges


def _least(rules: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By category, the least score that a rule has a word for."""
    least: dict[str, float] = {}
    for rule in rules:
        lowest = min((rule.get("thresholds") or {}).values(), default=USUAL[2])
        least[rule["category"]] = min(float(lowest), least.get(rule["category"], 1.0))
    return least


def _needles(
    policy: str, detector: Mapping[str, Any], sources: Mapping[str, str], max_hold: int, problems: list[str]
) -> list[Needle]:
    name = detector["name"]
    try:
        patterns = _patterns(f"{policy}/{name}", detector, sources)
    except (LexiconError, PatternError) as error:
        problems.append(f"detectors[{name}]: {error}")
        return []
    needles, refused = [], []
    for pattern in patterns:
        try:
            needles.append(prepare(pattern, max_hold))
        except PatternError as error:
            refused.append(f"detectors[{name}]: {error}")
    problems += refused[:_SHOWN]
    if len(refused) > _SHOWN:
        problems.append(f"detectors[{name}]: {len(refused) - _SHOWN} more patterns cannot be looked for")
    return needles


def _patterns(qualified: str, detector: Mapping[str, Any], sources: Mapping[str, str]) -> Sequence[Pattern]:
    name = detector["name"]
    if detector["type"] == "pii":
        return pii_patterns(qualified, detector.get("entities") or ENTITIES)
    listed = [_pattern(qualified, name, each) for each in detector.get("patterns") or ()]
    if "configMapRef" not in detector:
        return listed
    if name not in sources:
        raise PatternError(f"ConfigMap {detector['configMapRef']['name']!r} is not there: make it, or name another")
    if detector["type"] == "lexicon":
        return lexicon_patterns(qualified, name, sources[name])
    return listed + [_pattern(qualified, name, each) for each in _listed(sources[name])]


def _listed(text: str) -> list[Mapping[str, Any]]:
    """Patterns in a ConfigMap: a JSON list of what spec.detectors[].patterns holds."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PatternError(f"its ConfigMap is not JSON ({error}): write a list of patterns as in spec") from None
    if not isinstance(found, list):
        raise PatternError("its ConfigMap holds no JSON list: write a list of patterns as in spec")
    if len(found) > MAX_TERMS:
        raise PatternError(f"its ConfigMap holds {len(found)} patterns, and at most {MAX_TERMS} can be: write fewer")
    for at, each in enumerate(found):
        if not _is_pattern(each):
            raise PatternError(
                f"entry {at} of its ConfigMap is no pattern: write an object with name (63 characters at most), "
                "literal or regex (not both), and, if they are not the usual, category and severity (low, medium, "
                "high), all of them texts"
            )
    return found


def _is_pattern(entry: object) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(value, str) and value for value in entry.values()):
        return False
    known = {"name", "category", "severity", "literal", "regex"}
    return (
        0 < len(entry.get("name", "")) <= _MAX_NAME
        and ("literal" in entry) != ("regex" in entry)
        and known.issuperset(entry)
        and entry.get("severity", "high") in SEVERITIES
    )


def _pattern(qualified: str, name: str, entry: Mapping[str, Any]) -> Pattern:
    return Pattern(
        qualified,
        entry["name"],
        entry.get("category") or name,
        SEVERITIES[entry.get("severity", "high")],
        entry.get("literal") or "",
        entry.get("regex") or "",
    )


def _rule(entry: Mapping[str, Any], usual: FailurePolicy, audience: str) -> Governed:
    actions = {SEVERITIES[level]: decision(names) for level, names in entry["actions"].items() if names}
    thresholds: dict[int, float] = {
        SEVERITIES[level]: float(score) for level, score in (entry.get("thresholds") or {}).items()
    }
    allowance = entry.get("fictionAllowance", 0)
    said = () if entry["category"] in _ALWAYS_GRAVE or not allowance else _FICTION[audience]
    rule = Rule(
        entry["category"],
        frozenset(entry.get("where") or _BOTH),
        {severity: each for severity, each in actions.items() if each != NOTHING},
        thresholds,
        dict.fromkeys(said, allowance),
    )
    return Governed(rule, entry.get("failurePolicy", usual))


def _check(policy: Policy, detectors: Sequence[Mapping[str, Any]], problems: list[str]) -> None:
    at_once = policy.found_at_once
    for at, each in enumerate(policy.rules):
        category = each.rule.category
        if category in at_once:
            continue
        if not any(judge.may_find(category) for judge in policy.judges):
            problems.append(
                f"rules[{at}]: no detector finds {category!r}: write a pattern or a word list of that category, or a "
                "detector that judges text"
            )
        elif any(said.content == Content.REDACT for said in each.rule.actions.values()) and not any(
            detector["type"] == "fms" for detector in detectors
        ):
            problems.append(
                f"rules[{at}]: Redact needs a detector that says where {category!r} is, which only patterns, lexicon, "
                "pii and fms do: write Replace or Block"
            )
    _check_thresholds(policy, problems)
    acted_on = {each.rule.category for each in policy.rules}
    for detector in detectors:
        qualified = f"{policy.name}/{detector['name']}"
        found = {needle.pattern.category for needle in policy.needles if needle.pattern.detector == qualified}
        if found and not found & acted_on:
            problems.append(
                f"detectors[{detector['name']}]: no rule says what follows from what it finds "
                f"({', '.join(sorted(found))}): write one, or remove it"
            )


def _check_thresholds(policy: Policy, problems: list[str]) -> None:
    """A score that one rule takes for low must not reach another, for which every finding is at least that."""
    for where in _BOTH:
        with_scores: dict[str, bool] = {}
        for at, each in enumerate(policy.rules):
            if where in each.rule.where and policy.judges:
                has = bool(each.rule.thresholds)
                if with_scores.setdefault(each.rule.category, has) is not has:
                    problems.append(
                        f"rules[{at}]: of two rules for {each.rule.category!r} one has thresholds and one has none: "
                        "write them in both, or in neither"
                    )
                    return

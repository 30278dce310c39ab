"""Rules of a Guardrail: what follows from a finding, at once and after several."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.detectors import Category
from understudy.api.v1alpha1.markers import LIST_SET, Cel, max_properties
from understudy.api.v1alpha1.scalars import Duration, Retention, ServedName
from understudy.api.v1alpha1.shape import shape

FailurePolicy = Literal["Closed", "Open", "Degrade"]
Action = Literal[
    "Log",
    "Annotate",
    "Redact",
    "Replace",
    "Block",
    "Remind",
    "SuppressHooks",
    "CoolDown",
    "CrisisBanner",
    "CrisisFlow",
    "Notify",
]
Actions = Annotated[tuple[Action, ...], Field(max_length=8), LIST_SET]
Score = Annotated[float, Field(ge=0, le=1)]


class Thresholds(BaseModel):
    """Scores from which a finding has this severity, 0 to 1, rising."""

    model_config = shape(
        Cel(
            "(!has(self.low) || !has(self.medium) || self.low < self.medium)"
            " && (!has(self.medium) || !has(self.high) || self.medium < self.high)"
            " && (!has(self.low) || !has(self.high) || self.low < self.high)",
            "write thresholds that rise: low < medium < high",
        )
    )

    low: Score | None = None
    """Severity 2."""
    medium: Score | None = None
    """Severity 4."""
    high: Score | None = None
    """Severity 6."""


class SeverityActions(BaseModel):
    """What to do at each severity."""

    model_config = shape(
        Cel(
            "has(self.low) || has(self.medium) || has(self.high)",
            "write actions for at least one of low, medium, high",
        )
    )

    low: Actions | None = None
    """At severity 2."""
    medium: Actions | None = None
    """At severity 4."""
    high: Actions | None = None
    """At severity 6."""


class Rule(BaseModel):
    """What follows from a finding of one category."""

    model_config = shape(
        Cel(
            "self.category != 'self_harm' || !has(self.failurePolicy) || self.failurePolicy != 'Open'",
            "self_harm must not be unguarded: write failurePolicy: Closed or Degrade",
        ),
        Cel(
            "self.category != 'self_harm' || !has(self.fictionAllowance) || self.fictionAllowance == 0",
            "remove fictionAllowance: self_harm has none",
        ),
        Cel(
            "self.category != 'sexual_minors' || !has(self.fictionAllowance) || self.fictionAllowance == 0",
            "remove fictionAllowance: sexual_minors has none",
        ),
    )

    category: Category
    """What was found."""
    # Not `on`: kubectl's YAML reads that word as the boolean true, also as a key.
    where: Annotated[tuple[Literal["input", "output"], ...], Field(min_length=1, max_length=2), LIST_SET] = (
        "input",
        "output",
    )
    """Where it counts."""
    thresholds: Thresholds | None = None
    """Scores for each severity; the detector's own otherwise."""
    actions: SeverityActions
    """What to do."""
    fiction_allowance: Annotated[int, Field(ge=0, le=2)] = 0
    """Lowers the severity by so many levels where a request says that its session is fiction and, with audience: mixed,
    that an adult plays."""
    failure_policy: FailurePolicy | None = None
    """What holds when a detector of this rule fails; the Guardrail's own otherwise."""


_ROLLOUT_ACTIONS = "['PauseRollout', 'Rollback', 'Quarantine']"


class Rung(BaseModel):
    """What follows from several findings: of a session or player by count, of a revision by rate."""

    model_config = shape(
        Cel(
            "self.per == 'revision' || (has(self.count) && has(self.within))",
            "per session or player needs count and within, such as count: 3, within: 10m",
        ),
        Cel(
            "self.per == 'revision' || !(has(self.rate) || has(self.minTurns) || has(self.test) || has(self.alpha))",
            "remove rate, minTurns, test and alpha: they belong to per: revision",
        ),
        Cel(
            "self.per != 'revision' || (has(self.rate) && has(self.minTurns))",
            "per: revision needs rate and minTurns, such as rate: 0.005, minTurns: 2000",
        ),
        Cel(
            "self.per != 'revision' || !(has(self.count) || has(self.within))",
            "remove count and within: they belong to per: session and per: player",
        ),
        Cel(
            f"self.action == 'Notify' || (self.per == 'revision') == (self.action in {_ROLLOUT_ACTIONS})",
            "PauseRollout, Rollback and Quarantine go with per: revision;"
            " Remind, SuppressHooks, CoolDown and SwitchModel with per: session or player",
        ),
        Cel(
            "(self.action == 'SwitchModel') == has(self.to)",
            "write to (a served name) with action: SwitchModel and only there",
        ),
        Cel(
            "!has(self.alpha) || (has(self.test) && self.test == 'sequential')",
            "remove alpha, or write test: sequential",
        ),
    )

    per: Literal["session", "player", "revision"]
    """Whose findings are counted."""
    category: Category | None = None
    """Counts only these; all otherwise."""
    severity_at_least: Literal[2, 4, 6] = 2
    """Counts findings from this severity on: low 2, medium 4, high 6."""
    count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many findings."""
    within: Duration | None = None
    """In this time."""
    rate: Annotated[float, Field(ge=0.000001, le=1)] | None = None
    """Share of turns with a finding, 0 to 1, that is too many."""
    min_turns: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Judges from so many turns on; a candidate by those of its rollout."""
    test: Literal["threshold", "sequential"] | None = None
    """Compare with the rate as it stands (threshold, the default), or with a sequential test."""
    alpha: Annotated[float, Field(ge=0.000001, le=0.5)] | None = None
    """Probability of a false alarm of the sequential test; 0.01 otherwise."""
    action: Literal[
        "Remind", "SuppressHooks", "CoolDown", "SwitchModel", "Notify", "PauseRollout", "Rollback", "Quarantine"
    ]
    """What to do. Remind, SuppressHooks, CoolDown and SwitchModel hold for a session or player; Notify is told alone.
    PauseRollout holds a candidate until `resume`; Rollback turns one back, or what is watched after its promotion;
    after Quarantine it starts again by `retry` alone. Of what serves it is told (GuardrailBreached)."""
    to: ServedName | None = None
    """For SwitchModel: the ModelDeployment of this namespace that has this name, or serves it."""


class Referral(BaseModel):
    """What a person in crisis is told, in one language."""

    model_config = shape()

    text: Annotated[str, Field(min_length=1, max_length=4096)]
    """The message."""
    phone: Annotated[str, Field(max_length=64)] | None = None
    """A help line."""
    url: Annotated[str, Field(pattern="^https://", max_length=512)] | None = None
    """A page with help."""


class Wording(BaseModel):
    """What players are told at the end of an answer, in one language."""

    model_config = shape(Cel("has(self.notice) || has(self.reminder)", "write notice, reminder, or both"))

    notice: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """The statutory notice: that this is an AI, that three hours are over, that a break is due."""
    reminder: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """What Remind says after an hour without a break."""


class CoolDown(BaseModel):
    """Breaks that grow."""

    model_config = shape()

    initial: Duration = "15m"
    """The first."""
    factor: Annotated[float, Field(ge=1, le=10)] = 2
    """Each is so many times as long as the one before."""
    max: Duration = "60m"
    """The longest."""


class EngagementThresholds(BaseModel):
    """Where a figure of a player becomes a sign; what each is and its default: docs/engagement.md."""

    model_config = shape()

    daily_minutes: Annotated[float, Field(ge=1, le=1440)] | None = None
    """Active minutes in a day; may only remind."""
    escalation: Annotated[float, Field(ge=1, le=100)] | None = None
    """This week's use divided by the usual."""
    late_night_share: Score | None = None
    """Share of minutes between midnight and five, on three nights a week."""
    binge: Annotated[float, Field(ge=1, le=1440)] | None = None
    """Minutes without a break, four times in 28 days."""
    failed_stop: Score | None = None
    """Share of announced stops that were not kept."""
    reminder_override: Score | None = None
    """Share of reminders that were waved away."""
    limit_easing: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Own limits raised or removed in 28 days."""
    rapid_return: Score | None = None
    """Share of a day's sessions begun less than 20 minutes after the last."""
    verbal_cues: Annotated[float, Field(ge=0, le=4)] | None = None
    """Different words of distress or craving in 7 days, of four."""


EngagementAction = Literal["Remind", "SuppressHooks", "CoolDown", "SwitchModel", "Notify"]
EngagementActionList = Annotated[tuple[EngagementAction, ...], Field(max_length=5), LIST_SET]


class EngagementActions(BaseModel):
    """What to do at each level."""

    model_config = shape()

    l1: Annotated[EngagementActionList, Field(alias="L1")] = ()
    """At level 1."""
    l2: Annotated[EngagementActionList, Field(alias="L2")] = ()
    """At level 2."""
    l3: Annotated[EngagementActionList, Field(alias="L3")] = ()
    """At level 3."""


_SWITCHES = " || ".join(
    f"(has(self.actions.{level}) && self.actions.{level}.exists(a, a == 'SwitchModel'))" for level in ("L1", "L2", "L3")
)


class Engagement(BaseModel):
    """Signs that somebody has lost control over how much they play."""

    model_config = shape(
        Cel(
            f"has(self.switchTo) || !has(self.actions) || !({_SWITCHES})",
            "write switchTo (a served name): SwitchModel goes to it",
        ),
    )

    profile: Literal["legal", "therapeutic"] = "legal"
    """Legal keeps the statutory notices only; therapeutic adds levels."""
    ttl: Retention = "90d"
    """How long events are kept."""
    thresholds: EngagementThresholds = EngagementThresholds()
    """Levels from which a metric counts as a sign."""
    actions: EngagementActions = EngagementActions()
    """What to do at each level."""
    cool_down: CoolDown = CoolDown()
    """Breaks that grow."""
    switch_to: ServedName | None = None
    """Served name for SwitchModel."""
    locales: Annotated[dict[str, Wording], max_properties(64)] = Field(default_factory=dict)
    """What players are told, by language, such as fr or de-AT; in English and German it is there already."""

"""How a new revision takes over: strategy, steps, capacity and what is judged on the way."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, LIST_SET, Cel
from understudy.api.v1alpha1.scalars import Duration, Latency, Pause
from understudy.api.v1alpha1.shape import shape

Metric = Literal["errors", "rejected", "timeToFirstToken", "interTokenLatency", "emptyOutput", "guardrailBlocks"]
METRICS: tuple[Metric, ...] = (
    "errors",
    "rejected",
    "timeToFirstToken",
    "interTokenLatency",
    "emptyOutput",
    "guardrailBlocks",
)


class Step(BaseModel):
    """One step of a canary."""

    model_config = shape()

    weight: Annotated[int, Field(ge=1, le=100)]
    """Share of conversations for the candidate, in percent."""
    soak: Pause = "2m"
    """Time under observation at this weight before the next step."""


DEFAULT_STEPS = (Step(weight=10, soak="2m"), Step(weight=50, soak="5m"), Step(weight=100, soak="5m"))


class Shadow(BaseModel):
    """Copies of live requests for the candidate before it answers anyone. A change applies to a rollout in progress."""

    model_config = shape()

    percent: Annotated[int, Field(ge=1, le=100)] = 10
    """Share of requests that is copied; the candidate has as many pods as it needs, or more for the first step."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 200
    """So many pairs of answers to one request, stable's and the candidate's, are compared before the first step."""


class Capacity(BaseModel):
    """Where a candidate's pods come from."""

    model_config = shape(
        Cel(
            "!has(self.maxUnavailable) || !has(self.mode) || self.mode in ['Auto', 'Borrow']",
            "remove maxUnavailable: it belongs to mode: Borrow or Auto",
        )
    )

    mode: Literal["Auto", "Surge", "Borrow", "Recreate"] = "Auto"
    """Surge adds pods; Borrow takes some of stable's where no node is found, while the rest carry the load; Auto gives
    a node the time of deadlines.scheduling to come before it borrows; Recreate stops the old first."""
    max_unavailable: Annotated[int, Field(ge=1, le=1000)] | None = None
    """So many of stable's pods may be borrowed; with no free place at all, half of them are needed. By default that
    half with Borrow, and one with Auto: it borrows from who has not asked for it."""


class Deadlines(BaseModel):
    """Limits after which a rollout says that it is stuck."""

    model_config = shape()

    scheduling: Duration = "10m"
    """A candidate's pods must be scheduled in this time."""


class Objectives(BaseModel):
    """Response times that count as good."""

    model_config = shape()

    time_to_first_token: Latency = "2s"
    """From the request to the first token of the answer."""
    inter_token_latency: Latency = "200ms"
    """Between two tokens of an answer."""


class Ceilings(BaseModel):
    """Absolute limits that end a rollout at once."""

    model_config = shape()

    error_rate: Annotated[float, Field(ge=0.001, le=1)] = 0.2
    """Share of failed attempts, 0 to 1."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Counts from so many attempts on."""


class NoData(BaseModel):
    """What happens when nobody talks to the candidate."""

    model_config = shape()

    timeout: Duration = "30m"
    """From the start of the step until minSamples are met."""
    then: Literal["Hold", "Revert"] = "Hold"
    """Wait on, or go back."""


class Analysis(BaseModel):
    """How a candidate is judged against stable."""

    model_config = shape()

    tolerance: Annotated[float, Field(ge=1, le=100)] = 1.5
    """How many times stable's rate of failures is still acceptable."""
    alpha: Annotated[float, Field(ge=0.000001, le=0.5)] = 0.01
    """Probability that a candidate within the tolerance is turned back; errors have half of it, the others share."""
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """So many requests must be seen at each step."""
    objectives: Objectives = Objectives()
    """Response times that count as good."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=6), LIST_SET] = METRICS
    """What is compared with stable; guardrailBlocks, answers that Guardrails changed or blocked, where some hold."""
    ceilings: Ceilings = Ceilings()
    """Absolute limits."""
    no_data: NoData = NoData()
    """What happens when nobody talks to the candidate."""


_STEPS_RISE = Cel(
    "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
    "write each weight higher than the one before, such as 10, 50, 100",
)
_STEPS_END = Cel("size(self) == 0 || self[size(self) - 1].weight == 100", "write weight: 100 in the last step")


class Rollout(BaseModel):
    """How a new revision takes over."""

    model_config = shape(
        Cel(
            "!has(self.steps) || !has(self.strategy) || self.strategy != 'BlueGreen'",
            "remove steps: BlueGreen goes from 0 to 100 at once; for steps write strategy: Canary",
        ),
        Cel(
            "!has(self.autoPromoteAfter) || (has(self.strategy) && self.strategy == 'BlueGreen')",
            "remove autoPromoteAfter, or write strategy: BlueGreen",
        ),
        Cel(
            "!has(self.shadow) || !has(self.strategy) || self.strategy == 'Canary'",
            "remove shadow: it comes before the first step of strategy: Canary",
        ),
        Cel(
            "!has(self.capacity) || !has(self.capacity.mode) || self.capacity.mode != 'Recreate'"
            " || (has(self.strategy) && self.strategy == 'Immediate')",
            "capacity.mode: Recreate stops the old pods first and needs strategy: Immediate",
        ),
    )

    strategy: Literal["Canary", "BlueGreen", "Immediate"] = "Canary"
    """Canary goes by steps; BlueGreen switches after `promote`; Immediate switches once pods are ready."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20), ATOMIC, _STEPS_RISE, _STEPS_END] = (
        DEFAULT_STEPS
    )
    """Weights, rising to 100; a change applies to a rollout in progress."""
    shadow: Shadow | None = None
    """Canary only: copies of live requests before the first step, of which the answers are compared and not shown."""
    auto_promote_after: Duration | None = None
    """BlueGreen only: switch by itself after this time."""
    capacity: Capacity = Capacity()
    """Where a candidate's pods come from."""
    watch: Pause = "10m"
    """How long the previous revision stays warm after the last step."""
    drain: Pause = "10m"
    """How long open streams may take to end on pods that are out of the table."""
    deadlines: Deadlines = Deadlines()
    """Limits after which a rollout says that it is stuck."""
    analysis: Analysis = Analysis()
    """How a candidate is judged."""

"""What the tools tell, as types: a field that is not here is told to no agent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Seen(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True)


class CampaignSeen(Seen):
    id: str
    created: str
    state: str
    """running, stopped (the same command continues it) or finished."""
    goal: str
    testbed: str
    recipe: str
    """Base recipe that it started from."""
    rungs: tuple[int, ...]
    ideas: int
    runs: int
    """Finished ones."""
    adopted: tuple[str, ...]
    """Changes in its trunk, in the order of adoption."""
    unit: str
    """What losses are counted in."""
    trust: str
    """scored by Mendel from the checkpoint, or reported by the run itself, which is weaker."""
    currency: str
    """What budgets are counted in."""


class IdeaSeen(Seen):
    campaign: str
    name: str
    idea_class: str
    state: str
    note: str
    """Why it is in this state."""
    proposer: str
    hypothesis: str
    mechanism: str
    citation: str
    forecast_mean: float
    """Expected log2 compute multiplier."""
    forecast_sd: float
    planted: str | None
    """"blank" or "known gain" where that is told already; None says nothing."""


class PlanSeen(Seen):
    campaign: str
    id: str
    stage: str
    """curve, screen, confirm, estimate, verify, recheck, climb or halves."""
    round: int
    idea: str | None
    control: str
    treatment: str
    """Recipe ids."""
    rung: int
    shard: str
    """validation or held_out; empty where runs report their own loss."""
    pairs: int
    """Most pairs that it may take."""


class RunSeen(Seen):
    campaign: str
    id: str
    stage: str
    idea: str | None
    """None for controls and for what ideas share."""
    recipe: str
    rung: int
    seed_number: int
    """Runs of one campaign with the same number share seed, initial values and data order."""
    shard: str
    state: str
    status: str | None
    bits_per_byte: float | None
    """Validation loss in the campaign's unit; None for confirmation runs, and for those that did not end
    well."""
    tokens: int | None
    train_seconds: float | None
    """None, like tokens, until it is told whether the idea was planted."""
    reason: str
    """Why it did not end well."""


class VerdictSeen(Seen):
    campaign: str
    plan: str
    """Id of its plan; its own is a hash of numbers that are not told."""
    stage: str
    idea: str | None
    round: int
    rung: int
    verdict: str
    """better, worse, equivalent, no difference shown, stale, failed or rejected."""
    pairs: int
    failures: int
    together: int
    """Ideas in whose random halves it was confirmed; 0: on pairs of its own."""
    log2_cm: float | None
    log2_cm_low: float | None
    log2_cm_high: float | None
    """log2 compute multiplier with its 95 % interval; None where it comes from a confirmation."""
    probability: float | None
    """Of a screen: that there is a gain."""
    reason: str


class FindingSeen(Seen):
    campaign: str
    id: str
    idea: str
    idea_class: str
    hypothesis: str
    mechanism: str
    round: int
    rung: int
    cm: float | None
    cm_low: float | None
    cm_high: float | None
    """Compute multiplier with its 95 % interval: 1.10 is the same loss for about 10 % less compute."""
    measured: str
    trust: str
    """scored by Mendel from the checkpoint, or reported by the run itself, which is weaker."""
    unit: str
    cost_ratio: float
    """Cost per token over the control's."""
    adopted: bool
    evicted: str
    """Why the trunk lost it again."""
    transfer: str
    """Whether the gain is there at higher rungs."""
    transfer_words: str
    refuted_by: str
    runs: int


class EventSeen(Seen):
    campaign: str
    id: int
    time: str
    stage: str
    idea: str | None
    message: str


# --- answers ----------------------------------------------------------------------------------------------


class CampaignPage(Seen):
    campaigns: list[CampaignSeen]
    total: int
    next_page: int | None


class Multiplier(Seen):
    name: str
    cm: float | None
    cm_low: float | None
    cm_high: float | None
    words: str


class Rejected(Seen):
    idea: str
    reason: str


class Blanks(Seen):
    """Planted ideas that change nothing, and how many of them were claimed all the same."""

    planted: int
    confirmed: int | None
    claimed: int | None
    """None until the campaign has ended."""


class Status(Seen):
    campaign: CampaignSeen
    ended: str
    """Why there are no further rounds; empty while there may be."""
    ideas_by_state: dict[str, int]
    adopted: list[Multiplier]
    trunk: Multiplier | None
    """The whole trunk over the original recipe at the lowest rung."""
    rejected: list[Rejected]
    blanks: Blanks
    last_event: int
    """For `watch`."""
    log: list[EventSeen]


class IdeaPage(Seen):
    campaign: str
    ideas: list[IdeaSeen]
    total: int
    next_page: int | None


class IdeaDetail(Seen):
    idea: IdeaSeen
    verdicts: list[VerdictSeen]
    finding: FindingSeen | None
    patch: str
    """The idea with its patch as TOML, between marks; empty while withheld."""
    change: str
    """Unified diff of what was compared, between marks."""
    withheld: str
    """Why patch and change are not told."""
    failed_run: str | None
    """A run that did not end well: `run_log` shows what it printed."""


class FindingPage(Seen):
    findings: list[FindingSeen]
    total: int
    next_page: int | None


class RunPage(Seen):
    campaign: str
    runs: list[RunSeen]
    total: int
    next_page: int | None


class RunLog(Seen):
    run: RunSeen
    log: str
    """Last lines that it printed, between marks."""
    withheld: str


class SourceFile(Seen):
    path: str
    lines: int
    editable: bool


class SourceList(Seen):
    campaign: str
    of: str
    """original or trunk."""
    recipe: str
    adopted: list[str]
    """Changes that this source holds."""
    files: list[SourceFile]
    knobs: dict[str, str]
    """Knobs that `overrides` may set, with the values they have; empty until a first run has told them."""


class SourceText(Seen):
    path: str
    of: str
    first_line: int
    last_line: int
    lines: int
    text: str
    """Between marks; exactly as in the file."""


class Matches(Seen):
    of: str
    total: int
    text: str
    """`path:line: text` of those that are shown, between marks."""


class Rows(Seen):
    columns: list[str]
    rows: list[list[str | int | float | None]]
    cut: bool
    """Whether there are more rows than are shown."""


class Added(Seen):
    campaign: str
    name: str
    added: bool
    """False for a dry run, and where the same idea was there already."""
    fits: bool
    words: str
    """What does not fit, or what the idea waits for."""
    waits_for: list[str]
    """Ideas that bring what it lacks: it is tried once one of them is in the trunk."""
    after: int
    """Event number to `watch` from."""


class AblationAsked(Seen):
    campaign: str
    command: str
    """What a person has to run: nothing is trained before."""
    design: str
    runs: int
    new_runs: int
    """Those that were not trained already."""
    seconds: float | None
    event: int
    words: str


class Question(Seen):
    id: str
    """Give it to `answer`."""
    seat: str
    task: str
    step: int
    """Above 0: an earlier answer was sent back, and `asked` says why."""
    idea: str
    instructions: str
    asked: list[str]
    answer_schema: dict[str, Any]


class Outcome(Seen):
    name: str
    state: str
    note: str
    planted: str | None
    verdicts: list[str]
    finding: str
    """The claim in words; empty while there is none."""


class Watched(Seen):
    campaign: str
    state: str
    events: list[EventSeen]
    last: int
    """Give it as `after` next time."""
    more: bool
    """There are more events now: ask again at once."""
    ideas: list[Outcome]

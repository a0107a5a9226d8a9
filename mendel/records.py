"""The nouns of the lab, frozen.

Every stage takes records and returns records; nothing here imports the rest of mendel, so a record can
be read, stored and printed anywhere. Identity is content: two equal records have the same `id`.

Units: time is seconds; a compute multiplier (CM) is kept as its base-2 logarithm (`log2_cm`), because
logarithms add up over changes. Compute is FLOPs and loss is bits per byte, unless the testbed says otherwise:
then whatever is named `flops` is in its currency and whatever is called bits per byte in its unit
(`Fingerprint.currency`, `Fingerprint.unit`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Scalar = bool | int | float | str

IDEA_CLASSES = (
    "architecture",
    "attention",
    "initialisation",
    "optimiser",
    "schedule",
    "data",
    "shape",
    "regularisation",
    "embedding",
    "loss",
)


def content_hash(value: Any, length: int = 12) -> str:
    """First `length` hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def tree_hash(tree: Mapping[str, str]) -> str:
    """Content hash of a source tree (path -> text), whatever order its files were read in."""
    return content_hash(dict(tree))


class Record(BaseModel):
    """A frozen value. Unknown keys are errors, so that a typo in a file is never silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def id(self) -> str:
        """Content hash: equal records have equal ids."""
        return content_hash(self.model_dump(mode="json"))


# --- testbeds ---------------------------------------------------------------------------------------


BITS_PER_BYTE = "bits per byte"


class Trust(StrEnum):
    """Who says what a run's loss is."""

    SCORED = "scored"
    """Mendel: it asks the checkpoint for probabilities, in a process of its own, and audits the answers."""
    REPORTED = "reported"
    """The run: its loss is what its own code printed or wrote."""

    @property
    def words(self) -> str:
        """For a reader of a claim."""
        if self is Trust.SCORED:
            return "scored by Mendel from the checkpoint"
        return "reported by the run itself"

    @property
    def caveat(self) -> str:
        """Why a claim rests on less than it could, in a sentence; empty where it does not."""
        if self is Trust.SCORED:
            return ""
        return (
            "Weaker than a score by Mendel: the code under test says its own loss, on validation data of its "
            "own, so there is no text that only a confirmation reads, and no audit of what a model answers."
        )


class Currency(StrEnum):
    """What a testbed's budgets are counted in. All but FLOPs are told to a run and not counted: what a change
    makes a token, a step or a second cost is measured by the clock."""

    FLOPS = "flops"
    TOKENS = "tokens"
    STEPS = "steps"
    SECONDS = "seconds"

    @property
    def words(self) -> str:
        """As a unit behind a number."""
        return "FLOPs" if self is Currency.FLOPS else self.value

    @property
    def told(self) -> str:
        """What a run is told its budget in: counted FLOPs become tokens."""
        return "tokens" if self is Currency.FLOPS else self.value

    @property
    def each(self) -> str:
        """One of these."""
        return self.told.removesuffix("s")

    def amount(self, budget: float) -> str:
        """A run's budget in words: 400 steps, 12.5 seconds."""
        number = f"{budget:,}" if self.parts == 1 else f"{budget / self.parts:,g}"
        return f"{number} {self.told}"

    @property
    def parts(self) -> int:
        """A run's budget is a whole number: of FLOPs' tokens, of tokens, of steps, or of thousandths of a
        second, so many to the unit."""
        return 1000 if self is Currency.SECONDS else 1


class Rung(Record):
    """One scale of the ladder: a compute budget and one dial that the recipe maps to shapes and tokens."""

    compute: float = Field(gt=0)
    """Of one run, in the testbed's currency; of training FLOPs, those of the optimiser too."""
    timeout: float = Field(gt=0)
    """Seconds after which a run is ended and scored at the bound."""
    set: dict[str, Scalar] = {}
    """Configuration that makes the rung, such as its width and depth; a patch may override it."""


class Metric(Record):
    """How the loss is read from what a run prints or writes, where Mendel does not score it itself: it is a
    positive number, and less is better."""

    pattern: str = ""
    """Regular expression over the output, one group: the number. The last match counts."""
    file: str = ""
    """Or a file in the run's folder: JSON, or an object per line, of which the last with `key` counts."""
    key: str = ""
    unit: str = "loss"
    """What it is counted in, for readers: "nats per token"."""

    @model_validator(mode="after")
    def _one_way(self) -> Metric:
        if bool(self.pattern) == bool(self.file):
            raise ValueError("give either pattern, or file and key")
        if bool(self.file) != bool(self.key):
            raise ValueError("file and key go together")
        if self.pattern:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r:.80}: {error}") from None
            if groups != 1:
                raise ValueError(f"pattern {self.pattern!r:.80} has {groups} groups; one is the number")
        return self


class RunEdit(Record):
    """A change made to the source of every run, for what a trainer has no argument for: its seed, its length.

    `replace` has the placeholders of a command. Patches may not touch the text that is searched."""

    path: str
    search: str = Field(min_length=1)
    replace: str


class Span(Record):
    """Lines of an editable file that no patch may change: from the line that holds `first` to the next one
    that holds `last`, both included."""

    path: str
    first: str = Field(min_length=1)
    last: str = Field(min_length=1)

    def of(self, text: str) -> str:
        """These lines of the file's text. ValueError where they are not there, or ambiguous."""
        lines = text.splitlines(keepends=True)
        starts = [place for place, line in enumerate(lines) if self.first in line]
        if len(starts) != 1:
            raise ValueError(
                f"first: {self.first!r:.80} is in {len(starts)} lines of {self.path}; one is needed"
            )
        ends = [place for place in range(starts[0], len(lines)) if self.last in lines[place]]
        if not ends:
            after = f"from line {starts[0] + 1} on"
            raise ValueError(f"last: {self.last!r:.80} is in no line of {self.path} {after}")
        return "".join(lines[starts[0] : ends[0] + 1])


class Preparation(Record):
    """What is done once, before any run: a script that makes the files that runs read."""

    command: tuple[str, ...] = Field(min_length=1)
    """Script and arguments, run in a copy of the source; placeholders {data} {out}."""
    makes: tuple[str, ...] = Field(min_length=1)
    """Patterns of the files it makes there; runs find them at the same places."""
    timeout: float = Field(default=3600.0, gt=0, strict=True)


class Contract(Record):
    """What a `testbed.toml` says, as it says it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """What findings and reports call the testbed."""
    requirements: str = ""
    """A pip requirements or lock file: an environment is built from it, and its interpreter used."""
    image: str = ""
    """Container image that runs need, for docker and apptainer."""
    command: tuple[str, ...] = Field(min_length=1)
    """Script and arguments, or -m and a module, or torchrun; with placeholders."""
    override: tuple[str, ...] = ()
    """Arguments added for each configuration override, with placeholders {key} and {value}."""
    set: dict[str, Scalar] = {}
    """Configuration of all runs; a rung's comes on top."""
    edits: tuple[RunEdit, ...] = ()
    """Changes made to the source of every run, for what a trainer has no argument for: seed, length."""
    env: dict[str, str] = {}
    """Environment variables of every run."""
    score: str = ""
    """File with `load(dir) -> callable(tokens) -> log-probabilities`: Mendel scores the runs itself."""
    metric: Metric | None = None
    """Or how the loss is read from what a run prints or writes."""
    preload: tuple[str, ...] = ()
    """Modules that the idle parent of all runs imports once."""
    inputs: tuple[str, ...] = ()
    """Files and folders that runs read and `files` does not hold: data, tokenizers. Relative to the source,
    or absolute, or below ~."""
    prepare: Preparation | None = None
    """What is done once, before any run."""
    recipes: tuple[str, ...] = Field(default=("base",), min_length=1)
    """Names of the base recipes, the first one the default."""
    budget: Currency = Currency.FLOPS
    """What the budget of a run is counted in. FLOPs are counted with torch's operator counter."""
    smoke: float = Field(default=0.0, ge=0, strict=True)
    """Compute of the short run that shows that a patch works; 0 for one that suits the budget."""
    memory: float = Field(default=4e9, gt=0, strict=True)
    """Bytes one run may use."""
    disk: float = Field(default=2e9, gt=0, strict=True)
    """Bytes one run may write."""
    cpus: int = Field(default=1, ge=1, strict=True)
    """Threads and processes that compute in one run."""
    gpus: int = Field(default=0, ge=0, strict=True)
    """Graphics cards of one run."""

    @property
    def count_flops(self) -> bool:
        """Whether budgets are in FLOPs, which are counted when a patch is tried first."""
        return self.budget is Currency.FLOPS

    @property
    def unit(self) -> str:
        """What a loss is counted in."""
        return self.metric.unit if self.metric else BITS_PER_BYTE

    @property
    def trust(self) -> Trust:
        """Who says what a run's loss is."""
        return Trust.REPORTED if self.metric else Trust.SCORED


class Testbed(Contract):
    """The code being researched. Reached only through its `testbed.toml`."""

    __test__ = False  # the name begins with "Test": keep pytest from collecting it

    root: str
    """Absolute path of the folder with the source. Nothing is ever written there."""
    folder: str
    """Absolute path of the folder with `testbed.toml`."""
    python: str
    """Interpreter that runs the testbed."""
    files: tuple[str, ...]
    """All source files, relative to `root`; they are what a recipe's tree holds."""
    editable: tuple[str, ...]
    """The files a patch may touch."""
    protected: tuple[Span, ...] = ()
    """Lines of these that it may not."""
    protected_files: tuple[str, ...] = Field(default=(), exclude=True)
    """Files that `testbed.toml` protects by name. Not editable anyway: no run rests on whether it says so."""
    rungs: tuple[Rung, ...] = Field(min_length=1)


NO_FILES = content_hash([])
"""What stands for a corpus where runs read nothing but their source."""


class Fingerprint(Record):
    """What a loss depends on besides the recipe. Runs of different fingerprints are never paired."""

    device: str
    instruction_set: str
    threads: int
    precision: str
    libraries: dict[str, str]
    corpus: str
    """Content hash of the text, and of other files that runs read."""
    unit: str = BITS_PER_BYTE
    """What losses are counted in."""
    trust: Trust = Trust.SCORED
    """Who says what they are."""
    currency: Currency = Currency.FLOPS
    """What budgets are counted in."""

    @property
    def reported(self) -> bool:
        """Whether the runs say their own loss."""
        return self.trust is Trust.REPORTED

    @property
    def counts_flops(self) -> bool:
        """Whether budgets are in FLOPs, which are counted."""
        return self.currency is Currency.FLOPS

    @property
    def clock(self) -> str:
        """What the clock charges: the time that passed where cards did the work."""
        return "seconds" if self.device.startswith("cuda") else "CPU seconds"

    @property
    def losses(self) -> dict[str, str]:
        """What JSON says of how losses and budgets come about."""
        return {"unit": self.unit, "trust": self.trust.value, "currency": self.currency.words}

    @model_serializer(mode="wrap")
    def _without_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out how losses and budgets come about where they do as ever: fingerprints are older than
        these keys."""
        written: dict[str, Any] = write(self)
        usual = {"unit": BITS_PER_BYTE, "trust": Trust.SCORED, "currency": Currency.FLOPS}
        return {key: value for key, value in written.items() if usual.get(key) != value}


# --- recipes, ideas and patches ---------------------------------------------------------------------


class Recipe(Record):
    """A full setting of a testbed: a source tree (by hash), a base configuration, and overrides."""

    testbed: str
    tree: str
    """Hash of the source files; the store keeps the tree under this name."""
    base: str
    overrides: dict[str, Scalar] = {}


class Edit(Record):
    """Replace `search`, which must occur exactly once in `path`, by `replace`."""

    path: str
    search: str = Field(min_length=1)
    replace: str


class Range(Record):
    """Where a numeric knob is searched, both ends included."""

    low: float = Field(strict=True, allow_inf_nan=False)
    high: float = Field(strict=True, allow_inf_nan=False)
    log: bool = Field(default=False, strict=True)
    """Search its logarithm: for knobs whose ratios matter."""
    integer: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _holds_a_number(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low:g} must be above 0 where log = true")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(
                f"low = {self.low:g} and high = {self.high:g} must be whole where integer = true"
            )
        return self

    def __str__(self) -> str:
        scale = ", by its logarithm" * self.log + ", whole numbers" * self.integer
        return f"from {self.low:g} to {self.high:g}{scale}"

    @property
    def middle(self) -> int | float:
        """The value half way, as searched."""
        middle = math.sqrt(self.low) * math.sqrt(self.high) if self.log else self.low / 2 + self.high / 2
        return round(middle) if self.integer else middle


class Patch(Record):
    """An idea as code: exact edits and/or configuration overrides against one recipe, and knobs to tune."""

    edits: tuple[Edit, ...] = ()
    overrides: dict[str, Scalar] = {}
    slot: str | None = None
    """Patches of one slot are alternatives to the same thing (the optimiser, the activation)."""
    tune: dict[str, Range] = {}
    """Knobs whose values are searched before the idea is compared with anything; an override of one is where
    the search begins. Empty once they are found."""
    tuned: tuple[str, ...] = ()
    """Overrides whose values such a search found: they may replace those of the trunk it was made on."""

    @model_validator(mode="after")
    def _not_empty(self) -> Patch:
        if not self.edits and not self.overrides and not self.tune:
            raise ValueError("a patch needs at least one edit or one override, or a knob to tune")
        return self

    @model_validator(mode="after")
    def _tunes_numbers(self) -> Patch:
        for key in self.tune.keys() & self.overrides.keys():
            if isinstance(self.overrides[key], bool | str):
                raise ValueError(f"{key} = {self.overrides[key]!r}: a tuned knob starts at a number")
        if self.overrides and not self.edits and self.overrides.keys() <= self.tune.keys():
            named = ", ".join(self.overrides)
            raise ValueError(f"{named}: tuned, and nothing else is changed: leave out the overrides")
        for key in self.tuned:
            if key not in self.overrides:
                raise ValueError(f"tuned: {key!r} is not one of the overrides ({', '.join(self.overrides)})")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what patches without tuned knobs have not: their ids are older than these keys."""
        written: dict[str, Any] = write(self)
        return {key: value for key, value in written.items() if value or key not in ("tune", "tuned")}

    @property
    def only_tunes(self) -> bool:
        """Whether it is nothing but knobs whose values are yet to be found."""
        return not self.edits and not self.overrides


class Forecast(Record):
    """What someone expects of an idea before it is run; scored once the outcome is known."""

    mean: float
    """Expected log2 compute multiplier."""
    sd: float = Field(gt=0)
    p_runs: float = Field(default=0.95, ge=0, le=1)


class Idea(Record):
    """A hypothesis in words, with the patch that tests it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    idea_class: str
    hypothesis: str
    mechanism: str
    citation: str
    forecast: Forecast
    patch: Patch
    proposer: str = "catalog"

    @model_validator(mode="after")
    def _known_class(self) -> Idea:
        if self.idea_class not in IDEA_CLASSES:
            raise ValueError(f"idea_class {self.idea_class!r} is not one of {', '.join(IDEA_CLASSES)}")
        return self


KNOWN_GAIN = "gain "
"""Kinds of planted ideas that begin so are positive controls; the rest is their gain in log2 CM."""


def known_gain(kind: str) -> float:
    """log2 CM that the lab gives to planted ideas of a kind, such as "gain 0.25"; 0 for blanks and harms."""
    return float(kind.removeprefix(KNOWN_GAIN)) if kind.startswith(KNOWN_GAIN) else 0.0


class Trunk(Record):
    """The current best recipe: a base and the ordered names of the adopted ideas on top of it."""

    base: Recipe
    adopted: tuple[Idea, ...] = ()


# --- runs -------------------------------------------------------------------------------------------


class Shard(StrEnum):
    """Text a run is scored on. Nothing but a confirmation reads the held-out shard."""

    VALIDATION = "validation"
    HELD_OUT = "held_out"


class RunSpec(Record):
    """One training of one recipe at one rung with one seed, scored on one shard. Its id is the run's."""

    recipe: str
    """Recipe id."""
    rung: int = Field(ge=0)
    seed: int = Field(ge=0)
    tokens: int = Field(gt=0)
    shard: Shard
    fingerprint: str
    """Fingerprint id."""


class RunStatus(StrEnum):
    DONE = "done"
    DIVERGED = "diverged"
    """A loss or score that is not finite."""
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    CRASHED = "crashed"
    REJECTED = "rejected"
    """An audit saw a violation while the run was scored."""
    STOPPED = "stopped early"
    """The lab ended it: what it had shown said how it would end."""


AUDITS = {
    "code": "the patch reaches beyond the trainer",
    "sandbox": "the patch ran into a wall or a limit of the sandbox",
    "future": "predictions depend on the text they predict or on later text",
    "sums": "predictions are not probabilities",
    "batch": "predictions depend on other sequences of the batch",
    "state": "predictions depend on what was asked before",
    "compute": "it used more compute than it was charged",
    "leak": "it knows text that it is scored on",
    "seed": "seed or data order were changed instead of an idea",
    "protected": "it changes lines that the testbed protects",
    "numbers": "numbers of its log were not measured",
    "fresh": "the gain vanishes on fresh seeds",
}
"""What an audit can find: all that whoever proposed the patch is told."""


class Audit(Record):
    """What one audit of a run or of an idea found; complete, so for the user only."""

    name: str
    passed: bool
    reason: str
    """One line."""
    evidence: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _known(self) -> Audit:
        if self.name not in AUDITS:
            raise ValueError(f"audit {self.name!r} is not one of {', '.join(AUDITS)}")
        return self


class Skill(Record):
    """How well a run answers one kind of question: two prompts, each one's answer the other one's foil."""

    accuracy: float = Field(ge=0, le=1)
    """Share of the questions whose answers it would give to the right prompts."""
    advantage: float
    """Mean of log2 p(answer) - log2 p(foil): bits."""


SKILL_CHANCE = 0.5
"""Accuracy of a run that cannot tell; its advantage is 0."""


class Stopped(Record):
    """A run that was not finished because its end was clear."""

    at: float = Field(gt=0, lt=1)
    """Share of its tokens."""
    expected: float
    """Bits per byte that it would have ended at."""


class RunResult(Record):
    """What the lab measured of a run; nothing here is a number that the run printed of itself, but `tokens`,
    which its reader counted, what is expected of one that was stopped early by its log, and the loss where
    the testbed's runs report it."""

    status: RunStatus
    bits_per_byte: float | None = None
    """The loss, in the campaign's unit: bits per byte of the checkpoint, by the yardstick, or what the run
    reported in another unit (`Fingerprint.unit`). None unless `status` is done."""
    tokens: int = 0
    flops: float = 0.0
    """Only where the run was counted (smoke runs)."""
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """User and system CPU time of the training process."""
    score_seconds: float = 0.0
    score_cpu_seconds: float = 0.0
    """Of the process that answered for the score."""
    skills: dict[str, Skill | None] = {}
    """By skill and span (`copying/32`); None where the model cannot look back that far. Empty where nothing
    was asked."""
    windows: tuple[float, ...] = ()
    """Bits per byte of each window of that text, of runs that effects are told by."""
    beside: dict[str, float] = {}
    """Bits per byte on what else it was asked about: "train" for its training text, "canary", "decoy"."""
    audits: tuple[Audit, ...] = ()
    """What its answers were searched for while it was scored."""
    audit_seconds: float = 0.0
    """In which it was audited: asked more than a score needs, and its answers and files searched."""
    reason: str = ""
    """One line: why it is not done."""
    stopped: Stopped | None = None

    @model_validator(mode="after")
    def _scored_when_done(self) -> RunResult:
        if (self.status is RunStatus.DONE) != (self.bits_per_byte is not None):
            raise ValueError("a run has bits_per_byte exactly when its status is done")
        return self


# --- plans and verdicts -----------------------------------------------------------------------------


class PlanKind(StrEnum):
    CURVE = "curve"
    """Runs of one recipe at several budgets: its scaling curve."""
    SCREEN = "screen"
    CONFIRM = "confirm"
    ESTIMATE = "estimate"
    """Fresh pairs after the claim: effect sizes that selection did not flatter."""
    VERIFY = "verify"
    """The trunk against the original recipe."""
    RECHECK = "recheck"
    """The trunk against the original, and against itself without each adopted change."""
    CLIMB = "climb"
    """An adopted idea at a higher rung, against the control that it was claimed on."""
    TUNE = "tune"
    """Runs in search of knobs' values. They choose and are no evidence; no plan is made of them."""
    HALVES = "halves"
    """Random halves of a cohort against each other, on fresh seeds: the pairs of a joint confirmation."""


class Rule(Record):
    """The decision rule of a plan, fixed before its first run."""

    alpha: float = Field(default=0.05, gt=0, lt=1)
    planned: int = Field(default=1, ge=1)
    """Number of ideas the campaign plans to confirm: the weights of e-BH are 1 / planned."""
    min_gain: float = Field(default=0.01, ge=0)
    """m of the null hypothesis `log2 CM <= m`."""
    min_loss_gain: float = 0.0
    """m in bits per byte, through the control's curve."""
    bound: float = Field(default=1.0, gt=0)
    """Differences are clipped to +-bound (bits per byte); a failed treatment scores -bound."""
    noise: float = Field(default=0.0, ge=0)
    """Paired sd, bits per byte, known before the first pair from the ideas of a screen."""
    noise_pairs: int = Field(default=0, ge=0)
    """Pairs that this knowledge counts for: the more alike the noise of ideas is, the more; 0 unknown."""
    min_pairs: int = 5
    max_pairs: int = 12
    unit: str = BITS_PER_BYTE
    """What losses are counted in: for the words of a verdict."""

    @model_serializer(mode="wrap")
    def _without_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the usual unit: plans are older than this key."""
        written: dict[str, Any] = write(self)
        return {key: value for key, value in written.items() if (key, value) != ("unit", BITS_PER_BYTE)}


class Plan(Record):
    """Fixed before any of its runs: control, treatment, rung, seeds, budgets, decision rule."""

    kind: PlanKind
    round: int
    idea: str | None
    """Name of the idea, None for curves and checks of the trunk."""
    control: str
    treatment: str
    """Recipe ids."""
    rung: int
    seeds: tuple[int, ...]
    control_tokens: int = Field(gt=0)
    treatment_tokens: int = Field(gt=0)
    cost_ratio: float = Field(gt=0)
    """Treatment's cost per token over the control's, as charged."""
    shard: Shard
    rule: Rule = Rule()

    def runs(self, seed: int, fingerprint: str) -> tuple[RunSpec, RunSpec]:
        """The control and the treatment run of one pair."""
        common = {"rung": self.rung, "seed": seed, "shard": self.shard, "fingerprint": fingerprint}
        return (
            RunSpec(recipe=self.control, tokens=self.control_tokens, **common),
            RunSpec(recipe=self.treatment, tokens=self.treatment_tokens, **common),
        )


class VerdictKind(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    NO_DIFFERENCE_SHOWN = "no difference shown"
    STALE = "stale"
    FAILED = "failed"
    """The patch does not apply, does not run, or every treatment run failed."""
    REJECTED = "rejected"
    """An audit found a violation: the numbers are not about the idea."""


class Interval(Record):
    """An estimate with its interval, and the level of that interval."""

    value: float
    low: float
    high: float
    level: float = 0.95
    bounded: bool = False
    """True when the value was cut at the edge of the measured curve: read it as `>= value`."""
    high_bounded: bool = False
    """True when `high` was cut at the edge of the measured curve: read it as `>= high`."""
    extrapolated: bool = Field(default=False, exclude_if=lambda beyond: not beyond)
    """True when the value was read off the curve well beyond its longest run: another form of curve would
    give another one. Written only where it is true: verdicts are older than this key."""


class Verdict(Record):
    """What a plan's pairs say."""

    plan: str
    """Plan id."""
    kind: VerdictKind
    pairs: int
    failures: int = 0
    difference: Interval | None = None
    """Paired difference control - treatment in bits per byte (positive: the treatment is better)."""
    log2_cm: Interval | None = None
    log_e_t: float = 0.0
    """Natural logarithm of the t-mixture e-value."""
    log_e_sign: float = 0.0
    """Natural logarithm of the sign-flip e-value."""
    per_bit: float | None = None
    """log2 CM of one bit per byte at the control's place on its curve."""
    stopped: int = 0
    """Pairs whose treatment was stopped early: what was expected of it stands for it."""
    together: int = 0
    """Ideas whose random halves were compared with each other; 0: it had pairs of its own."""
    freedom: int = 0
    """Degrees of freedom of the difference's interval, where the noise of other ideas is in it; 0: one less
    than pairs."""
    probability: float | None = None
    """Of a screen: that the gain is above the smallest of interest, as the ideas together let one believe."""
    selected: Interval | None = None
    """Of a claim: the difference with an interval that holds although it was claimed (e-BY)."""
    reason: str = ""


class SkillEffect(Record):
    """Treatment against control on one kind of question. It describes: nothing is decided by it."""

    skill: str
    """Skill and span, such as `copying/32`."""
    pairs: int
    control_accuracy: float
    treatment_accuracy: float
    """Means over the pairs; `SKILL_CHANCE` is what a run gets that cannot tell."""
    control_advantage: float
    control_sd: float
    """Mean of the control's advantage in bits, and its standard deviation from seed to seed."""
    gain: Interval
    """Paired difference of advantages, treatment - control, in bits (positive: the treatment is better)."""


class Transfer(StrEnum):
    """Whether a finding's gain is there at a higher rung, too: what the highest one says that measured it."""

    TRANSFERS = "transfers"
    """Its interval lies above the smallest gain worth having."""
    DOES_NOT = "does not transfer"
    """Its interval lies below."""
    NOT_SHOWN = "not shown"
    """Neither."""
    NOT_MEASURED = "not measured"


class RungEffect(Record):
    """The gain of an idea at one rung, over the same control at each."""

    rung: int
    flops: float
    """Compute of a run."""
    pairs: int
    log2_cm: Interval
    verdict: str
    """Verdict id."""


class Extrapolation(Record):
    """Where the trend of a gain over compute leads."""

    flops: float
    """The target scale."""
    currency: str = "FLOPs"
    """What compute is counted in, in words: FLOPs, tokens, steps or seconds."""
    log2_cm: Interval
    """Of the true gain there: errors of measurement, of the slope, and the differences between ideas."""
    probability: float
    """That the gain there is above the smallest one worth having."""
    slope: Interval
    """log2 CM per doubling of compute."""
    band: tuple[tuple[float, float, float, float], ...] = ()
    """(FLOPs, log2 CM, low, high) from the lowest rung to the target, to draw."""


class Finding(Record):
    """A claim backed by verdicts: what changed, by how much, where, and what would refute it."""

    idea: Idea
    round: int
    control: str
    treatment: str
    rung: int
    cost_ratio: float
    cpu_ratio: Interval | None = None
    log2_cm: Interval
    """From fresh pairs measured after the claim, or else `shrunk`."""
    shrunk: bool = False
    """From screening and confirmation, shrunk towards what was expected."""
    together: int = 0
    """Ideas in whose random halves it was confirmed; 0: on pairs of its own."""
    verdicts: tuple[str, ...]
    """Verdict ids: screen, confirm, estimate."""
    runs: int
    adopted: bool
    evicted: str = ""
    """When and why the trunk lost it again; empty while nothing took it out for what it earns."""
    refuted_by: str
    skills: tuple[SkillEffect, ...] = ()
    """From the same pairs; empty where nothing was asked."""
    transfer: Transfer = Transfer.NOT_MEASURED
    by_rung: tuple[RungEffect, ...] = ()
    """What it gains at the lowest rung and at higher ones; empty until it climbs."""
    extrapolation: Extrapolation | None = None
    transfer_words: str = ""
    """The same in a sentence."""

    @property
    def measured(self) -> str:
        """Where its effect comes from, in words after the number."""
        if self.together:
            return f"beside random halves of {self.together - 1} others, shrunk"
        return "by screening and confirmation, shrunk" if self.shrunk else "on fresh pairs"


# --- the trunk rechecked ------------------------------------------------------------------------------


class Standing(StrEnum):
    """What a recheck says of an adopted change."""

    EARNS = "earns"
    """Shown to add more than the smallest gain worth having."""
    UNDECIDED = "undecided"
    """It stays: an adopted change has a claim behind it, and doubt is no evidence against it."""
    EVICTED = "evicted"
    UNTESTED = "not tested"
    """The trunk does not run without it."""


class Earning(Record):
    """What an adopted change still adds: the trunk against the trunk without it, on fresh seeds."""

    name: str
    with_it: tuple[str, ...] = ()
    """Adopted changes that do not fit without it: they are left out with it."""
    standing: Standing
    pairs: int = 0
    difference: Interval | None = None
    """Bits per byte that it adds. The intervals of all changes hold at once, at every look."""
    log2_cm: Interval | None = None
    """The same as compute of the original; with the noise of its scaling curve."""
    at_adoption: Interval | None = None
    """log2 CM on fresh pairs over the trunk that it joined."""
    reason: str = ""


class Interaction(Record):
    """What two adopted changes add together beyond the sum of what each adds, the others being in."""

    changes: tuple[str, str]
    pairs: int
    log2_cm: Interval
    """Negative: they overlap. The intervals of all pairs that were measured hold at once."""


class Recheck(Record):
    """The trunk measured again on seeds that chose nothing, and what each of its changes still adds."""

    round: int
    """The round before which it was made."""
    attempt: int
    """0, and one more for each eviction: what is left is looked at again."""
    rung: int
    recipe: str
    """Id of the trunk's recipe."""
    adopted: tuple[str, ...]
    whole: Interval
    """log2 CM of the trunk over the original."""
    sum_at_adoption: Interval | None = None
    """Sum of the changes' effects when they were adopted."""
    beyond_adoption: Interval | None = None
    """`whole` minus that sum."""
    beyond_last: Interval | None = None
    """`whole` minus the sum of what each adds now: above zero where changes overlap, below where they help
    each other."""
    least: float
    """log2 CM that a change must add."""
    changes: tuple[Earning, ...]
    interactions: tuple[Interaction, ...] = ()
    summary: tuple[str, ...] = ()
    """The same in sentences."""

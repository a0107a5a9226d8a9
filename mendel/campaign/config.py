"""What a campaign is asked to do: one record, read from `mendel.toml`, the environment and the command line.

The record is stored with the campaign and its hash finds the campaign again: the same command continues it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mendel.campaign.budget import Budget, parse_budget
from mendel.inputs import first_of, refusal
from mendel.records import Record
from mendel.researchers.settings import Researchers

FILE = "mendel.toml"
TEMPLATE = """\
# What a campaign is asked to do. Every key may be left out; the command line overrides.
goal = "Train to a lower loss for the same compute."
testbed = "{testbed}"        # or a folder with a testbed.toml
recipe = ""            # base recipe, one of: {recipes}; empty for the first
data = "default"       # or a folder of .txt, .jsonl (key "text") or .parquet (column "text") files
ideas = "catalog"      # or "blanks", "none" (those of researchers alone), or a file of ideas
seed = 1               # another seed is another campaign
budget = "20m"         # time (90s, 20m, 1.5h) or runs (300runs: repeatable on any machine of its kind)
# max_usd = 5.0        # end when the workers have cost this much
usd_per_hour = 0.0     # price of one worker; max_usd needs it
rungs = [0]            # ascending, from 0 to {rungs}; changes climb them, and the trunk is checked at each
workers = 0            # runs at a time; 0 for one per core
sandbox = "auto"       # namespaces, bubblewrap, landlock; docker or apptainer with image = "..."
image = ""             # container image of the testbed, for docker and apptainer

[policy]               # counts are pairs of runs unless they say otherwise
# What counts
alpha = 0.05           # false-discovery rate of the whole campaign
min_gain = 0.01        # log2 compute multiplier that a change must beat to count
planned = 0            # ideas to confirm, the weights of e-BH; 0 for what queue and budget allow
blank_share = 0.15     # share of the queue that is planted and changes nothing
positive_share = 0.01  # share that is planted and has a known gain
# Screening
screen_ideas = 64      # most ideas of one round
screen_pairs = 1       # for every screened idea; what enters confirmation has two at least
more_screen_pairs = 2  # further ones for ideas whose gain is still in doubt
forward = 4            # ideas tried at once on top of what the round has kept; 0: each alone on the trunk
early_stop = 0.01      # chance of a gain above min_gain below which a run is not finished; 0: all are
tune_trials = 8        # runs of a search for the knobs of an idea; as many for its control
tune_sampler = "tpe"   # or "cma-es", for two or more knobs that are no whole numbers
# Confirmation and effect sizes
enter = 1.0            # an idea enters where its gain is worth so many times the compute; 0: all do
cohort = 16            # most ideas confirmed in one round
together = true        # in random halves against each other where that is cheaper; false: one by one
max_pairs = 12         # most of one confirmation
estimate_pairs = 6     # fresh ones behind the effect size of a claim
curve_seeds = 3        # seeds at each budget of a scaling curve
# The trunk
recheck_after = 3      # newly adopted changes after which it is rechecked
recheck_pairs = 6      # for each of its changes
recheck_max_pairs = 12 # most for a change that is in doubt
climb_pairs = 6        # of an adopted change at a higher rung
climb = 1.0            # it climbs where that is worth so many times the compute; 0: as soon as there is room
target_flops = 0.0     # compute of the run that all this is for; 0 for the highest rung
verify_pairs = 8       # of the trunk with the original at the end

[researchers]          # language models that propose, write, debug and explain; they decide nothing
who = "none"           # "models" (needs a key: ANTHROPIC_API_KEY), or "external": agents, by mendel mcp
ideas = 4              # asked for before each round
attempts = 3           # repairs of a patch that does not run
batch = false          # true: forecasts in batches, at half the price; late ones join the next round
review = false         # true: patches wait for mendel review before they run
guidance = ""          # a file that the proposer reads before each round
patience = 120         # seconds for which a provider that is down is asked again

[researchers.limits]   # usd, tokens, seconds; what is in flight counts
campaign = {{ usd = 20.0 }}
day = {{ usd = 100.0 }}
idea = {{ usd = 2.0 }}
# seat = {{ usd = 10.0 }}

[researchers.models]   # any provider:model of pydantic-ai; "" leaves a seat empty
proposer = "anthropic:claude-opus-5-5"
engineer = "anthropic:claude-opus-5-5"
debugger = "anthropic:claude-opus-5-5"
forecasters = ["anthropic:claude-haiku-5-5", "anthropic:claude-sonnet-5-5"]
novelty = "anthropic:claude-haiku-5-5"
analyst = "anthropic:claude-haiku-5-5"
librarian = "anthropic:claude-haiku-5-5"
"""
"""What `mendel init` writes."""


class ConfigError(ValueError):
    """A setting that cannot be used: the message names its place, key and value, and what is allowed."""


def read_rungs(text: str) -> list[int]:
    """Rungs as written: `0` or `0-2`. Raises ConfigError."""
    first, dash, last = text.partition("-")
    try:
        return list(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        raise ConfigError(f"command line: rungs: {text!r} is not understood; allowed are 0 or 0-2") from None


class Policy(Record):
    """How evidence is bought. Counts are pairs of runs unless they say otherwise."""

    screen_ideas: int = Field(default=64, ge=1)
    """Most ideas screened in one round."""
    screen_pairs: int = Field(default=1, ge=1)
    """Pairs every screened idea gets; what enters confirmation has two at least."""
    more_screen_pairs: int = Field(default=2, ge=0)
    """Further pairs for ideas whose gain is still in doubt."""
    forward: int = Field(default=4, ge=0)
    """Ideas that are tried at once on top of what the round has kept so far; 0: each alone on the trunk, as
    they are where `enter` is 0."""
    early_stop: float = Field(default=0.01, ge=0, lt=0.5)
    """Chance of a gain above `min_gain` below which a screening run is not finished; 0: all are."""
    cohort: int = Field(default=16, ge=1)
    """Most ideas confirmed in one round."""
    together: bool = True
    """Confirm ideas in random halves against each other where that is cheaper; false: one by one."""
    max_pairs: int = Field(default=12, ge=5)
    """Most pairs of one confirmation."""
    estimate_pairs: int = Field(default=6, ge=3)
    """Fresh pairs behind the effect size of a claim."""
    verify_pairs: int = Field(default=8, ge=3)
    """Fresh pairs of trunk against original at the end."""
    recheck_after: int = Field(default=3, ge=1)
    """Newly adopted changes after which the trunk is rechecked; it also is before the last check."""
    recheck_pairs: int = Field(default=6, ge=3)
    """Fresh pairs of the trunk with the original, and with itself without each adopted change."""
    recheck_max_pairs: int = Field(default=12, ge=3)
    """Most pairs for a change that is neither shown to earn its place nor shown not to."""
    climb_pairs: int = Field(default=6, ge=3)
    """Fresh pairs of an adopted change at a higher rung."""
    climb: float = Field(default=1.0, ge=0)
    """An adopted change climbs where that is worth so many times the compute; 0: as soon as there is room."""
    target_flops: float = Field(default=0.0, ge=0)
    """Compute of the run that the campaign is for: gains are extrapolated to it, and no rung above it is
    climbed; 0 for the highest rung."""
    tune_trials: int = Field(default=8, ge=3)
    """Runs of a search for the knobs of an idea, the recipe as it stands among them; so many again for its
    control."""
    tune_sampler: Literal["tpe", "cma-es"] = "tpe"
    """How knobs are searched; "cma-es" takes two or more that are no whole numbers, else it is TPE."""
    curve_seeds: int = Field(default=3, ge=2)
    """Seeds at each budget of a scaling curve."""
    enter: float = Field(default=1.0, ge=0)
    """An idea enters confirmation where its expected gain is worth so many times the compute; 0: all do."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """False-discovery rate of the whole campaign."""
    planned: int = Field(default=0, ge=0)
    """Ideas the campaign plans to confirm, the weights of e-BH; 0 for what its queue and its budget allow."""
    min_gain: float = Field(default=0.01, ge=0)
    """log2 CM that a change must beat to count."""
    blank_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the queue that is planted and changes nothing."""
    positive_share: float = Field(default=0.01, ge=0, lt=1)
    """Share of the queue that is planted and has a known gain."""


class CampaignConfig(Record):
    """A goal, a testbed, a budget and policies."""

    goal: str = "Train to a lower loss for the same compute."
    testbed: str = "gpt"
    """Name of a built-in testbed, or a folder with a testbed.toml."""
    recipe: str = ""
    """Base recipe; empty for the testbed's first."""
    data: str = "default"
    """"default", or a folder of text."""
    ideas: str = "catalog"
    """"catalog", "blanks", "none" (those of researchers alone), or a file of ideas."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    budget: Budget = Budget(seconds=1200.0)
    max_usd: float | None = Field(default=None, gt=0)
    """End when workers have cost this much."""
    usd_per_hour: float = Field(default=0.0, ge=0)
    """Price of one worker."""
    rungs: tuple[int, ...] = (0,)
    """Rungs to use: screening and confirmation at the first, adopted changes climb, a last check at all."""
    workers: int = Field(default=0, ge=0)
    """Runs at a time; 0 for one per core."""
    sandbox: Literal["auto", "namespaces", "bubblewrap", "landlock", "docker", "apptainer", "none"] = "auto"
    """What keeps patch code away from the machine; "auto" takes the best there is and never none."""
    image: str = ""
    """Container image of the testbed, for docker and apptainer."""
    policy: Policy = Policy()
    researchers: Researchers = Researchers()
    """Language models that take part."""

    @property
    def goes_forward(self) -> bool:
        """Whether ideas are screened on top of each other. Where all are blanks, there is nothing to keep."""
        return self.policy.forward > 0 and self.policy.enter > 0 and self.ideas != "blanks"

    @field_validator("budget", mode="before")
    @classmethod
    def _read_budget(cls, value: Any) -> Any:
        if isinstance(value, Budget | dict):  # as stored
            return value
        return parse_budget(value if isinstance(value, str) else repr(value))

    @field_validator("testbed", "data", "ideas")
    @classmethod
    def _absolute(cls, value: str) -> str:
        """A campaign is found again by its settings, from whatever folder it is continued."""
        return str(Path(value).absolute()) if Path(value).exists() else value

    @field_validator("researchers")
    @classmethod
    def _guided(cls, value: Researchers) -> Researchers:
        path = Path(value.guidance)
        if value.guidance and not path.is_file():
            raise ValueError(f"guidance: there is no file {value.guidance!r}")
        return value.model_copy(update={"guidance": str(path.absolute())}) if value.guidance else value

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if list(rungs) != sorted(set(rungs)) or not rungs:
            raise ValueError("give at least one rung; different ones, in ascending order")
        return rungs

    @model_validator(mode="after")
    def _has_ideas(self) -> CampaignConfig:
        if self.ideas == "none" and not self.researchers.seated:
            raise ValueError('ideas = "none" needs researchers.who = "models" or "external"')
        return self

    @model_validator(mode="after")
    def _priced(self) -> CampaignConfig:
        if self.max_usd is not None and not self.usd_per_hour:
            raise ValueError("max_usd needs usd_per_hour, the price of one worker")
        return self


def same_settings(stored: Mapping[str, Any], config: CampaignConfig) -> bool:
    """Whether a campaign was begun with these settings. Those that are newer than it have their defaults: an
    update must not make an unfinished campaign begin anew."""
    if "policy" not in stored:  # other entries of the store keep a few settings and no policy
        return False
    defaults = CampaignConfig().model_dump(mode="json")
    policy = {**defaults["policy"], **stored["policy"]}
    return {**defaults, **stored, "policy": policy} == config.model_dump(mode="json")


class Settings(BaseSettings):
    """Where the lab keeps things; from the environment (`MENDEL_ROOT`, `MENDEL_DATABASE_URL`, ...)."""

    model_config = SettingsConfigDict(env_prefix="MENDEL_", validate_default=True)

    root: Path = Path(".mendel")
    """Folder of the store, the corpora and the reports."""
    database_url: str | None = None
    """SQLAlchemy URL; a SQLite file in `root` when not set."""
    database_timeout: float = Field(default=30.0, gt=0)
    """Seconds to wait for another writer."""

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: Path) -> Path:
        return root.absolute()  # runs have working folders of their own


def read_settings() -> Settings:
    """The environment's settings. Raises ConfigError, naming variable, value and what is allowed."""
    try:
        return Settings()
    except ValidationError as error:
        name, said = refusal(error, Settings).split(": ", 1)
        raise ConfigError(f"environment: MENDEL_{name.upper()}: {said}") from None


def read_config(file: Path | None, changes: dict[str, Any]) -> CampaignConfig:
    """The settings in `file` (the working folder's mendel.toml if there is one), with `changes` on top.

    Raises ConfigError, naming file, key, value and what is allowed.
    """
    table: dict[str, Any] = {}
    path = file or Path(FILE)
    if file is not None and not path.is_file():
        raise ConfigError(f"{path}: no such file; `mendel init` writes one")
    if path.exists():
        try:
            table = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; it must be a file of settings") from None
    if table.get("sandbox") == "none":  # a file is copied further than a warning
        raise ConfigError(f"{path}: sandbox: 'none' is not for a file; give --unsafe-no-sandbox each time")
    policy = table.pop("policy", {})
    if not isinstance(policy, dict):
        raise ConfigError(f"{path}: policy: {policy!r:.60} is not a table; write its keys below [policy]")
    policy = {**policy, **changes.pop("policy", {})}
    seats = table.pop("researchers", {})
    if isinstance(seats, dict):  # what is not is refused with the rest
        seats = {**seats, **changes.pop("researchers", {})}
    try:
        return CampaignConfig.model_validate({**table, **changes, "policy": policy, "researchers": seats})
    except ValidationError as error:
        place = first_of(error)["loc"]
        where = "command line" if place and place[0] in changes else str(path)
        raise ConfigError(f"{where}: {refusal(error, CampaignConfig)}") from None

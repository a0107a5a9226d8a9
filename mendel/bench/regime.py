"""A regime: what kind of campaign is simulated. One frozen record, read from a TOML file.

Effects are in paired standard deviations: 1 is as much as two runs of a pair differ by chance. They add up
when several ideas are adopted, on average over what they are adopted with (`tangle`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from mendel.inputs import refusal
from mendel.records import Record

NoiseShape = Literal["gaussian", "t3", "rare gains", "rare losses", "two-valued gains", "two-valued losses"]
FOLDER = Path(__file__).parent / "regimes"


class RegimeError(ValueError):
    """A regime that cannot be used: the message names file, key and value, and what is allowed."""


class Regime(Record):
    """One kind of simulated campaign."""

    name: str
    ideas: int = Field(default=100, ge=1, le=20_000)
    budget: float = Field(default=400.0, gt=0, le=1e6)
    """Compute of the campaign, in control runs at the speed of its beginning."""
    nulls: float = Field(default=0.30, ge=0, le=1)
    """Share of ideas that gain nothing worth having."""
    edge: float = Field(default=0.2, ge=0, le=1)
    """Share of these that gain exactly `min_gain`, the hardest null; the others do nothing at all."""
    harms: float = Field(default=0.55, ge=0, le=1)
    """Share of ideas that do harm; what nulls and harms leave is helpful."""
    min_gain: float = Field(default=0.25, ge=0)
    """m, the smallest gain of interest, in paired sd. A claim is false where the true gain is at most
    this."""
    gain: float = Field(default=1.5, gt=0)
    """Mean of a helpful idea's gain above `min_gain`, in paired sd."""
    gain_shape: Literal["exponential", "half-normal", "constant", "pareto"] = "exponential"
    """Distribution of gains and of harms; "pareto" has tail exponent 2.5."""
    harm: float = Field(default=1.5, gt=0)
    """Mean loss of a harm, in paired sd."""
    paired_sd: float = Field(default=0.015, gt=0)
    """Standard deviation of the loss difference of a pair, bits per byte; the root mean square over ideas."""
    noise_spread: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation of the natural logarithm of the paired sd over ideas: some changes hardly disturb
    a run, others make another run of it."""
    unpaired: float = Field(default=2.3, ge=1)
    """Standard deviation of the difference of two runs of different seeds, in paired sd."""
    shared: float = Field(default=0.5, ge=0, lt=1)
    """Correlation of the differences of two ideas that share a control run."""
    noise: NoiseShape = "gaussian"
    """Shape of a pair's difference. Two-valued: nine seeds in ten one way, the tenth far the other way."""
    divergence: float = Field(default=0.0, ge=0, lt=0.5)
    """Chance that a treatment's run diverges."""
    made_up_for: bool = False
    """Runs that do not diverge gain so much more that the mean, failures included, is as planted."""
    bound: float = Field(default=4.0, gt=0)
    """What a run that diverges scores below its control, in paired sd; part of what a gain is."""
    tangle: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation of what does not add up when several ideas are adopted, over the root of the summed
    squares of their gains. The same ideas together always have the same."""
    classes: int = Field(default=8, ge=1)
    class_share: float = Field(default=0.2, ge=0, lt=1)
    """Correlation of the worth of two ideas of one class."""
    proposers: tuple[float, ...] = (0.5, 0.25, 0.0)
    """Correlation of each proposer's forecasts with the truth."""
    clones: float = Field(default=0.0, ge=0, lt=1)
    """Share of ideas that are exact copies of others, under names of their own."""
    cost_sd: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation of the natural logarithm of what a run of an idea costs, in control runs."""
    drift: float = Field(default=0.0, ge=0, le=2)
    """The machine's speed swings by plus and minus this many doublings, twice in a campaign."""
    loss_per_doubling: float = Field(default=0.35, ge=0)
    """Bits per byte by which a single run that trains for a fixed time is worse at half the speed."""
    slow: float = Field(default=0.25, ge=0, le=1)
    """Share of classes whose effects show only at the end of a run."""

    @model_validator(mode="after")
    def _adds_up(self) -> Regime:
        if self.nulls + self.harms > 1 + 1e-9:
            raise ValueError(f"nulls + harms is {self.nulls + self.harms:g}; at most 1 is allowed")
        if not self.proposers or any(not -1 <= r <= 1 for r in self.proposers):
            raise ValueError(f"proposers is {list(self.proposers)}; correlations from -1 to 1 are allowed")
        return self


def load_regime(path: Path) -> Regime:
    """The regime of a TOML file, named after the file unless it says otherwise, or one of the package by its
    name. Raises RegimeError."""
    names = [found.stem for found in sorted(FOLDER.glob("*.toml"))]
    if not path.exists() and str(path) in names:
        path = FOLDER / f"{path}.toml"
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegimeError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise RegimeError(
            f"{path}: {error.strerror}; it must be a TOML file of a regime, or one of {', '.join(names)}"
        ) from None
    try:
        return Regime.model_validate({"name": path.stem, **table})
    except ValidationError as error:
        raise RegimeError(f"{path}: {refusal(error, Regime)}") from None


def shipped() -> list[Regime]:
    """The regimes of the package, in the order of their file names."""
    return [load_regime(path) for path in sorted(FOLDER.glob("*.toml"))]

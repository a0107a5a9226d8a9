"""What a user sets of the seats: who sits in each, and what they may spend. Part of a campaign's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mendel.records import Record

STRONG = "anthropic:claude-opus-5-5"
CHEAP = "anthropic:claude-haiku-5-5"
EXTERNAL = "external"
"""Instead of a model: whoever takes the work out of the store and brings it back (`mendel mcp`)."""


class Models(Record):
    """Who sits in each seat: `provider:model` as pydantic-ai spells it, "external", or empty for nobody."""

    proposer: str = STRONG
    engineer: str = STRONG
    debugger: str = STRONG
    forecasters: tuple[str, ...] = (CHEAP, "anthropic:claude-sonnet-5-5")
    novelty: str = CHEAP
    """Judges whether two ideas are one, where text or patch make that likely."""
    analyst: str = CHEAP
    librarian: str = CHEAP


class Limit(Record):
    """The most that may be spent; what is not given is not limited. What is in flight counts."""

    usd: float | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    """Read and written, cached ones among them."""
    seconds: float | None = Field(default=None, gt=0)
    """In which answers were waited for."""


class Limits(Record):
    """Where the researchers stop being asked."""

    campaign: Limit = Limit(usd=20.0)
    day: Limit = Limit(usd=100.0)
    """UTC, over all campaigns of the store."""
    idea: Limit = Limit(usd=2.0)
    """From writing it to explaining it."""
    seat: Limit = Limit()
    """Each seat in one campaign."""


class Price(Record):
    """US dollars for a million tokens, instead of those that the library knows."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float = Field(ge=0)
    """Read from the provider's cache."""
    written: float = Field(ge=0)
    """Read and put into it."""


class Researchers(Record):
    """The table [researchers]."""

    who: Literal["none", "models", "external"] = "none"
    """"none"; "models": those that `models` names; "external": agents take every seat through the store."""
    models: Models = Models()
    ideas: int = Field(default=4, ge=1, le=24)
    """Most ideas that are asked for before a round."""
    attempts: int = Field(default=3, ge=0, le=10)
    """Most repairs of a patch that does not apply, fails its checks or does not run."""
    batch: bool = False
    """Forecasts are asked for in batches, at half the price: they may take a day, and late ones join the next
    round."""
    review: bool = False
    """Patches wait for a person's `mendel review` before they run."""
    guidance: str = ""
    """A file that is read before every round: what a person wants tried, or left alone."""
    patience: float = Field(default=120.0, gt=0)
    """Seconds for which a provider that is down is asked again; an external seat has so long, too."""
    replay: str = ""
    """Id of a campaign whose transcript answers instead of a model."""
    limits: Limits = Limits()
    prices: dict[str, Price] = {}
    """By name of a model, without its provider."""

    @property
    def seated(self) -> bool:
        """Whether anybody is to be asked."""
        return self.who != "none"

    def model(self, seat: str, number: int = 0) -> str:
        """Who sits in a seat; of forecasters the one of this number. Empty for nobody."""
        named = self.models.forecasters if seat == "forecaster" else (getattr(self.models, seat),)
        if self.who == EXTERNAL:
            named = (EXTERNAL,)
        return str(named[number]) if self.seated and number < len(named) else ""

    @model_validator(mode="after")
    def _named(self) -> Researchers:
        for name in [getattr(self.models, seat) for seat in type(self.models).model_fields]:
            for one in (name,) if isinstance(name, str) else name:
                if one and one != EXTERNAL and ":" not in one:
                    raise ValueError(
                        f"model {one!r} is not understood; allowed are provider:model, external or ''"
                    )
        return self

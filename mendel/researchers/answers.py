"""What seats answer: the schema that the model is held to. Optional things are empty, never absent: providers
that enforce a schema want every key."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from mendel.records import Edit, Patch, Scalar

IdeaClass = Literal[
    "architecture", "attention", "initialisation", "optimiser", "schedule", "data", "shape",
    "regularisation", "embedding", "loss",
]  # fmt: skip


IDEA_CLASSES_ANSWERED = get_args(IdeaClass)


class Answer(BaseModel):
    """Unknown keys are errors: a misspelt one would be silently lost."""

    model_config = ConfigDict(extra="forbid")


class Expected(Answer):
    """A forecast of one idea, in log2 compute multiplier."""

    mean: float = Field(ge=-3, le=3, description="expected log2 compute multiplier; 0 for no effect")
    sd: float = Field(gt=0, le=3, description="your standard deviation of it")
    p_runs: float = Field(ge=0, le=1, description="probability that the patch trains without failing")


class Proposed(Answer):
    """One idea, before there is code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,39}$", description="short, lower case, hyphens")
    idea_class: IdeaClass
    hypothesis: str = Field(max_length=600, description="what to change, and that it helps")
    mechanism: str = Field(max_length=900, description="why it should help")
    prediction: str = Field(max_length=400, description="what a measurement would show if it is true")
    refuted_by: str = Field(max_length=400, description="the cheapest test that could refute it")
    change: str = Field(max_length=1500, description="the change, precisely enough for an engineer")
    citation: str = Field(max_length=300, description="paper or code it comes from; empty if it is your own")
    forecast: Expected


class Portfolio(Answer):
    """Ideas that differ, over several classes."""

    ideas: list[Proposed]


class Setting(Answer):
    """One configuration value."""

    key: str
    value: bool | int | float | str


class Replacement(Answer):
    """Replace `search`, which must occur exactly once in the file, by `replace`."""

    path: str
    search: str = Field(min_length=1)
    replace: str


class Change(Answer):
    """An idea as code. Edits apply in their order; settings are values of the recipe's configuration."""

    edits: list[Replacement]
    settings: list[Setting]
    notes: str = Field(max_length=600, description="what a reviewer should know")

    def patch(self) -> Patch:
        """The record. ValueError for an empty change."""
        overrides: dict[str, Scalar] = {one.key: one.value for one in self.settings}
        edits = tuple(Edit(path=one.path, search=one.search, replace=one.replace) for one in self.edits)
        return Patch(edits=edits, overrides=overrides)


class Repair(Change):
    """The whole change again, mended; or word that the idea itself cannot work."""

    broken: bool = Field(description="true if no edit can save the idea; then leave edits and settings empty")
    reason: str = Field(max_length=500, description="what was wrong, and what you changed")


class Foretold(Expected):
    """A forecast with the idea it is of, and its reason."""

    idea: str
    reason: str = Field(max_length=500)


class Forecasts(Answer):
    """One for each idea that was asked about."""

    forecasts: list[Foretold]


class Judged(Answer):
    """Whether an idea is another one again."""

    idea: str
    same_as: str = Field(description="name of the earlier idea that tests the same; empty if it is new")
    reason: str = Field(max_length=400)


class Novelty(Answer):
    """One judgement for each pair that was shown."""

    judged: list[Judged]


class Explanation(Answer):
    """A verdict in plain words. Numbers in it must be numbers of the evidence."""

    what_changed: str = Field(max_length=600)
    effect: str = Field(max_length=600, description="by how much, with its interval")
    where: str = Field(max_length=500, description="where it holds and where that is not known")
    refuted_by: str = Field(max_length=400)
    next: str = Field(max_length=500, description="what to try next, and why")

    @property
    def text(self) -> str:
        return f"{self.what_changed}\n{self.judgement}"

    @property
    def judgement(self) -> str:
        """All but what changed: what was measured, where, and what follows."""
        return "\n".join((self.effect, self.where, self.refuted_by, self.next))


class Lesson(Answer):
    """One thing the lab holds, with the ideas that say so."""

    words: str = Field(max_length=300)
    evidence: list[str] = Field(description="names of ideas")


LESSONS = {
    "works": "What works",
    "does_not": "What does not",
    "open_questions": "Open questions",
    "contradictions": "Contradictions",
}
"""Kinds of lessons in a memory -> their titles."""


class Memory(Answer):
    """What the lab knows, bounded: the weightiest first."""

    works: list[Lesson]
    does_not: list[Lesson]
    open_questions: list[Lesson]
    contradictions: list[Lesson]

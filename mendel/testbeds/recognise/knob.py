"""A knob of a trainer, and all that it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from mendel.records import Scalar


@dataclass(frozen=True)
class Knob:
    """One setting: given as an argument (`key`), or changed in a file (`path` and `search`)."""

    key: str
    default: Scalar | None = None
    path: str = ""
    search: str = ""
    value: str = ""
    """How the value stands at the end of `search`."""
    switch: bool = False
    """It is given without a value."""

    @property
    def name(self) -> str:
        """In small letters, without what it belongs to: `max_iters` of `trainer.max-iters`."""
        return self.key.rpartition(".")[2].replace("-", "_").lower()

    @property
    def is_argument(self) -> bool:
        return not self.path


@dataclass
class Knobs:
    """What a trainer can be told, and how."""

    override: tuple[str, ...] = ()
    """Arguments for one configuration override."""
    arguments: list[Knob] = field(default_factory=list)
    constants: list[Knob] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    """Arguments that it needs to start, such as a configuration file."""
    evidence: list[str] = field(default_factory=list)

    def find(self, names: tuple[str, ...], constants: bool = True) -> Knob | None:
        """The knob with the first of these names that there is; arguments before constants."""
        for pool in (self.arguments, self.constants if constants else []):
            for name in names:
                for knob in pool:
                    if knob.name == name and not knob.switch:
                        return knob
        return None

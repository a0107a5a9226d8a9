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
    own: tuple[str, ...] = ()
    """Arguments for it, where it is not given as the others are."""

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
    opening: str = ""
    """An option that stands before all overrides, once."""

    def tell(self, command: list[str], knob: Knob, value: str) -> None:
        """Add the arguments that give a knob a value."""
        shape = knob.own or self.override or ("--{key}={value}",)
        words = [part.replace("{key}", knob.key).replace("{value}", value) for part in shape]
        if self.opening and knob.own and self.opening in command:
            place = command.index(self.opening)
            command[place:place] = words
        elif self.opening and not knob.own and self.opening not in command:
            command += [self.opening, *words]
        else:
            command += words

    def find(self, names: tuple[str, ...], constants: bool = True) -> Knob | None:
        """The knob with the first of these names that there is; arguments before constants."""
        for pool in (self.arguments, self.constants if constants else []):
            for name in names:
                for knob in pool:
                    if knob.name == name and not knob.switch:
                        return knob
        return None

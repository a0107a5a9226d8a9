"""One run as a source tells it, and how its parts are brought into one shape."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.records import Scalar

Floats = NDArray[np.float64]
DEEP = 8
"""Levels of a nested configuration that become keys of their own."""


@dataclass(frozen=True)
class Curve:
    """One metric of a run: steps and values, in the order of the steps, each step once."""

    metric: str
    steps: Floats
    values: Floats


@dataclass(frozen=True)
class SourceRun:
    """A run of somebody's."""

    id: str
    """As its source calls it."""
    name: str
    status: str = "unknown"
    """In the words of its source, in lower case."""
    config: Mapping[str, Scalar | None] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    """What was logged once is a curve of one point."""
    started: datetime | None = None
    group: str = ""
    """Experiment, project or campaign."""
    file: str = ""
    """Its own, below the source; none where all share one."""
    commit: str = ""
    user: str = ""
    host: str = ""
    note: str = ""
    """What is not whole about it although it is kept."""

    def content(self) -> str:
        """A hash of everything: the same run gives the same, a run that has grown another."""
        told = [
            *(self.id, self.name, self.status, self.group, self.file, self.commit, self.user, self.host),
            *(self.note, self.started.isoformat() if self.started else "", sorted(self.config.items())),
        ]
        found = hashlib.blake2b(json.dumps(told, default=str).encode(), digest_size=12)
        for curve in self.curves:
            found.update(curve.metric.encode() + b"\0")
            found.update(curve.steps.tobytes())
            found.update(curve.values.tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Unread:
    """A run, or a file of one, that cannot be read, and why."""

    name: str
    reason: str


class Points:
    """Curves as they grow, point by point."""

    def __init__(self) -> None:
        self._points: dict[str, tuple[array[float], array[float]]] = {}

    def add(self, metric: str, step: float, value: float) -> None:
        found = self._points.get(metric)
        if found is None:
            found = self._points[metric] = (array("d"), array("d"))
        found[0].append(step)
        found[1].append(value)

    def __contains__(self, metric: str) -> bool:
        return metric in self._points

    @property
    def last(self) -> float:
        """The last step of any metric; 0 where there is none."""
        return max((max(steps) for steps, _ in self._points.values()), default=0.0)

    def curves(self) -> tuple[Curve, ...]:
        """All curves by name."""
        found = (
            curve(metric, np.frombuffer(steps), np.frombuffer(values))
            for metric, (steps, values) in sorted(self._points.items())
        )
        return tuple(one for one in found if len(one.steps))


def curve(metric: str, steps: Floats, values: Floats) -> Curve:
    """A curve from points in the order in which they were logged: of one step the last counts, as after a
    restart from a checkpoint; a point without a step is none."""
    there = np.isfinite(steps)
    if not there.all():
        steps, values = steps[there], values[there]
    if len(steps) > 1 and not (np.diff(steps) > 0).all():
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(np.diff(steps) > 0, True)
        steps, values = steps[last], values[last]
    return Curve(metric, np.ascontiguousarray(steps, np.float64), np.ascontiguousarray(values, np.float64))


def moment(seconds: object) -> datetime | None:
    """A time in UTC from seconds since 1970; None for what is none."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) and seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def flat(config: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Scalar]:
    """A nested configuration with dotted keys; lists, and what is nested too deeply, become JSON, and what
    is null is not there."""
    found: dict[str, Scalar] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value and depth < DEEP:
            found |= flat(value, f"{name}.", depth + 1)
        elif isinstance(value, bool | int | float | str):
            found[name] = value
        elif value is not None:
            found[name] = json.dumps(value, default=str, sort_keys=True)
    return found

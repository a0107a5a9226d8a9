"""The loss of a run as the run itself reports it: for testbeds whose checkpoints Mendel cannot score.

It is the word of the code under test, and findings that rest on it say so. What is read is untrusted: links
are not followed, and files are read to a limit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mendel.records import Metric
from mendel.yardstick.logs import read_object, read_plain

_SHOWN = 60


class NoMetric(ValueError):
    """A run that ended well and reported no loss; the message says where it was looked for."""


def read_metric(metric: Metric, out: Path, log: Path) -> float:
    """The last value that the run reported; it may be infinite or NaN.

    `out` is the run's folder, `log` what it printed. NoMetric where there is none.
    """
    return _printed(metric.pattern, log) if metric.pattern else _written(metric.file, metric.key, out)


def _printed(pattern: str, log: Path) -> float:
    text = read_plain(log)[0].decode("utf-8", "replace")
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise NoMetric(f"nothing that it printed matches metric.pattern {pattern!r:.80}")
    return _number(found[-1], f"metric.pattern {pattern!r:.80}")


def _written(file: str, key: str, out: Path) -> float:
    content, wrong = read_plain(out / file)
    if wrong or not content:
        raise NoMetric(f"metric.file: {wrong or f'it wrote no {file!r}'}")
    objects = _objects(content)
    values = [value for one in objects if (value := _at(one, key)) is not None]
    if not values:
        keys = ", ".join(list(objects[-1])[:8]) if objects else "no JSON object"
        raise NoMetric(f"metric.key: {key!r} is nowhere in {file!r} ({keys})")
    return _number(values[-1], f"{file}: {key}")


def _objects(content: bytes) -> list[dict[str, Any]]:
    """Of one JSON text, or of one per line."""
    whole = read_object(content)
    if whole is not None:
        return [whole]
    return [value for line in content.splitlines() if (value := read_object(line)) is not None]


def _at(value: dict[str, Any], key: str) -> Any:
    """The value under a key, or under keys in one another, written with dots."""
    if key in value:
        return value[key]
    here: Any = value
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise NoMetric(f"{where} gave {value!r:.{_SHOWN}}, which is no number") from None

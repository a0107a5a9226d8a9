"""Whether the numbers that a run wrote of itself can be true.

No claim rests on them but by the count of tokens; the report draws them, people and models read them, and a
screening run may be stopped by them. So they are held against what was measured from outside. A log that is
wrong by little is not found.
"""

from __future__ import annotations

import json
import math
import os
import stat
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mendel.records import Audit, Scalar

METRICS, DATA = "metrics.jsonl", "data.json"
MOST_BYTES = 1 << 26
"""Of a file, from its end."""
SLACK = 0.5
"""Seconds that a log may show beyond what was measured."""
LEAST_SHARE = 1 / 3
"""Of the loss on training text that a log may show: noise, averaged weights and luck are far smaller."""
LAST = 0.1
"""Share of the lines whose mean loss is compared."""
WINDOW = 0.1
"""Share of a run over which its early loss is averaged."""
ABSURD = 1e6
"""Nats: no loss is so large."""
MANY = 20
"""Lines after which a loss that never moved was not measured."""


class Line(NamedTuple):
    """One line of a log; NaN for what it does not say."""

    step: float
    tokens: float
    seconds: float
    loss: float | None


def check_log(
    out: Path,
    planned_tokens: int,
    train_seconds: float,
    train_bits_per_byte: float | None = None,
    bytes_per_token: float = 1.0,
    own_objective: bool = False,
) -> Audit:
    """Compares the log that a finished run left in `out` with what was measured of it.

    `train_bits_per_byte` is the model's loss on its training text, by the yardstick; None where it was not
    asked. `own_objective`: the patch changes what a step descends, so that its losses have a scale of their
    own and are not compared. A run without a log passes: the lab wants its tokens elsewhere.
    """
    lines, wrong = _read(out / METRICS)
    if not lines and not wrong:
        return Audit(name="numbers", passed=True, reason="it left no log")
    evidence: dict[str, Scalar] = {"lines": len(lines)}
    wrong = wrong or _order(lines) or _tokens(lines, planned_tokens, out) or _seconds(lines, train_seconds)
    losses = [line.loss for line in lines if line.loss is not None]
    if not wrong and losses:
        last = losses[-max(1, int(LAST * len(losses))) :]
        shown = sum(last) / len(last) / math.log(2) / bytes_per_token
        evidence["logged_bits_per_byte"] = shown
        if train_bits_per_byte is not None:
            evidence["train_bits_per_byte"] = train_bits_per_byte
        wrong = _losses(losses, shown, None if own_objective else train_bits_per_byte)
    reason = wrong or f"its {len(lines)} lines agree with what was measured"
    return Audit(name="numbers", passed=not wrong, reason=reason, evidence=evidence)


def early_losses(out: Path, planned_tokens: int, shares: Sequence[float]) -> tuple[float, ...]:
    """Training loss in nats at each of `shares` of a run's tokens, as its log in `out` has it: the mean over
    the last `WINDOW` of the run, or the last line before. Only of those shares that the log has reached with
    losses that can be; a log that has grown says the same of what it had."""
    lines, _ = _read(out / METRICS)
    losses = [(line.tokens, line.loss) for line in lines if line.loss is not None]
    found: list[float] = []
    for share in shares:
        end = share * planned_tokens
        before = [(tokens, loss) for tokens, loss in losses if tokens <= end]
        if not before or not lines[-1].tokens >= end:
            break
        part = [loss for tokens, loss in before if tokens > end - WINDOW * planned_tokens] or [before[-1][1]]
        if not all(abs(loss) < ABSURD for loss in part):  # nor where one is not a number
            break
        found.append(statistics.fmean(part))
    return tuple(found)


def _read(path: Path) -> tuple[list[Line], str]:
    """The lines that hold an object, and what is wrong with the file."""
    content, wrong = read_plain(path)
    lines = []
    for text in content.splitlines():
        value = read_object(text)
        if value is not None:
            loss = _number(value.get("loss")) if _is_number(value.get("loss")) else None
            step, tokens, seconds = (_number(value.get(key)) for key in ("step", "tokens", "seconds"))
            lines.append(Line(step, tokens, seconds, loss))
    return lines, wrong


def read_plain(path: Path) -> tuple[bytes, str]:
    """The last MOST_BYTES of a plain file, and what is wrong with it; links are not followed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return b"", f"{path.name} is no plain file"
            file.seek(max(0, status.st_size - MOST_BYTES))
            content = file.read(MOST_BYTES)
            return (content.partition(b"\n")[2] if status.st_size > MOST_BYTES else content), ""
    except FileNotFoundError:
        return b"", ""
    except OSError:
        return b"", f"{path.name} is no plain file"


def read_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a text is, if it is one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """NaN for anything but a number; infinite for one beyond floats."""
    if not _is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _order(lines: Sequence[Line]) -> str:
    """Steps, tokens and seconds never go back."""
    for key in ("step", "tokens", "seconds"):
        values = [value for line in lines if not math.isnan(value := getattr(line, key))]
        for before, after in zip(values, values[1:], strict=False):
            if after < before:
                return f"{key} goes back from {before:g} to {after:g}"
        if values and (values[0] < 0 or not math.isfinite(values[-1])):
            return f"{key} is {values[0]:g} first and {values[-1]:g} last"
    return ""


def _tokens(lines: Sequence[Line], planned: int, out: Path) -> str:
    """The last line has what was planned, up to one step; what the reader counted is the same."""
    counted = [line.tokens for line in lines if not math.isnan(line.tokens)]
    if not counted:
        return ""
    last = counted[-1]
    step = max(after - before for before, after in zip([0.0, *counted], counted, strict=False))
    if last > planned:
        return f"it shows {last:.0f} tokens, {planned} were planned"
    if last <= planned - step:
        return f"it shows {last:.0f} tokens and steps of up to {step:.0f}; {planned} were planned"
    said = (read_object(read_plain(out / DATA)[0]) or {}).get("tokens")
    if said is not None and _number(said) != last:
        return f"it shows {last:.0f} tokens, the reader counted {_number(said):.0f}"
    return ""


def _seconds(lines: Sequence[Line], measured: float) -> str:
    shown = [line.seconds for line in lines if not math.isnan(line.seconds)]
    if shown and shown[-1] > measured + SLACK:
        return f"it shows {shown[-1]:.1f} s, {measured:.1f} s were measured"
    return ""


def _losses(losses: Sequence[float], shown: float, measured: float | None) -> str:
    bad = next((loss for loss in losses if not math.isfinite(loss)), None)
    if bad is not None:
        return f"a loss is {bad}"
    if len(losses) >= MANY and len(set(losses)) == 1:
        return f"all {len(losses)} losses are {losses[0]:g}"
    if measured is not None and shown < LEAST_SHARE * measured:
        return f"it ends at {shown:.3f} bits per byte of training text, the model has {measured:.3f}"
    return ""

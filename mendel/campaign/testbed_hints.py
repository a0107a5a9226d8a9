"""What the output and the source of a testbed let one guess: numbers that look like losses, lines that set a
seed or a length. They are hints for a person who mends a `testbed.toml`; nothing is decided by them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mendel.records import Currency, Metric, Testbed
from mendel.runs import LOG
from mendel.yardstick.logs import read_plain

SHOWN_LINES = 6
WIDTH = 160
_LABEL = r"(?:(?:val(?:id(?:ation)?)?|eval|held[-_ ]?out|test|train(?:ing)?|final|best)[ _./-]*)*"
_NAME = r"(?:loss|bpb|bits[ _]per[ _]byte|nll|cross[ _]entropy|perplexity|ppl)\w*"
_LOSS = re.compile(
    rf"(?P<label>{_LABEL}{_NAME}[\"']?\s*[:=]?\s*)(?P<number>-?\d+\.?\d*(?:[eE][-+]?\d+)?)", re.I
)
NUMBER = r"(-?[\d.]+(?:[eE][-+]?\d+)?)"
_SEEDS = re.compile(
    r"manual_seed\(|random\.seed\(|default_rng\(|RandomState\(|PRNGKey\(|\bseed\s*=\s*\d+", re.I
)
_LENGTHS = {
    Currency.STEPS: r"\b(?:max_|num_|total_|train_|n_)?(?:steps|iters|iterations)\s*=\s*[\d_]+",
    Currency.SECONDS: r"\b(?:max_|train_)?(?:time_budget|time_limit|seconds|budget)\w*\s*=\s*[\d_.]+",
}
_TOKENS = r"\b(?:max_|num_|total_|train_)?(?:tokens|token_budget)\w*\s*=\s*[\d_.e]+"


class LossLike(NamedTuple):
    """A number in a run's output that may be its loss."""

    line: str
    pattern: str
    """Of `metric`: matches it."""
    value: str


def last_lines(out: Path, count: int = SHOWN_LINES) -> list[str]:
    """The last lines that a run printed, without control characters."""
    text = read_plain(out / LOG)[0].decode("utf-8", "replace")
    lines = ["".join(c for c in line if c.isprintable()).rstrip() for line in re.split(r"[\r\n]", text)]
    return [line[:WIDTH] for line in lines if line.strip()][-count:]


def loss_like(out: Path) -> LossLike | None:
    """The number that is most likely the loss in what a run printed: the last one that is called so, of
    validation before all others, of training after them."""
    best: tuple[int, LossLike] | None = None
    for line in last_lines(out, 200):
        for found in _LOSS.finditer(line):
            label = found["label"]
            rank = (
                0
                if re.match("train", label, re.I)
                else 2
                if re.search("val|eval|test|held", label, re.I)
                else 1
            )
            pattern = r"\s+".join(re.escape(part) for part in label.split()) + r"\s*" + NUMBER
            hit = re.findall(pattern, line)
            if found["number"] in hit and (best is None or rank >= best[0]):
                best = rank, LossLike(line, pattern, found["number"])
    return best[1] if best else None


def decimals(metric: Metric | None, out: Path) -> int | None:
    """Digits behind the point of the loss as it was printed; None where it was written or scored."""
    if metric is None or not metric.pattern:
        return None
    found = re.findall(metric.pattern, read_plain(out / LOG)[0].decode("utf-8", "replace"), re.MULTILINE)
    whole = re.fullmatch(r"\s*[-+]?\d*\.?(\d*)\s*", found[-1]) if found else None
    return len(whole[1]) if whole else None


def seed_lines(testbed: Testbed) -> str:
    """Places in the source that seem to set a seed, in words; empty where there is none."""
    return _places(testbed, _SEEDS)


def length_lines(testbed: Testbed) -> str:
    """Places in the source that seem to say how long a run is."""
    return _places(testbed, re.compile(_LENGTHS.get(testbed.budget, _TOKENS), re.I))


def _places(testbed: Testbed, pattern: re.Pattern[str], most: int = 3) -> str:
    found = []
    for path in testbed.files:
        if not path.endswith(".py"):
            continue
        text = Path(testbed.root, path).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line) and not line.lstrip().startswith("#"):
                found.append(f"{path}:{number} `{line.strip()[:60]}`")
    return ", ".join(found[:most])


def where_said(testbed: Testbed, placeholder: str) -> str:
    """The parts of a testbed.toml that pass a placeholder on, in words."""
    name = "{" + placeholder
    parts = [f"command {part!r}" for part in testbed.command if name in part]
    parts += [
        f"edits.{n}.replace {edit.replace!r:.60}"
        for n, edit in enumerate(testbed.edits)
        if name in edit.replace
    ]
    parts += [f"env.{key} {text!r}" for key, text in testbed.env.items() if name in text]
    return " and ".join(parts)

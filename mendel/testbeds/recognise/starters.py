"""A file of ideas to begin with, made of the knobs that a trainer has. They are examples of the format."""

from __future__ import annotations

from dataclasses import replace

from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.proposal import plain, toml, toml_key
from mendel.testbeds.recognise.repository import Repository

HEAD = """\
# Ideas to be tried: docs/ideas.md. These few show the format; put your own in their place.
# A forecast is log2 of the compute multiplier that you expect, and how sure you are; your record counts.
"""
RATES = ("learning_rate", "lr", "max_lr", "peak_lr", "base_lr", "matrix_lr", "learning_rate_max")
DECAYS = ("weight_decay", "wd", "decay")
BETAS = ("beta2", "adam_beta2", "b2")
ACTIVATIONS = (
    ("nn.GELU()", "nn.SiLU()", "silu", "SiLU"),
    ("F.gelu(", "F.silu(", "silu", "SiLU"),
    ("nn.ReLU()", "nn.GELU()", "gelu", "GELU"),
    ("F.relu(", "F.gelu(", "gelu", "GELU"),
)


def starters(repo: Repository, knobs: Knobs, taken: list[str], editable: list[str]) -> str:
    """Text of ideas.toml: two or three ideas where the trainer has knobs for them, and one as a comment."""
    found = []
    knobs = replace(
        knobs,
        arguments=[one for one in knobs.arguments if not one.own],
        constants=[one for one in knobs.constants if one.path in editable and not _touched(one, taken)],
    )
    rate = _numeric(knobs, RATES)
    if rate:
        found.append(
            _of_knob(
                rate, 2.0, "optimiser", "lr-double", "A larger learning rate learns faster in a short run."
            )
        )
        found.append(_of_knob(rate, 0.5, "optimiser", "lr-half", "A smaller learning rate ends lower."))
    decay = _numeric(knobs, DECAYS)
    if decay:
        found.append(
            _of_knob(
                decay,
                0.0,
                "regularisation",
                "no-weight-decay",
                "Weight decay does nothing in so short a run.",
            )
        )
    beta = _numeric(knobs, BETAS)
    if beta and len(found) < 3 and isinstance(beta.default, float) and beta.default != 0.95:
        found.append(
            idea(
                "beta2-95", "optimiser", "A shorter second moment follows gradients faster.", {beta.key: 0.95}
            )
        )
    found += _activation(repo, taken, editable) if len(found) < 3 else []
    return HEAD + "".join(
        f"\n{one}" for one in found or ["".join(f"# {row}\n" for row in EXAMPLE.splitlines())]
    )


def _touched(knob: Knob, taken: list[str]) -> bool:
    """Whether the testbed's own edits are made of the same text, which no patch may then change."""
    return any(knob.search in one or one in knob.search for one in taken)


EXAMPLE = """\
[[idea]]
name = "squared-relu"
class = "architecture"
hypothesis = "Squared ReLU learns faster than GELU."
mechanism = "Hidden units multiply, and most stay at zero."
citation = "none"
forecast = { mean = 0.05, sd = 0.15 }
[[idea.edits]]
path = "model.py"
search = "F.gelu(x)"
replace = "F.relu(x).square()"
"""


def _numeric(knobs: Knobs, names: tuple[str, ...]) -> Knob | None:
    """A knob with a number that can be changed as a patch: an argument, or a constant of the source."""
    knob = knobs.find(names)
    value = knob.default if knob else None
    return knob if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _of_knob(knob: Knob, times: float, kind: str, name: str, hypothesis: str) -> str:
    assert isinstance(knob.default, int | float)
    value = float(f"{knob.default * times:.6g}")
    if knob.is_argument:
        return idea(name, kind, hypothesis, {knob.key: value})
    head = knob.search[: len(knob.search) - len(knob.value)]
    return idea(name, kind, hypothesis, {}, (knob.path, knob.search, f"{head}{value!r}"))


def idea(
    name: str,
    kind: str,
    hypothesis: str,
    overrides: dict[str, float],
    edit: tuple[str, str, str] | None = None,
) -> str:
    """An [[idea]] table."""
    what = " and ".join(f"{key} = {value!r}" for key, value in overrides.items())
    rows = ["[[idea]]", plain("name", name), plain("class", kind), plain("hypothesis", hypothesis)]
    rows.append(
        plain(
            "mechanism", f"Sets {what}." if overrides else f"An edit of {edit[0]}: {edit[2]}" if edit else ""
        )
    )
    rows += ['citation = "none"', "forecast = { mean = 0.0, sd = 0.15 }"]
    if overrides:
        rows.append(
            "overrides = { " + ", ".join(f"{toml_key(k)} = {toml(v)}" for k, v in overrides.items()) + " }"
        )
    if edit:
        rows += [
            "[[idea.edits]]",
            *(plain(key, text) for key, text in zip(("path", "search", "replace"), edit, strict=True)),
        ]
    return "\n".join(rows) + "\n"


def _activation(repo: Repository, taken: list[str], editable: list[str]) -> list[str]:
    """Another activation, where the source names one in exactly one place."""
    for path in editable:
        text = repo.text(path)
        for old, new, name, word in ACTIVATIONS:
            if text.count(old) == 1 and not any(old in one for one in taken):
                said = f"{word} learns faster than the activation that is there."
                return [idea(name, "architecture", said, {}, (path, old, new))]
    return []

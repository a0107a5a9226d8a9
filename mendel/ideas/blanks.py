"""Blanks: planted patches of the `gpt` testbed that change nothing that matters, and harms that do.

A positive control has the patch of a blank, too: its gain is more compute than its cost permits, which the
lab grants its runs. A descendant is a blank that is proposed again for what screening showed of it.

They measure the judge. A no-op that leaves a run identical to the bit would prove nothing, so a blank
disturbs what should not matter: the initial random stream, the order of the sequences, the order in which
hidden units are summed. The first two move the loss as much as a new seed does; the third in its last
digits only, which a judge that divides by a standard deviation must survive. Its record looks like those of
the ideas it hides among (class, citation, forecast, proposer), the catalog's unless others are given; only
the returned kind tells, and the campaign keeps that to itself until the verdict.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import product

from mendel.ideas.catalog import load_catalog
from mendel.records import KNOWN_GAIN, Edit, Finding, Forecast, Idea, Patch

MAX_BLANKS = 300
"""What the words suffice for, with room to draw."""

RHYTHM = ("initial stream", "batch order", "initial stream", "batch order", "summation order")
"""Kinds of blanks in turn; the one that hardly moves the loss is the rarest."""
GAINS = (0.25, 0.15)
"""log2 CM of positive controls, in turn: as much as 1.19 and 1.11 times the compute."""
DESCENDANT = "descendant of "
"""Kinds that begin so are blanks that were proposed again; the rest is the name of the blank they were."""

FIRST = (
    "balanced banded centred coupled damped decoupled drifting even folded graded interleaved layered lean "
    "matched mirrored nested offset paired phased quiet rotated slanted staged steady striped tapered woven"
)
SECOND = (
    "carry channels columns drift flow frames gates lanes mixing offsets order paths phases ranks rows "
    "shuffle signals slots spans starts streams strides tracks units windows"
)
AIMS = (
    "reaches the same loss in fewer tokens",
    "makes early training smoother",
    "removes an asymmetry that costs a short run some of its steps",
    "lets the blocks specialise sooner",
    "keeps gradients of early and late layers in proportion",
    "lowers the variance between steps a little",
)
MEANS = (
    "rearranges where training begins so that the first steps are less wasteful",
    "spreads the load over the model more evenly",
    "changes how contributions are combined within a step",
    "breaks up an accidental regularity of the plain recipe",
    "uses an equivalent form that is better conditioned in float32",
)


class Blanks:
    """Proposes nothing but blanks: an A/A campaign in disguise."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def propose(self, findings: Sequence[Finding], count: int) -> tuple[Idea, ...]:
        known = {finding.idea.name for finding in findings}
        made = make_blanks(min(MAX_BLANKS, count + len(known)), self.seed)
        return tuple(idea for idea, _ in made if idea.name not in known)[:count]


def make_blanks(
    count: int, seed: int, like: Sequence[Idea] = (), controls: int = 0
) -> tuple[tuple[Idea, str], ...]:
    """`count` ideas that change nothing that matters, each with its kind, in the rhythm of RHYTHM, and after
    them so many positive controls, of the GAINS in turn. No two have the same code, and the first n of a
    seed among the same ideas are always the same.

    `like`: the ideas they hide among, the catalog if there are none. Proposer, class, citation and forecast
    come from these, so that triage cannot learn who proposes blanks; their names are avoided.

    ValueError if they are not 0 to MAX_BLANKS together.
    """
    makers: dict[str, Callable[[int], Patch]] = {
        "initial stream": _initial_stream,
        "batch order": _batch_order,
        "summation order": _summation_order,
    }
    gains = [f"{KNOWN_GAIN}{gain:g}" for gain in GAINS]
    makers |= zip(gains, (_initial_stream, _batch_order), strict=True)
    kinds = [RHYTHM[i % len(RHYTHM)] for i in range(count)]
    kinds += [gains[i % len(gains)] for i in range(controls)]
    return _disguise(kinds, makers, _names(seed)[0::2], random.Random(f"blanks/{seed}"), like)


def make_harms(count: int, seed: int, like: Sequence[Idea] = ()) -> tuple[tuple[Idea, str], ...]:
    """`count` ideas of kind "harm", disguised in the same way: a learning rate at least eight times too low.
    None has the name of a blank of the same seed. ValueError as for `make_blanks`."""
    return _disguise(
        ["harm"] * count, {"harm": _harm}, _names(seed)[1::2], random.Random(f"harms/{seed}"), like
    )


def make_descendant(parent: Idea, shown: Forecast, taken: Collection[str], seed: int) -> Idea:
    """A blank once more, under a new name and in other words, forecast to gain what screening has `shown` of
    it: what comes of trusting the best of many. `taken`: names that it must not have."""
    name = next(name for name in _names(seed)[0::2] if name not in taken)
    draw = random.Random(f"descendant/{seed}/{name}")
    ((idea, _),) = _disguise([DESCENDANT], {DESCENDANT: lambda _: parent.patch}, [name], draw, [parent])
    return idea.model_copy(update={"forecast": shown})


# --- patches ------------------------------------------------------------------------------------------


def _initial_stream(number: int) -> Patch:
    return Patch(overrides={"init_stream": number})


def _batch_order(number: int) -> Patch:
    """The same sequences over the run in another random order: as good as the order that the seed gave."""
    anchor = "    flops_per_token = config.flops_per_token()"
    lines = [
        f"    shuffle = torch.Generator().manual_seed({number})",
        "    stream = reader.streams[0]",
        "    used = min(steps * config.batch, len(stream.order))",
        "    order = torch.randperm(used, generator=shuffle).numpy()",
        "    stream.order[:used] = stream.order[:used][order]",
        anchor,
    ]
    return Patch(edits=(Edit(path="loop.py", search=anchor, replace="\n".join(lines)),))


def _summation_order(number: int) -> Patch:
    """The same network with the hidden units of each MLP in another order. Done once, to the initial
    weights, so that it costs nothing afterwards."""
    anchor = "        for module in self.modules():"
    lines = [
        "        for name, parameter in self.named_parameters():",
        '            if ".mlp." in name and parameter.ndim == 2:',
        '                units = 1 if name.endswith("proj.weight") else 0',
        f"                shuffle = torch.Generator().manual_seed({number})",
        "                order_F = torch.randperm(parameter.shape[units], generator=shuffle)",
        "                parameter.copy_(parameter.index_select(units, order_F))",
        anchor,
    ]
    return Patch(edits=(Edit(path="model.py", search=anchor, replace="\n".join(lines)),))


def _harm(number: int) -> Patch:
    anchor = "        loss = 0.0"
    lines = [
        "        for optimizer in optimizers:",
        "            for group in optimizer.param_groups:",
        f'                group["lr"] /= {8 + number / 100:g}',
        anchor,
    ]
    return Patch(edits=(Edit(path="loop.py", search=anchor, replace="\n".join(lines)),))


# --- disguise -----------------------------------------------------------------------------------------


def _names(seed: int) -> list[str]:
    """All names there are, in the order of `seed`: every other one is for blanks, the rest for harms."""
    names = [f"{first}-{second}" for first, second in product(FIRST.split(), SECOND.split())]
    random.Random(f"names/{seed}").shuffle(names)
    return names


def _disguise(
    kinds: Sequence[str],
    makers: Mapping[str, Callable[[int], Patch]],
    names: Sequence[str],
    draw: random.Random,
    like: Sequence[Idea],
) -> tuple[tuple[Idea, str], ...]:
    taken = {idea.name for idea in (*load_catalog(), *like)}
    names = [name for name in names if name not in taken][:MAX_BLANKS]
    if len(kinds) > len(names):
        raise ValueError(f"count is {len(kinds)}; allowed are 0 to {len(names)}")
    models = like or load_catalog()
    numbers = list(range(1, 10 * MAX_BLANKS))
    draw.shuffle(numbers)
    # A blank takes class, citation and forecast from an idea that was worth proposing, as it would be.
    hopeful = [idea for idea in models if idea.forecast.mean > 0] or models
    made = []
    for kind, name, number in zip(kinds, names, numbers, strict=False):
        model = draw.choice(hopeful)
        words = name.replace("-", " ").capitalize()
        forecast = Forecast(
            mean=round(model.forecast.mean * draw.uniform(0.7, 1.3), 2),
            sd=model.forecast.sd,
            p_runs=model.forecast.p_runs,
        )
        idea = Idea(
            name=name,
            idea_class=model.idea_class,
            hypothesis=f"{words} {draw.choice(AIMS)}.",
            mechanism=f"It {draw.choice(MEANS)}.",
            citation=model.citation,
            forecast=forecast,
            patch=makers[kind](number),
            proposer=model.proposer,
        )
        made.append((idea, kind))
    return tuple(made)

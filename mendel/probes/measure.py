"""Asks the questions and counts the answers.

The score is a forced choice between the two ways of giving the answers to the twins: right when
log p(answer) - log p(foil), summed over both, is above zero; a tie counts half. What the model thinks of
the two answers without their prompts cancels in that sum, so the choice does not wait until the prompt
outweighs it. The mean of log2 p(answer) - log2 p(foil), the *advantage* in bits, says how clear it is.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mendel.probes.items import SKILLS, SPANS, Twins, make_twins
from mendel.records import Skill

Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Natural log-probabilities of tokens[:, 1:], each given those before it in its row: (B, T) -> (B, T - 1)."""

SIGHT = 1e-5
"""Nats by which an answer must move when the first byte changes: more than rounding."""
SIGHT_ROWS = 4


def probe(ask: Ask, seed: int) -> dict[str, Skill | None]:
    """Every skill at every span that the model can look back over; None for the others.

    A span that is out of reach ends the asking: nothing is spent on longer ones, and nothing counts as failed
    that could not be seen. Raises what `ask` raises.
    """
    found: dict[str, Skill | None] = {}
    sees = True
    for span in SPANS:
        sees = sees and reaches(ask, span, seed)
        for skill in SKILLS:
            found[key(skill, span)] = measure(ask, make_twins(skill, span, seed)) if sees else None
    return found


def key(skill: str, span: int) -> str:
    """Name of a measurement, such as `copying/32`."""
    return f"{skill}/{span}"


def measure(ask: Ask, questions: tuple[Twins, ...]) -> Skill:
    """Accuracy and mean advantage on questions of one skill and span."""
    rows = [row for twins in questions for row in twins.rows()]
    size = len(questions[0].answers[0])
    log_p = ask(as_tokens(rows))[:, -size:].sum(axis=1, dtype=np.float64)
    advantage = (log_p[0::2] - log_p[1::2]).reshape(-1, 2).mean(axis=1) / math.log(2)
    right = (advantage > 0) + 0.5 * (advantage == 0)
    return Skill(accuracy=float(right.mean()), advantage=float(advantage.mean()))


def reaches(ask: Ask, span: int, seed: int) -> bool:
    """Whether any prediction depends on what stands `span` bytes back.

    Measured and not asked for: the context that a model claims is a number from the code under test. Rows end
    as they begin; they are sent with their first byte as it is and changed, in one request, so that rounding
    is alike.
    """
    rng = random.Random(f"{seed} sight {span}")
    ends = [bytes(rng.sample(string.ascii_uppercase.encode(), 2)) for _ in range(SIGHT_ROWS)]
    between = [bytes(rng.choices(string.ascii_lowercase.encode(), k=span - 3)) for _ in ends]
    rows = [end + text + end for end, text in zip(ends, between, strict=True)]
    log_p = ask(as_tokens([*rows, *(b"\n" + row[1:] for row in rows)]))[:, -1]
    return bool(np.abs(log_p[:SIGHT_ROWS] - log_p[SIGHT_ROWS:]).max() > SIGHT)


def as_tokens(rows: list[bytes]) -> NDArray[np.uint8]:
    """Rows of one length as (rows, bytes)."""
    return np.stack([np.frombuffer(row, np.uint8) for row in rows])

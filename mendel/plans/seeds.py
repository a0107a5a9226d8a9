"""Seeds come in blocks: one per stage and round, fresh, never reused.

Whatever was chosen by looking at one block is judged on another, so no result is scored on the luck that
selected it.
"""

from __future__ import annotations

from mendel.records import PlanKind

BLOCK = 1_000
"""Seeds in a block."""
_STAGES = tuple(PlanKind)
_ROUNDS = 1_000


def is_first(seed: int) -> bool:
    """Whether a seed is the first of its block."""
    return seed % BLOCK == 0


def seed_block(campaign_seed: int, round: int, kind: PlanKind, count: int, rung: int = 0) -> tuple[int, ...]:
    """The first `count` seeds of the block of one stage, round and rung of a campaign.

    Raises ValueError when the block is too small or the round out of range: a block must not run into the
    next one.
    """
    if not 0 < count <= BLOCK or not 0 <= round < _ROUNDS or not 0 <= rung < 10:
        raise ValueError(f"no seed block for round {round}, rung {rung}, {count} seeds")
    stage = (round * len(_STAGES) + _STAGES.index(kind)) * 10 + rung
    first = (campaign_seed * _ROUNDS * len(_STAGES) * 10 + stage) * BLOCK
    return tuple(range(first, first + count))

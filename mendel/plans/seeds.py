"""Seeds come in blocks: one per stage and round, fresh, never reused.

Whatever was chosen by looking at one block is judged on another, so no result is scored on the luck that
selected it.
"""

from __future__ import annotations

from mendel.records import PlanKind

BLOCK = 500
"""Seeds in a block."""
_STAGES = tuple(PlanKind)
_PLACES = 5
"""For stages in a round, of two blocks each: a stage that comes later takes the second block of a place, and
the seeds of the others stay what they were."""
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
    second, place = divmod(_STAGES.index(kind), _PLACES)
    turn = campaign_seed * _ROUNDS + round
    first = (((turn * _PLACES + place) * 10 + rung) * 2 + second) * BLOCK
    return tuple(range(first, first + count))

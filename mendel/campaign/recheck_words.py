"""What a recheck of the trunk found, in sentences. Numbers decide; words say no more than their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from mendel.records import Earning, Interaction, Interval, Recheck, Standing
from mendel.verdicts.recheck import Judged

ORDER = (Standing.EVICTED, Standing.EARNS, Standing.UNDECIDED, Standing.UNTESTED)


def told(judged: Judged, least: float) -> str:
    """Why a change stands as it does; `least` is the log2 CM that it must add."""
    pairs = f"{judged.pairs} fresh pairs"
    if judged.standing is Standing.EARNS:
        return f"{pairs} show that it adds more than {least:g} log2 CM"
    if judged.standing is Standing.UNDECIDED:
        return f"{pairs} do not tell whether it adds {least:g} log2 CM"
    if judged.shown:
        return f"{pairs} show that it adds less than {least:g} log2 CM"
    return f"{pairs} are the most it may have, and by their mean it adds less than {least:g} log2 CM"


def sentences(record: Recheck, recipe: str) -> tuple[str, ...]:
    """The whole, its changes by what became of them, and pairs that interact."""
    again = "" if record.attempt == 0 else f", after {record.attempt} eviction{'s'[: record.attempt > 1]}"
    lines = [
        f"Trunk rechecked before round {record.round}{again}: it gains {value(record.whole)} log2 CM over "
        f"{recipe} with {len(record.adopted)} changes."
    ]
    lines += _sum(record)
    for standing in ORDER:
        lines += [_change(one) for one in record.changes if one.standing is standing]
    return (*lines, *map(_pair, record.interactions))


def _sum(record: Recheck) -> list[str]:
    lines = []
    if record.beyond_adoption is not None and record.sum_at_adoption is not None:
        total = f"{value(record.sum_at_adoption)} log2 CM that its changes gained when they were adopted"
        lines.append(f"{_compared(record.beyond_adoption)} the sum of {total}.")
    if record.beyond_last is not None:
        overlap = "they overlap" if record.beyond_last.value > 0 else "they help each other"
        because = f": {overlap}" if _shown(record.beyond_last) else ""
        lines.append(
            f"{_compared(record.beyond_last)} the sum of what each adds now, with the others in{because}."
        )
    return lines


def _compared(beyond: Interval) -> str:
    """The whole against a sum."""
    if not _shown(beyond):
        return f"The whole is not shown to differ, by {value(beyond)} log2 CM, from"
    sign = 1 if beyond.value > 0 else -1
    return f"The whole gains {value(beyond, sign)} log2 CM {'more' if sign > 0 else 'less'} than"


def _change(one: Earning) -> str:
    if one.log2_cm is None:
        return f"{one.name} could not be left out: {one.reason}."
    gone = f" (with {', '.join(one.with_it)}, which do not fit without it)" if one.with_it else ""
    heads = {
        Standing.EVICTED: "is evicted: it adds",
        Standing.EARNS: "still earns its place: it adds",
        Standing.UNDECIDED: "stays, in doubt: it adds",
    }
    return f"{one.name}{gone} {heads[one.standing]} {value(one.log2_cm)} log2 CM; {one.reason}."


def _pair(one: Interaction) -> str:
    sign = -1 if one.log2_cm.value < 0 else 1
    size = f"{value(one.log2_cm, sign)} log2 CM {'less' if sign < 0 else 'more'} than their sum"
    return f"{' and '.join(one.changes)} together gain {size}{'' if _shown(one.log2_cm) else ' (not shown)'}."


def _shown(interval: Interval) -> bool:
    return not interval.low <= 0 <= interval.high


def value(interval: Interval, sign: int = 1) -> str:
    """Estimate and interval; `sign` -1 turns both."""
    ends: Sequence[float] = sorted((sign * interval.low, sign * interval.high))
    least = ">= " if interval.bounded else ""
    return f"{least}{sign * interval.value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"

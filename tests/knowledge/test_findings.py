"""A finding says what was measured, on what evidence, and what would take it back."""

import pytest
import toy

from mendel.knowledge.findings import make_finding, refutation
from mendel.records import Interval, Verdict, VerdictKind

GAIN = Interval(value=0.5, low=0.4, high=0.6)
VERDICTS = tuple(
    Verdict(plan=plan, kind=VerdictKind.BETTER, pairs=pairs) for plan, pairs in (("one", 6), ("two", 4))
)


def finding(**changes):
    fields = {"round": 2, "control": "c", "treatment": "t", "rung": 1, "cost_ratio": 1.1, "cpu_ratio": None}
    fields |= {"log2_cm": GAIN, "verdicts": VERDICTS, "runs": 20, "adopted": True}
    return make_finding(toy.GOOD[0], **(fields | changes))


def test_its_evidence_are_the_verdicts_in_their_order():
    found = finding()
    assert found.verdicts == tuple(verdict.id for verdict in VERDICTS)
    assert (found.idea, found.round, found.rung, found.cost_ratio) == (toy.GOOD[0], 2, 1, 1.1)
    assert (found.log2_cm, found.runs, found.adopted) == (GAIN, 20, True)


def test_a_gain_is_refuted_by_fresh_pairs_below_its_interval():
    assert f"below {2**0.4:.2f}" in refutation(1, GAIN)
    assert "rung 1" in refutation(1, GAIN) and "95%" in refutation(1, GAIN)


@pytest.mark.parametrize("low", [0.0, -0.2])
def test_an_interval_that_includes_one_is_called_not_established(low):
    text = refutation(0, Interval(value=0.1, low=low, high=0.3))
    assert "not established yet" in text.lower()
    assert f"{2**low:.2f} to {2**0.3:.2f}" in text


def test_equal_findings_are_one_finding():
    assert finding().id == finding().id
    assert finding().id != finding(adopted=False).id

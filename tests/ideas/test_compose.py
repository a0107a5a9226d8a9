"""Which catalog ideas compose, in both orders: run with `-s` to read the report."""

from collections import Counter
from itertools import combinations

from mendel.ideas.catalog import load_catalog
from mendel.patches import Outcome, compose_matrix, read_tree
from mendel.testbeds import load_testbed


def test_most_pairs_compose_and_the_report_names_those_that_do_not():
    testbed = load_testbed("gpt")
    ideas = load_catalog()
    matrix = compose_matrix(ideas, read_tree(testbed), testbed.editable)
    outcomes = {(row.first, row.second): row for row in matrix}
    counts = Counter(row.outcome for row in matrix)
    print("\n" + ", ".join(f"{count} {outcome.value}" for outcome, count in counts.most_common()))
    for row in matrix:
        if row.outcome in (Outcome.STALE, Outcome.ONE_WAY):
            print(f"{row.first} then {row.second}: {row.outcome.value} {row.reason}")

    assert len(matrix) == len(ideas) * (len(ideas) - 1)
    assert counts[Outcome.COMMUTES] > 0.9 * len(matrix)
    slots = {idea.name: idea.patch.slot for idea in ideas}
    for a, b in combinations(slots, 2):
        there, back = outcomes[a, b], outcomes[b, a]
        same_slot = slots[a] is not None and slots[a] == slots[b]
        assert (there.outcome is Outcome.ALTERNATIVES) == same_slot
        if there.outcome in (Outcome.COMMUTES, Outcome.ORDER_MATTERS, Outcome.ALTERNATIVES):
            assert back.outcome is there.outcome
        if there.outcome is Outcome.STALE:
            assert there.reason

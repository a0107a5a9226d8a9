"""Which pairs of ideas go together, and does the order matter?"""

import time

import pytest

from mendel.patches import Outcome, Stale, compose_matrix

from .trees import EDITABLE, TREE, edit, idea


def outcomes(*ideas):
    return {(row.first, row.second): row for row in compose_matrix(ideas, TREE, EDITABLE)}


def test_every_ordered_pair_has_one_row():
    ideas = [idea(f"knob{k}", **{f"key{k}": k}) for k in range(5)]
    rows = compose_matrix(ideas, TREE, EDITABLE)
    assert len({(row.first, row.second) for row in rows}) == len(rows) == 20
    assert {row.outcome for row in rows} == {Outcome.COMMUTES}


def test_edits_of_different_places_commute_also_through_a_merge():
    scale = idea("scale", edit("scale = 1.0", "scale = 0.5"))
    quoting = idea(
        "quoting",
        edit(
            "scale = 1.0\n    return scale * x\n\n\ndef forward(x)",
            "scale = 1.0\n    return scale * x\n\n\ndef forward(x, y=0)",
        ),
    )
    rows = outcomes(scale, quoting)
    assert rows["scale", "quoting"].outcome is rows["quoting", "scale"].outcome is Outcome.COMMUTES
    assert rows["scale", "quoting"].merged
    assert not rows["quoting", "scale"].merged


def test_two_lines_put_in_one_place_depend_on_the_order():
    one = idea("one", edit("    x = norm(x)\n", "    x = norm(x)\n    x = x + 1\n"))
    two = idea("two", edit("    x = norm(x)\n", "    x = norm(x)\n    x = x * 2\n"))
    rows = outcomes(one, two)
    assert rows["one", "two"].outcome is rows["two", "one"].outcome is Outcome.ORDER_MATTERS


def test_an_idea_that_only_fits_below_another_goes_one_way():
    rewrite = idea("rewrite", edit("max(x, 0.0)\n", "abs(x)\n"))
    wrap = idea("wrap", edit("    return max(x, 0.0)\n", "    y = x\n    return max(x, 0.0)\n"))
    rows = outcomes(rewrite, wrap)
    assert rows["wrap", "rewrite"].outcome is Outcome.ONE_WAY
    assert rows["rewrite", "wrap"].outcome is Outcome.STALE
    assert "'wrap'" in rows["rewrite", "wrap"].reason
    assert "also edited by: rewrite" in rows["rewrite", "wrap"].reason


def test_one_slot_makes_alternatives_and_clashing_values_make_stale_pairs():
    cold, hot = idea("cold", slot="lr", lr=0.1), idea("hot", slot="lr", lr=1.0)
    warm = idea("warm", lr=0.5)
    rows = outcomes(cold, hot, warm)
    assert rows["cold", "hot"].outcome is Outcome.ALTERNATIVES
    assert rows["warm", "cold"].outcome is rows["cold", "warm"].outcome is Outcome.STALE
    assert "lr = 0.5" in rows["cold", "warm"].reason


def test_an_idea_that_fits_nothing_is_named():
    with pytest.raises(Stale, match="'lost'"):
        outcomes(idea("lost", edit("no such text", "x")))


def test_fifty_ideas_on_eight_files_take_seconds():
    files = {
        f"f{k}.py": "".join(f"def f{i}(x):\n    y = x + {i}\n    return y * {i}\n\n" for i in range(250))
        for k in range(8)
    }
    ideas = [idea(f"i{k}", edit(f"y = x + {k * 5}\n", "y = x\n", f"f{k % 2}.py")) for k in range(50)]
    assert min(map(len, files.values())) > 10_000
    start = time.process_time()
    rows = compose_matrix(ideas, files, tuple(files))
    assert len(rows) == 2450
    assert all(row.outcome is Outcome.COMMUTES for row in rows)
    assert time.process_time() - start < 20

"""Near-duplicates are found by their words and by what their patches change; the rest is left alone."""

import toy
from hypothesis import given
from hypothesis import strategies as st

from mendel.ideas.catalog import load_catalog
from mendel.ideas.novelty import candidates
from mendel.records import Edit, Patch


def names(words, patch, earlier):
    return [one.name for one in candidates(words, patch, earlier)]


def test_a_paraphrase_of_a_catalog_idea_is_shown_beside_it():
    found = names(
        "rotary-positions: rotate queries and keys by position (rotary position embedding), not learned "
        "position vectors, so that attention sees relative distance",
        None,
        load_catalog(),
    )
    assert "rope" in found


def test_an_unlike_idea_has_no_candidates():
    assert (
        names(
            "quantise activations to ternary values during the backward pass",
            None,
            [toy.idea("x", {"gain_a": 2})],
        )
        == []
    )


def test_patches_are_compared_by_the_lines_that_they_change():
    edits = [("EFFICIENCY = 1.0", "EFFICIENCY = 1.0\nTWICE = 2\nTHRICE = 3")]
    earlier = [toy.idea("lines", edits=edits), toy.idea("other", {"gain_a": 1.5})]
    again = Patch(
        edits=(Edit(path="train.py", search="a", replace="a\n  TWICE = 2\n  THRICE = 3\nmore = 1"),)
    )
    found = candidates("zebra", again, earlier)
    assert [one.name for one in found] == ["lines"]
    assert found[0].patch == 2 / 3


def test_values_of_knobs_count_and_a_whole_number_is_itself():
    earlier = [toy.idea("knob", {"gain_a": 2, "gain_b": 3.0})]
    assert names("zebra", Patch(overrides={"gain_a": 2.0, "gain_b": 3}), earlier) == ["knob"]
    assert names("zebra", Patch(overrides={"gain_a": 2.5, "gain_b": 4}), earlier) == []


@given(st.text(max_size=200))
def test_an_idea_is_most_like_itself(words):
    earlier = load_catalog()[:8]
    mine = earlier[3]
    text = f"{mine.name} {mine.hypothesis} {mine.mechanism}"
    assert names(text, mine.patch, earlier)[0] == mine.name
    assert all(0 <= one.words <= 1 + 1e-9 for one in candidates(words, None, earlier))

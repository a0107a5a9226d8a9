"""Both sides' changes survive a merge, or it says where they clash."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mendel.patches import MergeConflict, merge3
from mendel.patches.merge import hunks

REPETITIVE = st.lists(st.sampled_from(["a", "b", ""]), max_size=10).map("\n".join)
UNCHANGED = object()


def merged(base, ours, theirs):
    try:
        return merge3(base, ours, theirs)
    except MergeConflict as error:
        return tuple(error.regions)


@given(REPETITIVE, REPETITIVE)
def test_an_unchanged_side_gives_the_other(base, side):
    assert merge3(base, side, base) == side
    assert merge3(base, base, side) == side


@given(REPETITIVE, REPETITIVE)
def test_identical_changes_merge(base, side):
    assert merge3(base, side, side) == side


@given(REPETITIVE, REPETITIVE, REPETITIVE)
def test_the_sides_are_interchangeable(base, ours, theirs):
    assert merged(base, ours, theirs) == merged(base, theirs, ours)


@given(REPETITIVE, REPETITIVE)
def test_hunks_describe_the_change_and_never_touch(before, after):
    lines, found = before.split("\n"), hunks(before, after)
    for hunk in reversed(found):
        lines[hunk.low : hunk.high] = hunk.lines
    assert "\n".join(lines) == after
    assert all(one.high < two.low for one, two in zip(found, found[1:], strict=False))


@st.composite
def two_sides(draw, gap: int):
    """A base of distinct lines cut into blocks `gap` lines apart, each changed by at most one side:
    (base, ours, theirs, both)."""
    parts: list[list[list[str]]] = []
    for number in range(draw(st.integers(1, 5))):
        block = [f"{number}.{i}" for i in range(draw(st.integers(1, 3)))]
        new = [f"new {number}.{i}" for i in range(draw(st.integers(0, 3)))]
        owner = draw(st.sampled_from(["ours", "theirs", "nobody"]))
        mine, yours = new if owner == "ours" else block, new if owner == "theirs" else block
        parts.append([block, mine, yours, block if owner == "nobody" else new])
        kept = [f"kept {number}.{i}" for i in range(gap)]
        parts.append([kept] * 4)
    return ["\n".join(line for part in parts for line in part[k]) for k in range(4)]


@given(two_sides(gap=1))
def test_disjoint_changes_both_survive(sides):
    base, ours, theirs, both = sides
    assert merge3(base, ours, theirs) == both
    assert merge3(base, theirs, ours) == both


@given(two_sides(gap=0))
def test_touching_changes_conflict_rather_than_guess(sides):
    base, ours, theirs, both = sides
    assume(ours != base and theirs != base)
    assert merged(base, ours, theirs) == both or isinstance(merged(base, ours, theirs), tuple)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ("1\nx\n3\n4", "1\ny\n3\n4", "at line 2$"),
        ("1\nx\n3\n4", "1\n2\ny\n4", "at lines 2-3$"),
        ("1\n2\nx\n3\n4", "1\n2\ny\n3\n4", r"at line 3 \(inserted before it\)$"),
        ("1\nx\n4", "1\n2\n3\ny\n4", "at lines 2-3$"),
    ],
)
def test_different_changes_of_the_same_or_touching_lines_conflict(ours, theirs, message):
    with pytest.raises(MergeConflict, match=message):
        merge3("1\n2\n3\n4", ours, theirs)


def test_a_change_that_both_made_does_not_stop_the_others():
    assert merge3("1\n2\n3\n4\n5", "X\n2\n3\n4\n5", "X\n2\n3\n4\nY") == "X\n2\n3\n4\nY"


def test_the_end_of_a_file_without_newline_is_kept():
    assert merge3("1\n2\n3", "0\n2\n3", "1\n2\n3\n") == "0\n2\n3\n"


def test_long_files_of_repeated_lines_still_merge():
    # difflib's shortcut for popular lines would see one change from the first to the last line.
    lines = ["a", "b"] * 150
    ours, theirs = lines.copy(), lines.copy()
    ours[10], ours[-10], theirs[150] = "first", "last", "middle"
    both = ours.copy()
    both[150] = "middle"
    assert merge3("\n".join(lines), "\n".join(ours), "\n".join(theirs)) == "\n".join(both)

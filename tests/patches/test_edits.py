"""Edits match exactly once or are refused with what is needed to repair them."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.patches import PatchError, apply_patch
from mendel.patches.edits import SHOWN_LINES, nearest_lines
from mendel.records import Edit, Patch

from .trees import EDITABLE, MODEL, TREE, edit


def refusal(*edits: Edit, tree=TREE) -> PatchError:
    """The error that a patch gets; the tree it was tried on stays as it was."""
    before = copy.deepcopy(tree)
    with pytest.raises(PatchError) as caught:
        apply_patch(tree, Patch(edits=edits), EDITABLE)
    assert tree == before
    assert "\n" not in caught.value.summary
    return caught.value


def test_edits_apply_in_order_each_to_what_the_earlier_ones_left():
    edits = (edit("max(x, 0.0)", "square(relu(x))"), edit("square(relu(x))", "relu(x) ** 2"))
    result = apply_patch(TREE, Patch(edits=edits), EDITABLE)
    assert result == TREE | {"model.py": MODEL.replace("max(x, 0.0)", "relu(x) ** 2")}
    assert TREE["model.py"] == MODEL


def test_overrides_leave_the_tree_alone():
    assert apply_patch(TREE, Patch(overrides={"lr": 0.1}), EDITABLE) == TREE


def test_a_search_that_is_not_there_shows_the_nearest_lines_with_their_numbers():
    error = refusal(edit("x = norm(x)", "x = x"), edit("    x = norm(y)\n    x = activation(x)", "    pass"))
    assert "model.py: edit 2 of 2" in error.summary
    assert "occurs 0 times, it must occur exactly once" in error.summary
    error = refusal(edit("    x = norm(y)\n    x = activation(x)", "    pass"))
    assert (
        "    14 |     x = norm(x)\nsearch |     x = norm(y)\n    15 |     x = activation(x)" in error.detail
    )


def test_white_space_that_differs_is_made_visible():
    error = refusal(edit("  x = norm(x)\n  x = activation(x)", "  pass"))
    assert "apart from white space" in error.detail
    assert "    14 | '    x = norm(x)'\nsearch | '  x = norm(x)'" in error.detail


def test_an_edit_that_an_earlier_one_undid_says_so():
    error = refusal(edit("scale = 1.0", "scale = 2.0"), edit("scale = 1.0", "scale = 3.0"))
    assert "an earlier edit of this patch changed it" in error.detail


def test_a_search_that_occurs_twice_says_where():
    error = refusal(edit("(x):\n", "(x, y):\n"))
    assert "occurs 3 times" in error.summary
    assert "begins at lines 4, 8, 13" in error.detail


def test_overlapping_occurrences_are_ambiguous():
    assert "occurs 2 times" in refusal(edit("aa", "b"), tree={"model.py": "aaa"}).summary


def test_nothing_alike_is_said_plainly():
    assert "no line of the file is like" in refusal(edit("@@@@ zzzz qqqq", "")).detail


@pytest.mark.parametrize("path", ["data/reader.py", "mdl.py", "../model.py", "/etc/passwd"])
def test_a_file_outside_the_list_is_refused_with_the_list(path):
    error = refusal(edit("def", "deff", path))
    assert error.summary.startswith(f"{path}: edit 1 of 1: ")
    assert "editable files: config.toml, model.py, optim.py" in error.summary
    assert ("not editable" if path in TREE else "no such file") in error.summary


@pytest.mark.parametrize(
    ("search", "replace", "message"),
    [
        ("return scale * x", "return scale *", "model.py:10: invalid syntax"),
        ("import math\n", "return 1\nimport math\n", "model.py:1: 'return' outside function"),
        ("import math\n", "import math\0\n", "source code string cannot contain null bytes"),
        ("scale = 1.0", "scale = '\ud800'", "model.py: 'utf-8' codec can't encode"),
        ("scale = 1.0", f"scale = {'(' * 500}{')' * 500}", "model.py:9: too many nested parentheses"),
    ],
)
def test_a_patch_that_does_not_parse_is_refused_with_file_and_line(search, replace, message):
    assert message in refusal(edit(search, replace)).summary


def test_toml_is_parsed_too():
    assert "config.toml: " in refusal(edit("0.001", "fast", "config.toml")).summary


def test_a_file_that_never_parsed_here_is_left_to_the_smoke_run():
    tree = {"model.py": "type X = int; newer = syntax)\nlr = 1\n"}
    result = apply_patch(tree, Patch(edits=(edit("lr = 1", "lr = 2"),)), EDITABLE)
    assert result["model.py"].endswith("lr = 2\n")


def test_edits_that_change_nothing_are_refused():
    assert "leave every file as it was" in refusal(edit("scale = 1.0", "scale = 1.0")).summary


TEXT = st.text("ab\n ", max_size=30)


@given(TEXT, st.lists(st.tuples(st.text("ab\n ", min_size=1, max_size=4), TEXT), min_size=1, max_size=5))
def test_any_sequence_of_edits_matches_a_plain_model_or_leaves_the_tree_alone(text, pairs):
    tree, edits = {"notes.txt": text}, [edit(s, r, "notes.txt") for s, r in pairs]
    expected: str | None = text
    for search, replace in pairs:
        found = [i for i in range(len(expected)) if expected.startswith(search, i)]
        if len(found) != 1:
            expected = None
            break
        expected = expected.replace(search, replace)
    try:
        result = apply_patch(tree, Patch(edits=tuple(edits)), ["notes.txt"])
    except PatchError:
        assert expected is None or expected == text
    else:
        assert result == {"notes.txt": expected}
    assert tree == {"notes.txt": text}


@given(st.text(max_size=200), st.text(min_size=1, max_size=60))
def test_the_nearest_lines_are_few_and_exist_for_any_text(text, search):
    shown = nearest_lines(text, search)
    assert shown.count("\n") <= 2 * SHOWN_LINES
    numbers = [row[:6] for row in shown.split("\n") if row[6:9] == " | " and row[:6].strip().isdigit()]
    assert all(1 <= int(number) <= text.count("\n") + 1 for number in numbers)

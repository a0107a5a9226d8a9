"""The trunk is a base and a list of ideas: building it again, in any past, gives the same recipe."""

import pytest

from mendel.patches import PatchError, Stale, adopt, build, diff, rebase, remove
from mendel.records import Idea, Patch, Range, Recipe, Trunk

from .trees import EDITABLE, MODEL, TREE, base_recipe, base_trunk, edit, idea

SQUARE = idea("square", edit("max(x, 0.0)", "max(x, 0.0) ** 2"), slot="activation")
GELU = idea("gelu", edit("max(x, 0.0)", "gelu(x)"), slot="activation")
SCALE = idea("scale", edit("scale = 1.0", "scale = 0.5"), warmup=10)
DECAY = idea("decay", edit("decay = 0.1", "decay = 0.0", "optim.py"), lr=0.01)


def built(*ideas: Idea, trunk: Trunk | None = None):
    trunk = trunk or base_trunk()
    for each in ideas:
        trunk = adopt(trunk, each)
    return build(trunk, TREE, EDITABLE)


def test_a_bare_trunk_is_its_base():
    assert built() == (base_recipe(), TREE, ())


def test_adopted_edits_and_overrides_add_up():
    result = built(SQUARE, SCALE, DECAY)
    assert result.recipe.overrides == {"warmup": 10, "lr": 0.01}
    assert "max(x, 0.0) ** 2" in result.tree["model.py"]
    assert "scale = 0.5" in result.tree["model.py"]
    assert "decay = 0.0" in result.tree["optim.py"]


def test_the_recipe_of_a_build_has_its_own_id():
    base = base_trunk()
    ids = {base.base.id, built(SQUARE, trunk=base).recipe.id, built(SCALE, trunk=base).recipe.id}
    assert len(ids) == 3
    assert Recipe.model_validate(built(SCALE, trunk=base).recipe.model_dump()).id in ids
    assert adopt(base, SQUARE).id not in (base.id, remove(adopt(base, SQUARE), "square").id)
    assert remove(adopt(base, SQUARE), "square").id == base.id


def test_the_holder_of_a_slot_is_superseded_and_the_rest_replayed():
    trunk = adopt(adopt(adopt(base_trunk(), SQUARE), SCALE), GELU)
    assert [held.name for held in trunk.adopted] == ["scale", "gelu"]
    assert build(trunk, TREE, EDITABLE) == built(SCALE, GELU)
    assert "** 2" not in build(trunk, TREE, EDITABLE).tree["model.py"]


def test_ideas_without_a_slot_never_supersede_each_other():
    assert len(adopt(adopt(base_trunk(), SCALE), DECAY).adopted) == 2


def test_removing_from_the_middle_gives_what_would_have_been_built_without():
    trunk = base_trunk()
    for each in (SQUARE, SCALE, DECAY):
        trunk = adopt(trunk, each)
    assert build(remove(trunk, "scale"), TREE, EDITABLE) == built(SQUARE, DECAY)


def test_names_are_checked():
    trunk = adopt(base_trunk(), SCALE)
    with pytest.raises(ValueError, match="'scale' is already adopted; the trunk holds: scale"):
        adopt(trunk, SCALE)
    with pytest.raises(ValueError, match="'decay' is not adopted; the trunk holds: scale"):
        remove(trunk, "decay")


def test_a_testbed_changed_under_the_campaign_is_noticed():
    with pytest.raises(ValueError, match="content hash .* but the trunk began at"):
        build(base_trunk(), TREE | {"model.py": MODEL + "# touched\n"}, EDITABLE)


def with_patch(name, **patch):
    return idea(name, lr=1.0).model_copy(update={"patch": Patch(**patch)})


def test_a_value_searched_on_the_trunk_replaces_that_of_an_adopted_idea():
    with pytest.raises(Stale, match="'rival': it sets lr = 0.02, but idea 'decay' set lr = 0.01"):
        built(DECAY, idea("rival", lr=0.02))
    found = with_patch("found", overrides={"lr": 0.02}, tuned=("lr",))
    begins = with_patch("begins", overrides={"lr": 0.02, "beta": 0.9}, tune={"lr": Range(low=0.01, high=1)})
    for one in (found, begins):
        assert built(DECAY, one).recipe.overrides["lr"] == 0.02
    with pytest.raises(Stale, match="'third': it sets lr = 0.03, but idea 'found' set lr = 0.02"):
        built(DECAY, found, idea("third", lr=0.03))


def test_knobs_whose_values_are_yet_to_be_found_change_nothing():
    with pytest.raises(Stale, match="'bare': its knobs have no values yet"):
        built(with_patch("bare", tune={"lr": Range(low=0.001, high=1.0)}))


# --- rebasing -----------------------------------------------------------------------------------------

QUOTES_SQUARE = idea(
    "clip", edit("return max(x, 0.0)\n\n\ndef norm(x):", "return max(x, 0.0)\n\n\ndef norm(x, e=1):")
)


def test_a_patch_whose_context_moved_is_merged():
    result = built(SQUARE, QUOTES_SQUARE)
    assert result.merged == ("clip",)
    expected = MODEL.replace("max(x, 0.0)", "max(x, 0.0) ** 2").replace("norm(x):", "norm(x, e=1):")
    assert result.tree == TREE | {"model.py": expected}
    assert built(QUOTES_SQUARE, SQUARE).tree == result.tree
    assert "-def norm(x):\n+def norm(x, e=1):\n" in diff(built(SQUARE).tree, result.tree)


def test_changes_of_the_same_line_are_stale_and_both_ideas_are_named():
    other = idea("other", edit("return max(x, 0.0)\n", "return abs(x)\n"))
    with pytest.raises(Stale, match=r"'other'.*model.py: .*at line 5 \(also edited by: square\)"):
        built(DECAY, SQUARE, other)


def test_a_merge_that_does_not_parse_is_stale():
    tree = {"model.py": "sizes = (\n    1,\n    2,\n    3,\n)\n"}
    ours = {"model.py": "sizes = [\n    1,\n    2,\n    3,\n]\n"}
    split = edit("sizes = (\n    1,\n    2,\n", "sizes = (\n    1,\n    2,\n)\nmore = (\n")
    with pytest.raises(Stale, match=r"merged, but model.py:\d: .*does not match"):
        rebase(Patch(edits=(split,)), tree, ours, EDITABLE)


def test_an_exact_replay_that_does_not_parse_is_stale():
    tree = {"model.py": "def f(x):\n    return x\n"}
    ours = {"model.py": "def f(x): return x\n"}
    with pytest.raises(Stale, match=r"replayed, but model.py:3: unexpected indent"):
        rebase(Patch(edits=(edit("return x\n", "return x\n    # why\n    y = 1\n"),)), tree, ours, EDITABLE)


def test_a_patch_that_fits_neither_tree_is_stale_and_says_why():
    with pytest.raises(Stale, match="neither the trunk nor the tree it was written for.*occurs 0 times"):
        built(idea("lost", edit("no such text", "x")))


def test_a_patch_written_on_top_of_another_goes_stale_with_it():
    upon = idea("cube", edit("** 2", "** 3"))
    assert "** 3" in built(SQUARE, upon).tree["model.py"]
    with pytest.raises(Stale, match="'cube'.*neither the trunk nor"):
        build(remove(adopt(adopt(base_trunk(), SQUARE), upon), "square"), TREE, EDITABLE)


def test_a_forbidden_file_is_named_with_the_idea():
    with pytest.raises(
        PatchError, match="idea 'peek': data/reader.py: .*not editable; editable files: config"
    ):
        built(idea("peek", edit("tokens", "answers", "data/reader.py")))


def test_an_idea_with_nothing_left_to_change_is_stale():
    again = idea("again", edit("max(x, 0.0)\n", "max(x, 0.0) ** 2\n"))
    with pytest.raises(Stale, match="'again': nothing is left to change"):
        built(SQUARE, again)
    with pytest.raises(Stale, match="nothing is left to change"):
        built(idea("knob", lr=0.01), trunk=base_trunk(lr=0.01))


# --- overrides ----------------------------------------------------------------------------------------


def test_an_override_of_the_base_recipe_gives_way():
    trunk = base_trunk(lr=0.1, depth=3)
    assert built(DECAY, trunk=trunk).recipe.overrides == {"lr": 0.01, "depth": 3}
    assert trunk.base.overrides == {"lr": 0.1, "depth": 3}


def test_different_values_of_one_key_are_stale_and_all_is_named():
    with pytest.raises(Stale, match=r"'hot': it sets lr = 0.1, but idea 'decay' set lr = 0.01"):
        built(DECAY, idea("hot", lr=0.1))


def test_equal_values_of_one_key_agree():
    assert built(DECAY, idea("both", lr=0.01, depth=4)).recipe.overrides == {"lr": 0.01, "depth": 4}


@pytest.mark.parametrize(("one", "two"), [(1, True), (1, 1.0), (0, False), ("1", 1)])
def test_values_that_a_recipe_tells_apart_are_not_equal(one, two):
    with pytest.raises(Stale, match="share no slot"):
        built(idea("one", key=one), idea("two", key=two))


def test_within_a_slot_the_later_value_wins():
    result = built(idea("cold", slot="lr", lr=0.001, warmup=5), idea("hot", slot="lr", lr=0.1))
    assert result.recipe.overrides == {"lr": 0.1}

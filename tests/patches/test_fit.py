"""Whether an idea fits a recipe, or waits for another idea, or can never run."""

import pytest

from mendel.ideas.catalog import load_catalog
from mendel.patches.fit import misfit
from mendel.records import Edit, Patch, Range
from tests.ideas.trainer import gpt, trainer
from tests.patches.trees import idea

TREE = {"a.py": "one = 1\ntwo = 2\ntwo_more = [two, two]\n", "b.py": "kept = True\n"}
KNOBS = {"lr": 0.01, "batch": 32, "bias": True, "norm": "rms", "unset": None}


def edit(search, replace, path="a.py"):
    return Edit(path=path, search=search, replace=replace)


def fit(one, *others, knobs=KNOBS):
    found = misfit(one, others, TREE, ("a.py",), knobs)
    return None if found is None else (found.words, found.waits_for)


def tuned(**ranges):
    base = idea("tuned", lr=0.1)
    return base.model_copy(update={"patch": Patch(tune=ranges)})


@pytest.mark.parametrize("recipe", ["gpt2", "modern"])
def test_the_whole_catalog_fits_what_it_is_written_for(tmp_path, recipe):
    testbed, tree = gpt()
    with trainer(tmp_path, None) as module:
        config = module("config")
        knobs = config.to_dict(config.RECIPES[recipe].at_rung(1))
    found = {one.name: misfit(one, (), tree, testbed.editable, knobs) for one in load_catalog()}
    assert len(found) > 40 and {name: one for name, one in found.items() if one} == {}


def test_an_unknown_knob_is_told_with_the_nearest_and_all_there_are():
    many = {f"knob_{number}": 1.0 for number in range(200)}
    words, waits = fit(idea("slip", knob__7=1.0), knobs=many)
    assert words.startswith("overrides.knob__7: the recipe has no knob 'knob__7'; did you mean knob_7? ")
    assert words.endswith(f"allowed are {', '.join(many)}") and waits == ()
    far, _ = fit(idea("far", zzz=1.0))
    assert far == "overrides.zzz: the recipe has no knob 'zzz'; allowed are lr, batch, bias, norm, unset"
    words, _ = fit(tuned(lrr=Range(low=1, high=2)))
    assert words.startswith("tune.lrr: the recipe has no knob 'lrr'; did you mean lr? ")


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        *(("lr", value, "numbers") for value in ("fast", True)),
        *(("batch", value, "whole numbers") for value in (1.5, 2.0, "8", False)),
        *(("bias", value, "true or false") for value in (1, 0.0, "true")),
        *(("norm", value, "text") for value in (1, True)),
    ],
)
def test_a_value_of_another_kind_is_told(key, value, takes):
    words = f"overrides.{key}: {value!r} is not allowed; the knob takes {takes}"
    assert fit(idea("odd", **{key: value})) == (words, ())


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", 0.1), ("lr", 1), ("batch", 8), ("bias", False), ("norm", "layer"), ("unset", 3), ("unset", "x")],
)
def test_a_value_of_the_same_kind_fits(key, value):
    assert fit(idea("even", **{key: value})) is None


def test_a_knob_is_tuned_over_values_that_it_takes():
    whole, any_ = Range(low=1, high=8, integer=True), Range(low=1, high=8)
    assert fit(tuned(lr=any_)) is fit(tuned(batch=whole)) is fit(tuned(lr=whole)) is None
    assert fit(tuned(batch=any_))[0] == "tune.batch: 1.0 is not allowed; the knob takes whole numbers"
    assert fit(tuned(norm=any_))[0] == "tune.norm: 1.0 is not allowed; the knob takes text"


def test_knobs_that_a_testbed_does_not_tell_are_not_judged():
    assert fit(idea("slip", zzz=1.0), knobs=None) is None


def test_what_the_edits_of_an_idea_make_of_a_knob_is_its_own_affair():
    makes = edit("one = 1", "own = config.own\nlr = config.lr\none = 1")
    assert fit(idea("makes", makes, own=2, lr="fast")) is None
    assert fit(idea("names", edit("one = 1", "owner = 1"), own=2)) is not None, "another word"


def test_a_knob_that_another_idea_brings_is_waited_for():
    brings = idea("brings", edit("one = 1", "one = config.own"))
    words, waits = fit(idea("uses", own=2.0), brings, idea("other", lr=0.1))
    assert waits == ("brings",) and words.startswith("overrides.own: the recipe has no knob 'own'")


def test_a_text_that_another_idea_brings_is_waited_for():
    later = idea("later", edit("one = 5", "one = 6"))
    text = "a.py: edit 1 of 1: the search text 'one = 5' occurs 0 times, it must occur exactly once"
    assert fit(later) == (text, ())
    assert fit(later, idea("elsewhere", edit("kept = True", "one = 5", "b.py"))) == (text, ())
    assert fit(later, idea("brings", edit("one = 1", "one = 5"))) == (text, ("brings",))
    # Half of it is the other's, and the other half was there.
    assert fit(later, idea("half", edit("= 1", "= 5")))[1] == ("half",)
    # The other itself needs a third.
    assert fit(later, idea("third", edit("one = 4", "one = 5")))[1] == ("third",)


def test_a_text_that_another_idea_makes_unique_is_waited_for():
    later = idea("later", edit("two,", "three,"), edit(" two]", " 2]"))
    assert fit(later) is None
    twice = idea("twice", edit("two = 2\n", ""), edit("two", "2"))
    words, waits = fit(twice, idea("clears", edit("[two, two]", "[]")))
    assert "occurs 3 times" in words and waits == ("clears",)


def test_what_may_not_be_edited_is_waited_for_by_nobody():
    brings = idea("brings", edit("one = 1", "kept = True"))
    locked = idea("locked", edit("kept = True", "kept = False", "b.py"))
    assert fit(locked, brings) == (
        "b.py: edit 1 of 1: this file is not editable; editable files: a.py",
        (),
    )
    gone = idea("gone", edit("absent", "present", "b.py"))
    assert fit(gone, idea("also-locked", edit("kept", "absent", "b.py")))[1] == ()
    missing = idea("missing", edit("kept = True", "kept = False", "c.py"))
    assert fit(missing, brings)[0].startswith("c.py: edit 1 of 1: the testbed has no such file")
    assert fit(missing, brings)[1] == ()
    assert fit(idea("torn", edit("one = 1", "one = (")), brings)[1] == ()

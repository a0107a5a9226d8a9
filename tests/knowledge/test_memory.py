"""What is known of an idea, how sure it is, and what has happened to it since: from real stores."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import mendel

from mendel.knowledge.memory import Grade
from mendel.knowledge.recall import LEAST_DIGEST, digest, related, search, weightiest
from mendel.knowledge.store_effects import effects_of
from mendel.records import Edit, PlanKind, RungEffect, Transfer, VerdictKind
from mendel.store import CampaignState, IdeaState
from tests.knowledge.labs import Lab, idea, interval


@pytest.fixture
def lab(lab_root):
    made = Lab(lab_root)
    yield made
    made.store.close()


def one(found, name, campaign=None):
    (mine,) = [k for k in found if k.idea.name == name and campaign in (None, k.campaign)]
    return mine


def kinds(known):
    return [link.kind for link in known.links]


# --- grades -----------------------------------------------------------------------------------------------


def test_what_failed_is_known_like_what_holds(lab):
    c = lab.campaign()
    lab.claimed(c, idea("rope"), 0.5)
    above = RungEffect(rung=1, flops=1e9, pairs=4, log2_cm=interval(0.4), verdict="v")
    lab.claimed(c, idea("muon"), 0.7, transfer=Transfer.TRANSFERS, by_rung=(above,))
    lab.judged(c, idea("bad"), VerdictKind.WORSE, -0.3)
    lab.judged(c, idea("null"), VerdictKind.EQUIVALENT, 0.0)
    lab.judged(c, idea("unsure"), VerdictKind.NO_DIFFERENCE_SHOWN, 0.1)
    lab.judged(c, idea("tried"), VerdictKind.NO_DIFFERENCE_SHOWN, 0.1, plan=PlanKind.SCREEN)
    for name, state in (("broken", IdeaState.FAILED), ("old", IdeaState.STALE), ("waits", IdeaState.QUEUED)):
        lab.store.add_ideas(c, [idea(name)])
        lab.store.set_idea_state(c, name, state, "why")
    found = lab.known()
    assert {k.idea.name: k.grade for k in found} == {
        "rope": Grade.CONFIRMED, "muon": Grade.TRANSFERRED, "bad": Grade.WORSE, "null": Grade.EQUIVALENT,
        "unsure": Grade.NOT_SHOWN, "tried": Grade.SCREENED, "broken": Grade.FAILED, "old": Grade.STALE,
    }  # fmt: skip
    assert one(found, "bad").log2_cm.value == -0.3 and one(found, "unsure").log2_cm.high == pytest.approx(0.2)
    assert one(found, "broken").log2_cm is None and one(found, "broken").note == "why"
    assert [k.idea.name for k in weightiest(found)][:4] == ["muon", "rope", "bad", "null"]


def test_planted_ideas_are_left_out_once_the_lab_knows_them(lab):
    c = lab.campaign()
    lab.judged(c, idea("quiet"), VerdictKind.NO_DIFFERENCE_SHOWN, 0.0)
    lab.store.add_blanks(c, {"quiet": "batch order"})
    assert [k.idea.name for k in lab.known()] == ["quiet"], "before that nobody can tell"
    lab.store.unblind(c, "quiet")
    assert lab.known() == []


# --- links ------------------------------------------------------------------------------------------------


def test_what_the_trunk_took_out_again_is_refuted_and_what_was_built_on_it_says_so(lab):
    c = lab.campaign()
    lab.claimed(c, idea("first"), 0.5, evicted="round 2: adds less than the least", adopted=False)
    lab.joined(c, "r1", "first")
    lab.claimed(c, idea("second"), 0.3, round=1, control="r1")
    lab.judged(c, idea("later"), VerdictKind.WORSE, -0.2, control="r1")
    lab.claimed(c, idea("apart"), 0.2)
    found = lab.known()
    assert one(found, "first").grade is Grade.REFUTED and kinds(one(found, "first")) == ["refuted by"]
    for name in ("second", "later"):
        (link,) = one(found, name).links
        assert link.words == "built on first, which has fallen since"
    assert one(found, "second").grade is Grade.CONFIRMED, "it was measured all the same"
    assert one(found, "apart").links == ()


def test_a_later_campaign_takes_a_claim_back_by_the_same_patch_under_any_name(lab):
    patch = {"overrides": {"lr": 0.1}}
    lab.claimed(lab.campaign(), idea("fast", **patch), 0.5)
    lab.judged(lab.campaign(), idea("quick", **patch), VerdictKind.EQUIVALENT, 0.0, half=0.02)
    lab.judged(lab.campaign(), idea("fast", overrides={"lr": 0.2}), VerdictKind.WORSE, -0.5)  # another patch
    fast = one([k for k in lab.known() if k.patch != "" and k.grade is Grade.REFUTED], "fast")
    assert [(link.kind, link.idea) for link in fast.links] == [("refuted by", "quick")]


@pytest.mark.parametrize(
    ("testbed", "kind", "value", "half", "link", "grade"),
    [
        ("gpt", VerdictKind.NO_DIFFERENCE_SHOWN, 0.3, 0.4, "measured again", Grade.CONFIRMED),
        ("gpt", VerdictKind.NO_DIFFERENCE_SHOWN, 0.1, 0.2, "refuted by", Grade.REFUTED),  # below 0.4
        ("gpt", VerdictKind.WORSE, -0.3, 0.2, "refuted by", Grade.REFUTED),
        ("other", VerdictKind.WORSE, -0.3, 0.2, "differs on", Grade.CONFIRMED),
    ],
)
def test_doubt_takes_nothing_back_and_another_testbed_differs(lab, testbed, kind, value, half, link, grade):
    lab.claimed(lab.campaign(), idea("rope"), 0.5)
    again = lab.campaign(testbed)
    lab.judged(again, idea("rope"), kind, value, half=half)
    found = lab.known()
    first = next(k for k in found if k.campaign != again)
    assert (first.grade, kinds(first)) == (grade, [link])


def test_an_earlier_failure_takes_no_later_claim_back(lab):
    lab.judged(lab.campaign(), idea("rope"), VerdictKind.WORSE, -0.3)
    lab.claimed(lab.campaign(), idea("rope"), 0.5)
    assert [k.grade for k in lab.known()] == [Grade.WORSE, Grade.CONFIRMED]


def test_an_alternative_to_the_same_thing_supersedes(lab):
    c = lab.campaign()
    lab.claimed(c, idea("adam", slot="optimiser"), 0.3, adopted=False)
    lab.claimed(c, idea("muon", slot="optimiser"), 0.6, round=1)
    found = lab.known()
    assert kinds(one(found, "muon")) == ["supersedes"] and kinds(one(found, "adam")) == ["superseded by"]


# --- finding it again -------------------------------------------------------------------------------------


def test_words_find_what_has_them_and_rare_words_weigh_more(lab):
    c = lab.campaign()
    lab.judged(c, idea("a", "The learning rate decays to zero."), VerdictKind.WORSE, -0.1)
    lab.judged(
        c, idea("b", "The learning rate warms up; the rate of warmups matters."), VerdictKind.WORSE, -0.1
    )
    lab.judged(c, idea("rotary-positions", "Positions are rotated."), VerdictKind.WORSE, -0.1)
    found = lab.known()
    assert [k.idea.name for k in search("warmup rate", found)] == ["b", "a"]
    assert [k.idea.name for k in search("rotary", found)] == ["rotary-positions"]
    order = [k.idea.name for k in search("rate rotated", found)]
    assert order == ["rotary-positions", "b", "a"], "though b has rate twice"
    assert search("attention", found) == [] and search("", found) == []


def test_patches_are_found_by_hash_knobs_lines_and_slot(lab):
    c = lab.campaign()
    edit = Edit(path="model.py", search="def norm(x):\n    return layer_norm(x)", replace="return x")
    near = Edit(path="model.py", search="    return layer_norm(x)", replace="return rms(x)")
    lab.judged(c, idea("same", overrides={"lr": 0.1}), VerdictKind.WORSE, -0.1)
    lab.judged(c, idea("knob", overrides={"lr": 0.3, "wd": 1}), VerdictKind.WORSE, -0.1)
    lab.judged(c, idea("lines", overrides={}, edits=(near,)), VerdictKind.WORSE, -0.1)
    lab.judged(c, idea("slot", overrides={"z": 1}, slot="norm"), VerdictKind.WORSE, -0.1)
    lab.judged(c, idea("else", overrides={"q": 1}), VerdictKind.WORSE, -0.1)
    found = lab.known()
    told = {k.idea.name: why for k, why in related(idea("x", overrides={"lr": 0.1}), found)}
    assert list(told) == ["same", "knob"] and "lr (0.1 here, 0.3 there)" in told["knob"]
    told = {
        k.idea.name: why for k, why in related(idea("x", overrides={}, edits=(edit,), slot="norm"), found)
    }
    assert {*told} == {"lines", "slot"} and "1 of the same lines of model.py" in told["lines"]


@settings(max_examples=30, deadline=None)
@given(most=st.integers(LEAST_DIGEST, 3000))
def test_a_digest_is_never_longer_than_asked_and_says_what_it_leaves_out(filled, most):
    text = digest(filled, most)
    assert len(text) <= most
    lines = text.splitlines()
    told = [line for line in lines if not line.startswith("- and ")]
    more = int(lines[-1].split()[2]) if lines[-1].startswith("- and ") else 0
    assert len(told) + more == len({k.patch for k in filled})


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("filled"))
    c = lab.campaign()
    for n in range(12):
        lab.claimed(c, idea(f"gain-{n}", "It helps much. " * 5), 0.1 + n / 20)
        lab.judged(c, idea(f"loss-{n}"), VerdictKind.WORSE, -0.3125)
    found = lab.known()
    lab.store.close()
    return found


def test_a_digest_begins_with_the_largest_claims_and_hides_held_out_numbers(filled):
    text = digest(filled, 6000)
    assert text.splitlines()[0].startswith("- gain-11") and "loss-3 (" in text
    hidden = f"CM {2**-0.3125:.2f}"
    assert hidden not in text and hidden in digest(filled, 6000, held_out=True)
    with pytest.raises(ValueError, match="at least 200"):
        digest(filled, 10)


def test_a_link_in_a_digest_tells_no_held_out_number_either(lab):
    lab.claimed(lab.campaign(), idea("rope"), 0.5)
    lab.judged(lab.campaign("other"), idea("rope"), VerdictKind.WORSE, -0.3125)
    text = digest(lab.known(), 2000)
    assert "differs on rope" in text and f"{2**-0.3125:.2f}" not in text


# --- over labs, and by command ----------------------------------------------------------------------------


def test_effects_of_labs_have_failures_beside_claims_and_no_screens(lab, tmp_path):
    other = Lab(tmp_path / "other")
    lab.claimed(lab.campaign(), idea("rope"), 0.5)
    lab.judged(lab.campaign("own"), idea("rope"), VerdictKind.WORSE, -0.2)
    other.judged(other.campaign("third"), idea("rope"), VerdictKind.NO_DIFFERENCE_SHOWN, 0.1)
    other.judged(
        other.campaign("fourth"), idea("rope"), VerdictKind.NO_DIFFERENCE_SHOWN, 2.0, plan=PlanKind.SCREEN
    )
    effects, said = effects_of(lab.known(other))
    other.store.close()
    assert sorted(e.effect for e in effects) == [-0.2, 0.1, 0.5] and {e.idea for e in effects} == {"rope"}
    assert len({e.study for e in effects}) == 3 and effects[0].se == pytest.approx(0.1 / 1.96, rel=0.01)
    assert any("screens" in line for line in said)


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """A folder with a lab, and another lab."""
    root = tmp_path_factory.mktemp("labs")
    lab, other = Lab(root / ".mendel"), Lab(root / "other")
    c = lab.campaign()
    lab.claimed(c, idea("rope", "[bold]Rotate[/bold] \x1b[31mpositions"), 0.5)
    lab.judged(c, idea("bad"), VerdictKind.WORSE, -0.3)
    for n, value in enumerate((0.4, 0.1, 0.6)):
        made = other.campaign(f"bed-{n}")
        other.judged(made, idea("rope"), VerdictKind.NO_DIFFERENCE_SHOWN, value)
        other.store.set_state(made, CampaignState.FINISHED)
    lab.store.close()
    other.store.close()
    return root


def test_the_commands_read_one_lab_or_several(labs, tmp_path):
    folder = tmp_path / "here"
    shutil.copytree(labs, folder)
    code, out, err = mendel(folder, "findings", "--json")
    assert code == 0, err
    found = {row["idea"]: row for row in json.loads(out)["findings"]}
    assert found["bad"]["grade"] == "worse" and found["rope"]["scope"]["testbed"] == "gpt"
    code, out, err = mendel(folder, "findings", "rotate", COLUMNS="200")
    assert code == 0 and "rope" in out and "bad" not in out and "\x1b" not in out, err
    code, out, err = mendel(folder, "findings", "--digest", "300")
    assert code == 0 and len(out.strip()) <= 300 and "\x1b" not in out and "rope" in out, err
    code, out, err = mendel(
        folder, "meta", "--store", ".", "--store", "other", "--json", "--page", "meta.html"
    )
    assert code == 0, err
    rope = next(row for row in json.loads(out)["ideas"] if row["idea"] == "rope")
    assert len(rope["studies"]) == 4 and rope["pooled"]["studies"] == 4 and rope["chance"] is not None
    assert "<svg" in (folder / "meta.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("findings", "--idea", "ropes"), "did you mean rope?"),
        (("findings", "--store", "nowhere"), "--store nowhere: no lab there"),
        (("findings", "--digest", "5"), "--digest 5: at least 200 characters"),
        (("findings", "word", "--idea", "rope"), "one of them only"),
        (("meta", "--idea", "ropes"), "did you mean rope?"),
    ],
)
def test_what_cannot_be_found_is_said_in_a_line(labs, arguments, words):
    code, _, err = mendel(labs, *arguments)
    assert code == 2 and words in " ".join(err.split()) and "Traceback" not in err

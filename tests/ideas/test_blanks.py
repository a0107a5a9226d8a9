"""Blanks disturb a run without changing what it learns; harms change it; words give neither away."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mendel.ideas.blanks import GAINS, MAX_BLANKS, RHYTHM, Blanks, make_blanks, make_descendant, make_harms
from mendel.ideas.catalog import load_catalog
from mendel.ideas.triage import duplicates
from mendel.records import Forecast, Idea, Patch, known_gain
from tests.ideas.trainer import make_config, score, train, trainer

KINDS = ("initial stream", "batch order", "summation order")
BLANKS = make_blanks(60, seed=1)
TOKENS = 60 * 1024


def of_kind(kind):
    made = make_harms(2, seed=1) if kind == "harm" else BLANKS
    return [idea for idea, found in made if found == kind][:2]


@pytest.fixture(scope="module")
def control(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    losses, out = train(folder, None, corpus, TOKENS)
    return losses, score(folder / "score", None, out, corpus.read_bytes()[:8193])


def test_all_blanks_and_harms_differ_in_code_and_name():
    ideas = [idea for idea, _ in make_blanks(MAX_BLANKS, 7) + make_harms(MAX_BLANKS, 7)]
    assert duplicates(ideas) == []
    assert len({idea.name for idea in ideas}) == 2 * MAX_BLANKS


@pytest.mark.parametrize("seed", range(5))
def test_harms_never_take_the_name_of_a_blank_of_their_seed(seed):
    # Nor when they hide among other ideas, one of which has taken a name.
    first, *_ = (idea for idea, _ in make_blanks(1, seed))
    blanks = {idea.name for idea, _ in make_blanks(MAX_BLANKS, seed, like=[first])}
    harms = {idea.name for idea, _ in make_harms(MAX_BLANKS, seed)}
    assert not blanks & (harms | {first.name})


def users(mean):
    """Two ideas of a user's file."""
    words = {"hypothesis": "h", "mechanism": "m"}
    return [
        Idea(
            name=name,
            idea_class=idea_class,
            citation=f"{name}, 2024",
            proposer=f"user-{name}",
            forecast=Forecast(mean=mean, sd=sd, p_runs=p_runs),
            patch=Patch(overrides={"learning_rate": sd}),
            **words,
        )
        for name, idea_class, sd, p_runs in (
            ("mine", "schedule", 0.31, 0.83),
            ("yours", "optimiser", 0.17, 0.71),
        )
    ]


@pytest.mark.parametrize("make", [make_blanks, make_harms])
@pytest.mark.parametrize("mean", [0.2, -0.1])
def test_among_a_users_ideas_a_blank_looks_like_one_of_those(make, mean):
    def looks(idea):
        forecast = idea.forecast
        return (idea.proposer, idea.idea_class, idea.citation, forecast.sd, forecast.p_runs)

    mine = users(mean)
    made = make(30, seed=1, like=mine)
    assert {looks(idea) for idea, _ in made} == {looks(idea) for idea in mine}
    assert all(0.69 <= idea.forecast.mean / mean <= 1.31 for idea, _ in made)
    assert make(30, seed=1, like=mine) == made


def test_kinds_take_turns_and_a_seed_repeats():
    assert [kind for _, kind in BLANKS[:10]] == [*RHYTHM, *RHYTHM]
    assert set(RHYTHM) == set(KINDS)
    assert make_blanks(10, seed=1) == BLANKS[:10]
    assert make_blanks(10, seed=2) != BLANKS[:10]


def test_known_gains_come_after_the_blanks_and_have_patches_of_blanks():
    made = make_blanks(10, seed=1, controls=4)
    assert made[:10] == BLANKS[:10]
    assert [known_gain(kind) for _, kind in made] == [0.0] * 10 + [*GAINS, *GAINS]
    assert duplicates([idea for idea, _ in made]) == []
    for idea, kind in made[10:]:
        alike = [
            blank for blank, of in made[:10] if of == ("initial stream", "batch order")[kind == "gain 0.15"]
        ]
        assert idea.patch.overrides.keys() == alike[0].patch.overrides.keys()
        assert [edit.search for edit in idea.patch.edits] == [edit.search for edit in alike[0].patch.edits]


def test_a_descendant_is_its_parent_in_other_words():
    (parent, _), *_ = BLANKS
    shown = Forecast(mean=0.07, sd=0.04)
    taken = {idea.name for idea, _ in make_blanks(MAX_BLANKS - 1, 1)}
    child = make_descendant(parent, shown, taken, seed=1)
    assert child.name not in taken and child.hypothesis != parent.hypothesis
    assert child == make_descendant(parent, shown, taken, seed=1)
    changed = {"name", "hypothesis", "mechanism", "forecast"}
    assert child.model_dump(exclude=changed) == parent.model_dump(exclude=changed)
    assert child.forecast == shown


def test_a_record_does_not_give_a_blank_away():
    catalog = load_catalog()
    for idea, _ in make_blanks(60, 1, controls=4) + make_harms(20, 1):
        assert idea.proposer == "catalog"
        assert (idea.idea_class, idea.citation) in {(real.idea_class, real.citation) for real in catalog}
        assert idea.name not in {real.name for real in catalog}
        assert idea.forecast.mean >= 0
        words = f"{idea.name} {idea.hypothesis} {idea.mechanism}".lower()
        assert not any(word in words for word in ("blank", "harm", "noise", "nothing", "control"))


def test_too_many_blanks_are_refused():
    with pytest.raises(ValueError, match=f"count is 301; allowed are 0 to {MAX_BLANKS}"):
        make_blanks(301, 1)


def test_the_proposer_gives_ideas_without_their_kind():
    assert Blanks(seed=1).propose((), 3) == tuple(idea for idea, _ in BLANKS[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_moves_the_loss_a_little_and_never_not_at_all(kind, control, corpus, tmp_path):
    losses, scored = control
    # Nats per byte. The first two act like another seed; reordered sums change the last digits of bfloat16.
    tolerance = 0.01 if kind == "summation order" else 0.2
    for idea in of_kind(kind):
        found, out = train(tmp_path / idea.name, idea.patch, corpus, TOKENS)
        blank = score(tmp_path / f"{idea.name}-score", idea.patch, out, corpus.read_bytes()[:8193])
        assert found != losses
        assert blank == pytest.approx(scored, abs=tolerance)


@pytest.mark.parametrize("number", range(2))
def test_the_batch_order_blank_reads_the_same_sequences_in_another_order(number, corpus, tmp_path):
    def windows(folder, patch):
        seen = []
        with trainer(folder / "source", patch) as module:
            reader = module("data").Reader
            call = reader.__call__
            reader.__call__ = lambda self: seen.append(batch := call(self)) or batch
            module("loop").train(make_config(module, patch), 8 * 1024, 1, module("run").Run(corpus, folder))
        return [bytes(row.tolist()) for x_BT, _ in seen for row in x_BT]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, blank = (
        windows(tmp_path / "a", None),
        windows(tmp_path / "b", of_kind("batch order")[number].patch),
    )
    assert sum(map(len, plain)) == 8 * 1024
    assert blank != plain
    assert sorted(blank) == sorted(plain)


def test_a_harm_does_harm(control, corpus, tmp_path):
    _, scored = control
    for idea in of_kind("harm"):
        _, out = train(tmp_path / idea.name, idea.patch, corpus, TOKENS)
        harmed = score(tmp_path / f"{idea.name}-score", idea.patch, out, corpus.read_bytes()[:8193])
        assert harmed > scored + 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_costs_no_flops(kind, tmp_path):
    def flops(folder, patch):
        with trainer(folder, patch) as module, FlopCounterMode(display=False) as counter:
            model = module("model").GPT(make_config(module, patch))
            model.initialise(1)
            model(torch.zeros(4, model.config.context, dtype=torch.long)).sum().backward()
        return counter.get_total_flops()

    bare = flops(tmp_path / "bare", None)
    assert flops(tmp_path / "blank", of_kind(kind)[0].patch) == pytest.approx(bare, rel=0.01)

"""The random stream: who is run regardless of rank, how probable that was, and what it makes known."""

from __future__ import annotations

from itertools import product
from statistics import fmean

import pytest

from mendel.ideas import stream
from mendel.ideas.stream import MOST, STREAM, choose, selection_weights

NAMES = [f"idea-{number:03}" for number in range(100)]


@pytest.fixture
def uncapped(monkeypatch):
    """A stream that may fill a round, so that draws are frequent enough to count."""
    monkeypatch.setattr(stream, "MOST", 1.0)


def test_the_choice_repeats_and_follows_seed_round_and_name():
    first = choose(NAMES, 100, 16, seed=1, round=0)
    assert choose(NAMES, 100, 16, seed=1, round=0) == first
    others = [choose(NAMES, 100, 16, seed=seed, round=r) for seed, r in ((2, 0), (1, 1))]
    assert all(list(other) != list(first) for other in others)
    moved = choose([*NAMES[50:], *NAMES[:50]], 100, 16, seed=1, round=0)
    drawn = {name for name, p in first.items() if p < 1}
    assert drawn and drawn <= set(moved), "an idea is drawn by its name, wherever it stands"


def test_a_round_keeps_its_places_and_the_best_keep_theirs(uncapped):
    for seed in range(200):
        chosen = choose(NAMES, 100, 16, seed, 0)
        drawn = [name for name, p in chosen.items() if p < 1]
        assert len(chosen) == 16 or (len(chosen) == len(drawn) > 16)
        assert [name for name in chosen if name not in drawn] == NAMES[: 16 - len(drawn)]
        assert all(chosen[name] == STREAM for name in drawn)


def drawn_below(names, count, seeds):
    return fmean(
        sum(p < 1 for p in choose(names, len(names), count, seed, 0).values()) for seed in range(seeds)
    )


def test_one_waiting_idea_in_twenty_is_drawn(uncapped):
    assert drawn_below(NAMES, 16, 2000) == pytest.approx(STREAM * 87, abs=0.4)


def test_a_long_queue_does_not_fill_a_round():
    assert drawn_below([str(number) for number in range(5000)], 40, 60) == pytest.approx(MOST * 40, abs=1.0)


def test_ideas_that_were_run_before_are_not_drawn_and_a_short_queue_is_run_whole():
    for seed in range(300):
        assert choose(NAMES, 10, 12, seed, 0) == dict.fromkeys(NAMES[:12], 1.0)
    assert choose(NAMES[:5], 5, 12, 1, 0) == dict.fromkeys(NAMES[:5], 1.0)


def test_the_probabilities_are_those_with_which_ideas_are_run(monkeypatch):
    """Over all draws of five ideas for two places: given the draws of the others, each idea is run as often
    as it was said to be."""
    names, chance = list("abcde"), 0.1
    monkeypatch.setattr(stream, "STREAM", chance)
    monkeypatch.setattr(stream, "MOST", 1.0)
    for place, others in product(range(5), product([False, True], repeat=4)):
        ran, said = 0.0, set()
        for own, weight in ((True, chance), (False, 1 - chance)):
            drawn = dict(zip(names, [*others[:place], own, *others[place:]], strict=True))
            monkeypatch.setattr(stream, "_uniform", lambda seed, round, name: float(not drawn[name]))  # noqa: B023
            chosen = choose(names, 5, 2, 0, 0)
            if names[place] in chosen:
                ran += weight
                said.add(chosen[names[place]])
        assert list(said) == pytest.approx([ran])


def test_every_idea_weighs_one_on_average_whenever_it_could_be_run(uncapped):
    """Three rounds in which triage takes the best of what is left."""
    total = dict.fromkeys(NAMES, 0.0)
    trials = 4000
    for seed in range(trials):
        waiting, rounds = list(NAMES), []
        for number in range(3):
            rounds.append(choose(waiting, len(waiting), 16, seed, number))
            waiting = [name for name in waiting if name not in rounds[-1]]
        for name, weight in selection_weights(rounds).items():
            total[name] += weight
    means = [value / trials for value in total.values()]
    assert fmean(means) == pytest.approx(1.0, abs=0.01)
    assert max(abs(mean - 1) for mean in means) < 0.25
    assert fmean(means[:16]) == pytest.approx(1.0, abs=0.03)
    assert fmean(means[30:45]) == pytest.approx(1.0, abs=0.05)


def test_where_triage_forgets_nobody_every_weight_is_one():
    rounds = [dict.fromkeys("abc", 1.0)]
    assert selection_weights(rounds) == dict.fromkeys("abc", 1.0)
    assert selection_weights([]) == {}
    later = selection_weights([{"a": 1.0}, {"b": 0.05, "a": 1.0}])
    assert later == {"a": 1.0, "b": pytest.approx(10.0)}

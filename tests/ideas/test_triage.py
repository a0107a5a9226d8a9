"""Triage prefers what is expected to gain most per cost, and learns whom to believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from mendel.ideas import PROPOSERS, load_proposer
from mendel.ideas.track_record import Past
from mendel.ideas.triage import Triage, balanced, duplicates, expected_gain, rank
from mendel.records import Edit, Forecast, Idea, Patch, Range


def idea(name, mean=0.1, sd=0.1, *, proposer="catalog", idea_class="attention", p_runs=1.0, patch=None):
    return Idea(
        name=name,
        idea_class=idea_class,
        hypothesis="h",
        mechanism="m",
        citation="c",
        forecast=Forecast(mean=mean, sd=sd, p_runs=p_runs),
        patch=patch or Patch(overrides={"lr": 1.0}),
        proposer=proposer,
    )


def past(log2_cm, mean=0.1, sd=0.1, *, proposer="catalog", idea_class="shape", weight=1.0):
    said = {"proposer": proposer, "idea_class": idea_class, "forecast": Forecast(mean=mean, sd=sd)}
    return Past(**said, log2_cm=log2_cm, weight=weight)


def names(triages):
    return [triage.name for triage in triages]


@given(mean=st.floats(-1, 1), sd=st.floats(0.05, 1))
def test_the_expected_gain_is_the_integral_it_stands_for(mean, sd):
    law = stats.norm(mean, sd)
    integral, _ = integrate.quad(lambda x: x * law.pdf(x), 0, max(0, mean) + 12 * sd, limit=200)
    assert expected_gain(mean, sd) == pytest.approx(integral, abs=1e-6)


def test_more_gain_more_certainty_to_run_and_less_cost_come_first():
    ideas = [idea("small", 0.05), idea("big", 0.5), idea("fragile", 0.5, p_runs=0.4), idea("dear", 0.5)]
    assert names(rank(ideas, [], {}, {"dear": 2.0})) == ["big", "dear", "fragile", "small"]


def test_a_hopeless_forecast_is_worth_trying_only_where_it_is_unsure():
    sure, unsure = idea("sure", -0.2, 0.02), idea("unsure", -0.2, 0.5)
    assert names(rank([sure, unsure], [], {})) == ["unsure", "sure"]


def test_a_forecaster_who_was_too_hopeful_is_believed_less():
    ideas = [idea("a", 0.3, proposer="hopeful"), idea("b", 0.25, proposer="sober")]
    assert names(rank(ideas, [], {})) == ["a", "b"]
    record = [past(0.0, 0.4, proposer="hopeful")] * 4 + [past(0.1, 0.1, proposer="sober")] * 4
    assert names(rank(ideas, record, {})) == ["b", "a"]


def test_a_forecaster_who_was_too_sure_is_believed_to_be_less_sure():
    """Of two hopeless ideas the one is tried whose forecaster is known to err by more than it says."""
    ideas = [idea("a", -0.2, 0.1, proposer="sober"), idea("b", -0.2, 0.1, proposer="sure")]
    assert names(rank(ideas, [], {})) == ["a", "b"]
    record = [past(0.1 + miss, 0.1, proposer="sure") for miss in (0.3, -0.3, 0.25, -0.25) * 30]
    record += [past(0.1 + miss, 0.1, proposer="sober") for miss in (0.1, -0.1, 0.05, -0.05) * 30]
    ranked = rank(ideas, record, {})
    assert names(ranked) == ["b", "a"]
    assert "corrected by the record to -0.20 +- 0.30" in ranked[0].reason


def test_an_outcome_that_stands_for_many_counts_for_more():
    hit, miss = past(0.1, weight=1.0), past(-0.3, weight=1.0)
    plain = rank([idea("a")], [hit] * 6 + [miss] * 2, {})[0].score
    heavy = rank([idea("a")], [hit] * 6 + [miss.model_copy(update={"weight": 5.0})] * 2, {})[0].score
    assert heavy < plain


def test_a_class_that_disappointed_is_believed_less_whoever_proposed():
    ideas = [idea("a", 0.3, idea_class="shape"), idea("b", 0.25, idea_class="loss")]
    assert names(rank(ideas, [], {})) == ["a", "b"]
    record = [past(-0.2, 0.2, idea_class="shape")] * 4 + [past(0.4, 0.2, idea_class="loss")] * 4
    assert names(rank(ideas, record, {})) == ["b", "a"]


def test_a_forecaster_whose_patches_fail_is_believed_less():
    ideas = [idea("a", 0.3, proposer="sloppy"), idea("b", 0.25, proposer="careful")]
    record = [past(None, proposer="sloppy")] * 10 + [past(0.1, proposer="careful")] * 10
    assert names(rank(ideas, record, {})) == ["b", "a"]


def test_an_untried_class_comes_first_among_equals():
    ideas = [idea("a", idea_class="attention"), idea("b", idea_class="loss")]
    assert names(rank(ideas, [], {"attention": 5.0})) == ["b", "a"]


def test_ties_go_by_name_and_the_order_of_candidates_does_not_matter():
    ideas = [idea(name) for name in "cab"]
    assert names(rank(ideas, [], {})) == ["a", "b", "c"] == names(rank(ideas[::-1], [], {}))


def test_the_reason_gives_the_numbers():
    (triage,) = rank([idea("a", 0.1, 0.1)], [past(0.3, 0.1)] * 3, {})
    assert "forecast +0.10 +- 0.10, corrected by the record to +0.2" in triage.reason
    assert triage.score > rank([idea("a", 0.1, 0.1)], [], {})[0].score


def test_impossible_costs_are_refused():
    with pytest.raises(ValueError, match="idea 'a': cost 0 must be above 0"):
        rank([idea("a")], [], {}, {"a": 0})


def test_equal_patches_are_duplicates_whatever_they_are_called():
    def edit(text, path="a.py"):
        return Edit(path=path, search="x", replace=text)

    def with_patch(name, **patch):
        return idea(name, patch=Patch(**patch))

    ideas = [
        with_patch("first", overrides={"n": 2}, edits=(edit("y"), edit("z", "b.py"))),
        with_patch("float", overrides={"n": 2.0}, edits=(edit("y  "), edit("z", "b.py")), slot="s"),
        with_patch("reordered", overrides={"n": 2}, edits=(edit("z", "b.py"), edit("y"))),
        with_patch("another", overrides={"n": 2}, edits=(edit("w"), edit("z", "b.py"))),
        with_patch("number", overrides={"bias": 1}),
        with_patch("switch", overrides={"bias": True}),
        with_patch("tuned", tune={"n": Range(low=1, high=2)}),
        with_patch("wider", tune={"n": Range(low=1, high=3)}),
        with_patch("again", tune={"n": Range(low=1, high=2)}),
    ]
    assert duplicates(ideas) == [("float", "first"), ("reordered", "first"), ("again", "tuned")]


def test_proposers_are_reached_by_a_short_name(tmp_path):
    assert set(PROPOSERS) == {"catalog", "file", "blanks"}
    assert len(load_proposer("catalog").propose((), 5)) == 5
    assert len(load_proposer("blanks", 3).propose((), 4)) == 4
    with pytest.raises(ValueError, match="'magic' is unknown; allowed are catalog, file, blanks"):
        load_proposer("magic")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 12))
def test_no_class_takes_more_than_its_share_while_others_wait(kinds, count):
    ranked = [Triage(str(place), float(-place), "") for place in range(len(kinds))]
    classes = {str(place): kind for place, kind in enumerate(kinds)}
    names = balanced(ranked, classes, count)
    assert sorted(names) == sorted(classes)
    first, rest = [classes[name] for name in names[:count]], {classes[name] for name in names[count:]}
    most = -(-count // 3)
    for kind in set(first):
        others_wait = any(other != kind and first.count(other) < most for other in rest)
        assert first.count(kind) <= most or not others_wait
    for kind in "abc":  # within a class, the order is that of the ranking
        own = [int(name) for name in names if classes[name] == kind]
        assert own == sorted(own)

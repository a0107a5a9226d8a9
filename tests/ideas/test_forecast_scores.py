"""Scores tell good forecasters from bad ones, whatever triage chose to run and however noisy the lab is."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from scipy import stats

from mendel.ideas.forecast_scores import BINS, overall, score, weighted_mean
from mendel.ideas.stream import choose, selection_weights
from mendel.ideas.track_record import Past
from mendel.records import Forecast

MEASURED = 0.08
"""Standard error of outcomes, log2 CM."""


def past(y, mean=0.0, sd=0.1, *, who="somebody", about="shape", weight=1.0, se=MEASURED, p_runs=0.95):
    said = Forecast(mean=mean, sd=sd, p_runs=p_runs)
    return Past(proposer=who, idea_class=about, forecast=said, log2_cm=y, se=se, weight=weight)


def forecaster(count, seed, *, sure=1.0, hope=0.0, who="somebody"):
    """Knows an idea up to N(0, 0.15^2) and says so, but for `sure` (true sd over stated) and `hope`."""
    draw = random.Random(seed)
    pasts = []
    for _ in range(count):
        known = draw.gauss(0, 0.2)
        measured = known + draw.gauss(0, 0.15) + draw.gauss(0, MEASURED)
        pasts.append(past(measured, known + hope, 0.15 / sure, who=who))
    return pasts


def test_a_calibrated_forecaster_is_found_calibrated():
    found = overall(forecaster(4000, seed=1))
    assert found.within_50.value == pytest.approx(0.5, abs=3 * found.within_50.se)
    assert found.within_90.value == pytest.approx(0.9, abs=3 * found.within_90.se)
    assert found.pit == pytest.approx([1 / BINS] * BINS, abs=0.02)
    assert found.bias.value == pytest.approx(0, abs=3 * found.bias.se)
    assert found.spread == pytest.approx(1, abs=0.05)
    said = stats.norm(0, math.hypot(0.15, MEASURED))
    assert found.log_score.value == pytest.approx(-said.entropy(), abs=3 * found.log_score.se)


def test_skill_is_what_knowing_more_than_the_average_is_worth():
    """ln of the ratio of spreads, for normal forecasts; the climatology itself has none to speak of."""
    found = overall(forecaster(4000, seed=2))
    worth = math.log(math.hypot(0.2, 0.15, MEASURED) / math.hypot(0.15, MEASURED))
    assert found.skill.value == pytest.approx(worth, abs=3 * found.skill.se)
    draw = random.Random(3)
    plain = [past(draw.gauss(0, math.hypot(0.2, MEASURED)), 0.0, 0.2) for _ in range(2000)]
    assert overall(plain).skill.value == pytest.approx(0, abs=0.005)


def test_overconfidence_costs_score_and_shows_in_coverage():
    honest, sure = overall(forecaster(1000, seed=4)), overall(forecaster(1000, seed=4, sure=3.0))
    assert sure.within_90.value < 0.75 < honest.within_90.value
    assert sure.within_50.value < 0.4
    assert sure.pit[0] + sure.pit[-1] > 0.35
    assert sure.spread == pytest.approx(3.0, rel=0.15)
    assert sure.log_score.value < honest.log_score.value - 5 * honest.log_score.se


def test_hope_is_told_with_its_standard_error():
    found = overall(forecaster(500, seed=5, hope=0.1))
    assert found.bias.value == pytest.approx(-0.1, abs=3 * found.bias.se)
    assert 0.1 / found.bias.se > 5


def test_nobody_is_blamed_for_the_noise_of_the_lab():
    exact = [past(0.0, 0.0, 0.01, se=0.3)] * 3
    assert overall(exact).log_score.value == pytest.approx(stats.norm.logpdf(0, 0, math.hypot(0.01, 0.3)))


def picky_campaign(seed):
    """150 ideas of a calibrated gambler who overstates every difference: its forecasts are right on average,
    the most hopeful ones are not. Triage runs the 16 most hopeful in each of three rounds."""
    draw = random.Random(seed)
    ideas = {}
    for number in range(150):
        truth = draw.gauss(0, 0.2)
        measured, said = truth + draw.gauss(0, MEASURED), truth + draw.gauss(0, 0.2)
        ideas[f"idea-{number}"] = past(measured, said, 0.2)
    waiting, rounds = sorted(ideas, key=lambda name: -ideas[name].forecast.mean), []
    for number in range(3):
        rounds.append(choose(waiting, len(waiting), 16, seed, number))
        waiting = [name for name in waiting if name not in rounds[-1]]
    weights = selection_weights(rounds)
    return ideas, [ideas[name].model_copy(update={"weight": w}) for name, w in weights.items()]


def test_selection_by_triage_is_weighted_out():
    truths, plain, weighted, errors = [], [], [], []
    for seed in range(300):
        ideas, seen = picky_campaign(seed)
        truths.append(overall(list(ideas.values())))
        plain.append(overall([one.model_copy(update={"weight": 1.0}) for one in seen]))
        weighted.append(overall(seen))
        errors.append(weighted[-1].bias.value - truths[-1].bias.value)

    def mean(scores, key):
        return fmean(getattr(one, key).value for one in scores)

    assert mean(truths, "bias") == pytest.approx(0, abs=0.005)
    assert mean(plain, "bias") < -0.06, "the most hopeful forecasts are too hopeful: selection, not bias"
    assert abs(mean(weighted, "bias")) < 0.015
    for key in ("log_score", "within_50", "within_90"):
        gap = abs(mean(plain, key) - mean(truths, key))
        assert abs(mean(weighted, key) - mean(truths, key)) < max(0.5 * gap, 0.012), key
    # The standard errors are of the right size, if a little small with so few drawn ideas.
    spread = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    said = fmean(one.bias.se for one in weighted)
    assert 0.6 * spread < said < 1.4 * spread


def test_whether_ideas_run_is_scored_with_those_that_did_not():
    ran, broke = past(0.1, p_runs=0.8), past(None, p_runs=0.8)
    found = overall([ran] * 8 + [broke] * 2)
    assert (found.outcomes, found.tried) == (8, 10)
    assert (found.runs.value, found.said_runs.value) == pytest.approx((0.8, 0.8))
    assert found.brier.value == pytest.approx(0.8 * 0.04 + 0.2 * 0.64)
    assert found.runs_log_score.value == pytest.approx(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert math.isfinite(overall([past(None, p_runs=1.0)]).runs_log_score.value)


def test_groups_are_scored_apart_and_little_is_said_of_little():
    pasts = [past(0.1, who="a", about="loss"), past(0.2, who="b", about="loss"), past(None, who="c")]
    proposers, classes = score(pasts)
    assert [one.name for one in proposers] == ["a", "b", "c"]
    assert [(one.name, one.outcomes) for one in classes] == [("loss", 2), ("shape", 0)]
    assert proposers[0].bias.se is None and proposers[0].skill is None
    assert (proposers[2].log_score, proposers[2].runs.value) == (None, 0.0)
    assert overall([]).tried == 0 and overall([]).brier is None


def test_the_weighted_mean_is_the_textbook_one():
    found = weighted_mean([1.0, 2.0, 4.0], [1.0, 1.0, 2.0])
    assert found.value == pytest.approx(11 / 4)
    squares = (1.75**2 + 0.75**2 + (2 * 1.25) ** 2) * 3 / 2
    assert found.se == pytest.approx(math.sqrt(squares) / 4)
    assert weighted_mean([], []) is None and weighted_mean([1.0], [3.0]).se is None


def test_climatology_leaves_out_the_outcome_it_is_compared_on():
    pasts = [past(y, 0.0, 0.2, weight=w) for y, w in ((0.1, 1.0), (-0.2, 3.0), (0.3, 1.0), (0.0, 2.0))]
    by_hand = []
    for place, one in enumerate(pasts):
        others = pasts[:place] + pasts[place + 1 :]
        weights, values = [p.weight for p in others], [p.log2_cm for p in others]
        total, worth = sum(weights), sum(weights) ** 2 / sum(w * w for w in weights)
        mean = sum(w * y for w, y in zip(weights, values, strict=True)) / total
        variance = sum(w * (y - mean) ** 2 for w, y in zip(weights, values, strict=True)) / total
        variance *= worth / (worth - 1)
        true = max(variance - MEASURED**2, 0.01**2)
        said = stats.norm.logpdf(one.log2_cm, 0.0, math.hypot(0.2, MEASURED))
        law = math.sqrt(true + MEASURED**2 + variance / worth)
        by_hand.append(said - stats.norm.logpdf(one.log2_cm, mean, law))
    weights = [one.weight for one in pasts]
    assert overall(pasts).skill.value == pytest.approx(weighted_mean(by_hand, weights).value)

"""Several forecasts as one: by track record, never surer than its forecasters, wider where they disagree."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.ideas.pool import BASE_RATE, PRIOR, base_rate, pool
from mendel.ideas.track_record import Past
from mendel.records import Forecast


def past(name, mean, outcome, sd=0.1, idea_class="data"):
    forecast = Forecast(mean=mean, sd=sd)
    return Past(proposer=name, idea_class=idea_class, forecast=forecast, log2_cm=outcome, se=0.01)


FORECASTS = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(Forecast, mean=st.floats(-1, 1), sd=st.floats(0.02, 1), p_runs=st.floats(0, 1)),
    min_size=1,
)


@given(FORECASTS)
def test_a_pool_lies_between_its_forecasts_and_is_no_surer_than_the_surest(forecasts):
    found = pool(forecasts, {}).forecast
    means = [one.mean for one in forecasts.values()]
    assert min(means) - 1e-9 <= found.mean <= max(means) + 1e-9
    assert found.sd >= min(one.sd for one in forecasts.values()) * (1 - 1e-9)
    assert math.isclose(sum(pool(forecasts, {}).weights.values()), 1)


def test_disagreement_makes_it_wider():
    near, far = ({"a": Forecast(mean=0, sd=0.1), "b": Forecast(mean=m, sd=0.1)} for m in (0.0, 1.0))
    assert pool(far, {}).forecast.sd > 2.5 * pool(near, {}).forecast.sd


def test_who_was_too_hopeful_is_corrected_and_who_was_too_sure_counts_less():
    rng = random.Random(1)
    hopeful = [past("a", 0.5, 0.0 + rng.gauss(0, 0.1)) for _ in range(40)]
    sure = [past("b", 0.0, rng.gauss(0, 0.4)) for _ in range(40)]
    said = {"a": Forecast(mean=0.5, sd=0.1), "b": Forecast(mean=0.0, sd=0.1)}
    found = pool(said, {"a": hopeful, "b": sure})
    assert abs(found.forecast.mean) < 0.1
    assert found.weights["a"] > 3 * found.weights["b"]


def test_pooled_forecasts_of_a_good_and_a_bad_forecaster_score_better_than_both_alone_on_average():
    """Simulated: the log score of the pool, with records of thirty ideas, over two hundred further ones."""
    rng = random.Random(2)

    def idea():
        truth = rng.gauss(0, 0.2)
        return truth, {
            "skilled": Forecast(mean=truth + rng.gauss(0, 0.1), sd=0.1),
            "boaster": Forecast(mean=0.4 + rng.gauss(0, 0.2), sd=0.05),
        }

    def score(forecast, truth):
        return -math.log(forecast.sd) - ((truth - forecast.mean) / forecast.sd) ** 2 / 2

    early = [idea() for _ in range(30)]
    records = {
        name: [past(name, said[name].mean, truth, said[name].sd) for truth, said in early]
        for name in ("skilled", "boaster")
    }
    later = [idea() for _ in range(200)]
    alone = {name: sum(score(said[name], truth) for truth, said in later) / 200 for name in records}
    pooled = sum(score(pool(said, records).forecast, truth) for truth, said in later) / 200
    equal = sum(score(pool(said, {}).forecast, truth) for truth, said in later) / 200
    assert pooled > alone["boaster"] + 1
    assert pooled > equal
    assert pooled > alone["skilled"] - 0.3, "a bad one beside it costs little"


def test_a_base_rate_is_what_the_class_came_to():
    pasts = [past("x", 0, 0.1), past("x", 0, 0.3), past("x", 0, None), past("x", 0, 9.0, idea_class="loss")]
    found = base_rate("data", pasts)
    assert 0 < found.mean < 0.2
    assert found.p_runs < PRIOR.p_runs
    assert base_rate("shape", pasts) == PRIOR


def test_nothing_to_pool_is_an_error():
    with pytest.raises(ValueError, match="no forecast"):
        pool({}, {BASE_RATE: []})

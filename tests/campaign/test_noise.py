"""A campaign says once how noisy its runs and pairs are, as soon as pairs have shown it."""

import pytest
import toy
from toy import idea

from mendel.campaign.noise import NOISE, noise_words
from mendel.campaign.summary import summarise

KNOBS = [*toy.GOOD, *(idea(f"null-{i}", {"label": str(i)}) for i in range(6))]


def told(store, campaign):
    return [event.message for event in store.events(campaign) if event.message.startswith("noise: ")]


def test_the_noise_is_told_once_with_its_intervals(campaign):
    for policy in ({"forward": 0}, {"forward": 4}):
        store, found = campaign(KNOBS, policy={**policy, "curve_seeds": 3})
        noise = summarise(store, store.campaign(found))["noise"]
        assert told(store, found) == [noise_words(noise)]
        assert noise["unit"] == "bits per byte" and noise["curve_runs"] == 12 and noise["pairs"] >= 4
        for key in ("run", "pair", "pairing"):
            assert noise[key]["low"] < noise[key]["value"] < noise[key]["high"]
        # Three seeds, the same at each budget: two degrees of freedom, by chi-squared.
        assert noise["run"]["high"] / noise["run"]["value"] == pytest.approx((2 / 0.0506356) ** 0.5)
        # The toy's own noise is shared by a pair but for 0.004 of each run.
        assert noise["pair"]["low"] < 0.004 * 2**0.5 < noise["pair"]["high"]
        assert noise["run"]["low"] < 0.02 < noise["run"]["high"]
        assert store.decision(found, NOISE) == noise


def test_nothing_is_told_where_no_pairs_differ(campaign):
    failing = [idea("crashing", {"fail": "late_crash"}), idea("mute", {"fail": "late_mute"})]
    store, found = campaign(failing, budget="60runs")
    assert told(store, found) == [] and summarise(store, store.campaign(found))["noise"] is None


def test_the_words_tell_the_unit_and_what_pairs_are_worth():
    values = {"run": 0.031, "pair": 0.012, "pairing": 13.0}
    found = {key: {"value": v, "low": v / 2, "high": v * 2} for key, v in values.items()}
    assert noise_words({"unit": "nats per token", **found}) == (
        "noise: a run 0.031 [0.015, 0.062] nats per token over seeds, a pair 0.012 [0.006, 0.024]; "
        "pairing is worth 13 [6.5, 26] times the runs"
    )

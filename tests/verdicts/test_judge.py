"""One idea's pairs become a verdict, a round of ideas becomes decisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import Rule, VerdictKind
from mendel.verdicts import Action, by_pairs, judge, judge_round, judge_unaided
from mendel.verdicts.judge import strongest_first

RULE = Rule(planned=4, min_loss_gain=0.005, max_pairs=12)
GOOD = [0.051, 0.048, 0.060, 0.044, 0.055, 0.049, 0.058]
FLAT = [0.012, -0.015, 0.020, -0.011, 0.004, 0.016, -0.02]


def test_a_clear_gain_is_better_and_its_mirror_image_worse():
    assert judge(RULE, GOOD).kind is VerdictKind.BETTER
    assert judge(RULE, [-d for d in GOOD]).kind is VerdictKind.WORSE
    assert judge(RULE, FLAT).kind is VerdictKind.NO_DIFFERENCE_SHOWN


def test_nothing_is_better_below_five_pairs():
    assert judge(RULE, [10 * d for d in GOOD[:4]]).log_e == -math.inf
    assert judge(RULE, GOOD[:5]).log_e > 0
    assert judge(RULE.model_copy(update={"min_pairs": 8}), GOOD).log_e == -math.inf


def test_a_large_t_value_needs_the_sign_flip_as_well():
    few_signs = [0.2, 0.2, 0.2, 0.2, -0.19, 0.2]
    judgement = judge(RULE, few_signs)
    assert judgement.log_e_sign < math.log(20)
    assert judgement.log_e == -math.inf


def test_a_gain_below_the_smallest_of_interest_is_not_claimed():
    tiny = [0.0031, 0.0028, 0.0030, 0.0029, 0.0032, 0.0030]
    assert judge(RULE, tiny).kind is VerdictKind.EQUIVALENT
    assert judge(RULE.model_copy(update={"min_loss_gain": 0.0}), tiny).kind is VerdictKind.BETTER


def test_identical_runs_are_equivalent_and_divide_by_nothing():
    with np.errstate(all="raise"):
        judgement = judge(RULE, [0.0] * 6)
    assert judgement.kind is VerdictKind.EQUIVALENT
    assert (judgement.difference.low, judgement.difference.high) == (0.0, 0.0)


@pytest.mark.parametrize("failure", [None, math.nan, math.inf, -math.inf, -7.0])
def test_a_failed_treatment_scores_the_bound(failure):
    judgement = judge(RULE, [*GOOD, failure])
    assert judgement.difference.value == pytest.approx((sum(GOOD) - 1.0) / 8)
    assert judgement.failures == (failure != -7.0)
    assert judgement.kind is not VerdictKind.BETTER


def test_a_treatment_that_always_fails_is_called_failed():
    assert judge(RULE, [None] * 3).kind is VerdictKind.FAILED


def test_a_hopeless_idea_is_given_up_and_a_promising_one_is_not():
    assert judge(RULE, [-0.02, -0.03, -0.025]).futile
    assert judge(RULE, FLAT).futile
    assert not judge(RULE, GOOD[:4]).futile
    assert not judge(RULE, [0.01, 0.03, -0.01, 0.04, 0.02]).futile


@given(st.lists(st.none() | st.floats(allow_nan=True), min_size=1, max_size=15))
def test_any_list_of_differences_gets_a_verdict(differences):
    judgement = judge(RULE, differences)
    assert judgement.pairs == len(differences)
    assert not math.isnan(judgement.log_e)
    if judgement.kind is VerdictKind.BETTER:
        assert judgement.pairs >= RULE.min_pairs


def test_no_pairs_are_an_error():
    with pytest.raises(ValueError, match="no pair"):
        judge(RULE, [])


def test_a_round_claims_stops_and_continues():
    names = ["good", "bad", "unclear"]
    unclear = [0.01, 0.03, -0.01, 0.04, 0.02]
    after = judge_round(RULE, names, {"good": GOOD, "bad": [-d for d in GOOD], "unclear": unclear}, frozen={})
    assert {n: d.action for n, d in after.decisions.items()} == {
        "good": Action.CLAIM,
        "bad": Action.STOP,
        "unclear": Action.CONTINUE,
    }
    assert after.claimed == {"good"}
    assert after.decisions["good"].judgement.kind is VerdictKind.BETTER
    assert after.frozen == {"good": after.decisions["good"].judgement.log_e, "bad": -math.inf}


def test_the_last_pair_stops_an_idea_for_good():
    rule = RULE.model_copy(update={"max_pairs": 5, "planned": 1000})
    after = judge_round(rule, ["a"], {"a": GOOD[:5]}, {})
    assert after.decisions["a"].action is Action.STOP
    assert after.decisions["a"].judgement.kind is VerdictKind.NO_DIFFERENCE_SHOWN
    assert after.decisions["a"].judgement.log_e > 0
    assert after.frozen == {"a": -math.inf}


def test_what_stopped_without_a_claim_is_not_claimed_when_others_succeed_later():
    rule = RULE.model_copy(update={"max_pairs": 7, "planned": 1000})
    names = ["early", "later", "last"]
    strong = [10 * d for d in GOOD]
    missed = judge_round(rule, names[:1], {"early": GOOD}, {})
    assert missed.decisions["early"].action is Action.STOP
    at_once = judge_round(rule, names, {"early": GOOD, "later": strong, "last": strong}, {})
    assert at_once.claimed == set(names)  # its evidence would do, had it stood beside the others
    after = judge_round(rule, names, {"later": strong, "last": strong}, missed.frozen)
    assert "early" not in after.claimed
    assert after.frozen["early"] == -math.inf


def test_a_claim_lowers_the_bar_for_later_ideas_and_stays():
    claim = {"first": math.log(4 / 0.05 / 0.8) + 0.01}
    second = judge_round(RULE, ["first", "good"], {"good": GOOD}, claim)
    assert second.claimed == {"first", "good"}
    assert second.frozen["first"] == claim["first"]


STRONG = [d + 0.5 for d in GOOD]
HELPED = Rule(planned=1000, min_loss_gain=0.005, max_pairs=7)
"""Too many for the claim of GOOD by itself, few enough for it beside a strong one."""


def leave_out(*planted):
    """Of planted ideas the strongest that would be claimed, as in a campaign."""
    return lambda claims: [name for name in strongest_first(claims) if name in planted][:1]


def test_no_claim_is_carried_by_one_that_does_not_count():
    names, data = ["planted", "good"], {"planted": STRONG, "good": GOOD}
    aided = judge_round(HELPED, names, data, {})
    assert aided.claimed == {"planted", "good"}
    after = judge_unaided(HELPED, names, by_pairs(HELPED, data), {}, leave_out("planted"))
    assert after.claimed == frozenset()
    assert after.frozen == {"planted": -math.inf, "good": -math.inf}
    assert judge_unaided(HELPED, names, by_pairs(HELPED, data), {}, leave_out()) == aided


def test_what_is_left_out_is_taken_one_by_one_so_that_the_weaker_is_claimed_by_itself_or_not_at_all():
    taken = []

    def barred(claims):
        found = leave_out("planted", "weak")(claims)
        taken.extend(found)
        return found

    names, data = ["planted", "weak"], {"planted": STRONG, "weak": GOOD}
    after = judge_unaided(HELPED, names, by_pairs(HELPED, data), {}, barred)
    assert taken == ["planted"]
    assert after.decisions["weak"].judgement.kind is VerdictKind.NO_DIFFERENCE_SHOWN
    taken.clear()
    judge_unaided(RULE, names, by_pairs(RULE, data), {}, barred)
    assert taken == ["planted", "weak"]


def test_a_claim_that_needs_no_help_stands_and_what_runs_goes_on():
    rule = HELPED.model_copy(update={"max_pairs": 12})
    names = ["planted", "strong", "good"]
    data = {"planted": STRONG, "strong": [d + 0.3 for d in GOOD], "good": GOOD[:5]}
    after = judge_unaided(rule, names, by_pairs(rule, data), {}, leave_out("planted"))
    assert after.claimed == {"strong"}
    assert after.decisions["good"].action is Action.CONTINUE
    assert set(after.frozen) == {"planted", "strong"}


def test_every_idea_that_entered_raises_the_bar_for_those_beyond_the_plan():
    crowd = {f"old{i}": -math.inf for i in range(8)}
    first = judge_round(RULE, ["new", *crowd], {"new": GOOD[:5]}, crowd)
    last = judge_round(RULE, [*crowd, "new"], {"new": GOOD[:5]}, crowd)
    assert first.claimed == {"new"}
    assert last.claimed == frozenset()


def test_the_order_in_which_results_are_handed_over_does_not_matter():
    names = ["a", "b", "c"]
    data = {"a": GOOD, "b": FLAT, "c": [-d for d in GOOD]}
    forward = judge_round(RULE, names, data, {})
    assert forward == judge_round(RULE, names, dict(reversed(data.items())), {})


@pytest.mark.parametrize(
    ("entered", "differences", "frozen", "message"),
    [
        (["a"], {}, {}, "'a'.*neither"),
        (["a"], {"a": GOOD}, {"a": 1.0}, "'a'.*both"),
        (["a"], {"a": GOOD, "b": GOOD}, {}, "never entered.*b"),
        (["a", "a"], {"a": GOOD}, {}, "twice"),
    ],
)
def test_an_idea_is_never_tested_for_free(entered, differences, frozen, message):
    with pytest.raises(ValueError, match=message):
        judge_round(RULE, entered, differences, frozen)


def test_a_claim_must_hold_at_the_known_noise_too():
    lucky = [0.011, 0.012, 0.011, 0.013, 0.012, 0.011]
    unknown = Rule(min_loss_gain=0.005)
    assert judge(unknown, lucky).kind is VerdictKind.BETTER
    noisy = Rule(min_loss_gain=0.005, noise=0.03, noise_pairs=16)
    quiet = Rule(min_loss_gain=0.005, noise=0.002, noise_pairs=16)
    assert judge(noisy, lucky).kind is not VerdictKind.BETTER
    assert judge(quiet, lucky).kind is VerdictKind.BETTER

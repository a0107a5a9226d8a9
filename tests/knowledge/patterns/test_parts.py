"""What patterns are made of: knobs read off a table, tests that are wrong as rarely as they say, bounds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mendel.knowledge.patterns.agreement import tau_interval
from mendel.knowledge.patterns.best import never
from mendel.knowledge.patterns.diverged import without_diverged
from mendel.knowledge.patterns.experiment import repeats
from mendel.knowledge.patterns.factors import as_factor, roles
from mendel.knowledge.patterns.failures import Settings, failing, newcombe
from mendel.knowledge.patterns.importance import importance
from mendel.knowledge.patterns.inert import upper_noncentrality
from mendel.knowledge.patterns.linear import basis, contrast, free_of, pseudo_values
from mendel.knowledge.patterns.linear import test_feature as check_feature
from mendel.knowledge.patterns.units import first_part, make_units, read_runs
from mendel.knowledge.states import state
from mendel.knowledge.table import Table


def table(**columns):
    return Table(
        "runs", pa.table({name.replace("__", "."): pa.array(list(x)) for name, x in columns.items()})
    )


def texts(values):
    return [str(one) for one in values]


# --- which column is what ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("lr", "knob"), ("warmup_steps", "knob"), ("z_loss", "knob"), ("loss_scale", "knob"),
        ("model_name", "knob"), ("n_params", "knob"), ("train_time_ms", "measured"),
        ("final.val_loss", "measured"), ("hellaswag_acc", "measured"), ("loss_1000", "measured"),
        ("loss_c4_val", "measured"), ("last_step", "measured"), ("peak_memory_gb", "measured"),
        ("final_lr", "knob"), ("best_of_n", "knob"), ("eval_batch_size", "knob"), ("warmup_step", "knob"),
        ("acc_steps", "knob"), ("pin_mem", "knob"), ("max_seconds", "knob"), ("loss.gamma", "knob"),
        ("tokens_per_step", "knob"), ("rnn_cell", "knob"), ("random_state", "shared"), ("cv_fold", "shared"),
        ("valLoss", "measured"), ("val_loss_mean", "measured"), ("rmse", "measured"), ("rougeL", "measured"),
        ("tokens_per_second", "measured"), ("max_memory_allocated", "measured"), ("mIoU", "measured"),
        ("Unnamed: 0", "ignored"), ("git_sha", "ignored"), ("model_id", "ignored"), ("_timestamp", "ignored"),
        ("run_id", "ignored"), ("commit", "ignored"), ("data_seed", "shared"), ("config.sweep_id", "shared"),
    ],
)  # fmt: skip
def test_names_tell_knobs_from_results_and_names(name, role):
    some = Table("runs", pa.table({name: [1.0, 2.0, 4.0] * 4, "loss": list(range(12))}))
    found = roles(some, "loss")
    where = {
        "knob": [one.name for one in found.knobs],
        "measured": found.measured,
        "ignored": found.ignored,
        "shared": list(found.shared),
    }
    assert [key for key, names in where.items() if name in names] == [role]


def test_a_column_may_be_named_a_knob_against_its_name():
    found = roles(table(loss=range(12), val_acc=[1, 2, 3] * 4, lr=[1, 2] * 6), "loss", knobs=["val_acc"])
    assert [one.name for one in found.knobs] == ["val_acc"] and found.ignored == ("lr",)


def test_words_are_choices_whatever_their_column_is_called_and_counts_number_rows():
    found = roles(table(loss=["mse", "l1"] * 8, n=range(1, 17), lr=[1, 2, 4, 8] * 4, val=range(16)), "val")
    assert [one.name for one in found.knobs] == ["loss", "lr"] and found.ignored == ("n",)


@pytest.mark.parametrize(
    ("said", "is_"),
    [
        ("failed: oom", "failed"), ("NaN loss", "failed"), ("exploded", "failed"), ("pruned", "unfinished"),
        ("CANCELLED by 1000", "unfinished"), ("success", "finished"), ("", "finished"),
        ("finance", "finished"),
    ],
)  # fmt: skip
def test_states_are_known_by_their_words(said, is_):
    assert state(said) == is_


def test_numbers_are_read_on_the_scale_on_which_they_were_chosen():
    rng = np.random.default_rng(0)
    assert as_factor("lr", texts(10 ** rng.uniform(-4, -2, 40))).scale == "log"
    assert as_factor("depth", texts(rng.integers(2, 12, 40))).scale == "linear"
    off = as_factor("wd", texts(rng.choice([0, 0.01, 0.1], 40)))
    assert off.scale == "from zero" and off.setting(off.codes.max()) == "0.1" and off.setting(0.0) == "0"
    assert as_factor("flag", ["true", "false"] * 9).levels == ("false", "true")
    assert as_factor("width", ["512", "1024"] * 9).levels == ("512", "1024"), "in the order of numbers"
    assert as_factor("id", [f"run {k}" for k in range(40)]) is None
    assert as_factor("opt", ["a"] * 20 + ["b"] * 20 + ["c"]).levels == ("a", "b", "(rare)")
    assert as_factor("momentum", ["0.9", "", "0.99", "0.95"] * 6).codes.shape == (24,), (
        "empty where it is no knob"
    )


def test_a_missing_number_lies_in_the_middle_but_a_missing_choice_is_one():
    many = as_factor("lr", [str(k) for k in range(1, 30)] + [""])
    assert many.codes[-1] == 15 and many.missing.tolist() == [False] * 29 + [True]
    few = as_factor("clip", ["0.5", "1", "", "5"] * 3)
    assert few.levels == ("0.5", "1", "5", "(none)"), "not to clip is a setting of its own"
    assert "(none)" in as_factor("optimizer", ["adamw", "", "muon", "muon"] * 3).levels


# --- tests and intervals -------------------------------------------------------------------------------


def test_a_useless_feature_is_significant_as_rarely_as_it_says_whatever_the_noise():
    rng = np.random.default_rng(1)
    for noise in (
        rng.standard_normal,
        lambda n: rng.standard_t(2.5, n),
        lambda n: rng.exponential(size=n) ** 1.5,
    ):
        below = []
        for _ in range(500):
            x = rng.standard_normal(60)
            q = basis(np.stack([np.ones(60), rng.standard_normal(60)], axis=1))
            y, _ = pseudo_values(noise(60), q)
            below.append(check_feature(y, x, q, seed=0).p)
        assert np.mean(np.array(below) < 0.05) <= 0.07 and np.mean(np.array(below) < 0.01) <= 0.02


def test_unequal_noise_does_not_make_a_feature_significant():
    rng, false = np.random.default_rng(2), 0
    for _ in range(400):
        x = rng.choice([0.0, 1.0], 120, p=[0.85, 0.15])
        y = rng.standard_normal(120) * np.where(x > 0, 3.0, 0.5)
        q = basis(np.ones((120, 1)))
        false += check_feature(pseudo_values(y, q)[0], x, q).p < 0.05
    assert false / 400 <= 0.075


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_contrast_is_that_of_least_squares(seed):
    rng = np.random.default_rng(seed)
    x, z = (
        rng.standard_normal((40, 2)),
        np.concatenate([np.ones((40, 1)), rng.standard_normal((40, 2))], axis=1),
    )
    y = rng.standard_normal(40)
    q = basis(z)
    value, low, high = contrast(y, x, q, np.array([1.0, -2.0]), 0.95)
    whole = np.concatenate([x, z], axis=1)
    b = np.linalg.lstsq(whole, y, rcond=None)[0]
    assert value == pytest.approx(b[0] - 2 * b[1])
    w = np.array([1.0, -2.0, 0, 0, 0])
    s2 = ((y - whole @ b) ** 2).sum() / 35
    half = stats.t.ppf(0.975, 35) * np.sqrt(s2 * w @ np.linalg.inv(whole.T @ whole) @ w)
    assert (low, high) == pytest.approx((value - half, value + half))
    assert free_of(q, z) == pytest.approx(0, abs=1e-7)


def test_outliers_do_not_move_a_fit():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(200)
    y = 2 * x + 0.1 * rng.standard_normal(200)
    y[:10] += 50
    q = basis(np.stack([np.ones(200), x], axis=1))
    value, low, high = contrast(
        pseudo_values(y, q)[0], x[:, None], basis(np.ones((200, 1))), np.ones(1), 0.95
    )
    assert value == pytest.approx(2, abs=0.05) and high - low < 0.2


def test_an_interval_of_tau_covers():
    rng, inside = np.random.default_rng(4), 0
    for _ in range(400):
        x = rng.standard_normal(40)
        y = 0.6 * x + 0.8 * rng.standard_normal(40)
        low, high = tau_interval(stats.kendalltau(x, y).statistic, 40)
        inside += low <= 2 / np.pi * np.arcsin(0.6) <= high
    assert inside / 400 == pytest.approx(0.95, abs=0.03)


def test_an_interval_of_two_shares_covers():
    rng, inside = np.random.default_rng(5), 0
    for _ in range(1000):
        low, high = newcombe(rng.binomial(20, 0.6), 20, rng.binomial(50, 0.1), 50)
        inside += low <= 0.5 <= high
    assert inside / 1000 >= 0.93


def test_the_bound_of_what_an_inert_knob_may_do_is_exceeded_as_rarely_as_it_says():
    rng, size = np.random.default_rng(6), 6.0
    f = stats.ncf.rvs(2, 100, size, size=400, random_state=rng)
    assert np.mean([upper_noncentrality(one, 2, 100) >= size for one in f]) >= 0.93


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 10), st.floats(0.01, 10), st.sampled_from([2, 4]))
def test_so_many_runs_show_the_effect_with_the_chance_that_was_asked_for(effect, sd, arms):
    each = repeats(effect, sd, arms)
    power = stats.norm.cdf(effect / (sd * (arms / each) ** 0.5) - stats.norm.ppf(0.975))
    assert each == 2 or power >= 0.8 - 1e-9
    assert (
        each == 2
        or stats.norm.cdf(effect / (sd * (arms / (each - 1)) ** 0.5) - stats.norm.ppf(0.975)) < 0.8 + 1e-9
    )


# --- units ---------------------------------------------------------------------------------------------


def test_runs_of_one_setting_are_one_unit_and_what_seeds_do_is_taken_off():
    rng = np.random.default_rng(7)
    lr, seed = np.repeat(2.0 ** -np.arange(10), 4), np.tile(np.arange(4), 10)
    keep = rng.random(40) < 0.8
    loss = np.repeat(rng.standard_normal(10), 4) + np.array([0, 5, -3, 9])[seed]
    t = table(lr=lr[keep], seed=seed[keep], wd=np.repeat([1.0, 2, 3, 4, 5] * 2, 4)[keep], loss=loss[keep])
    found = roles(t, "loss")
    units = make_units(found, read_runs(t, "loss"))
    assert len(units.target) == 10 and units.noise == pytest.approx(0, abs=0.05)
    truth = loss[::4]
    assert np.ptp(units.target - np.sort(truth)[np.argsort(np.argsort(units.target))]) < 0.1


def test_states_tell_failures_from_runs_that_go_on():
    t = table(
        lr=[1, 2, 3, 4, 5],
        state=["finished", "crashed", "running", "finished", "OOM"],
        loss=[1, None, 2, None, 3.0],
    )
    runs = read_runs(t, "loss")
    assert runs.failed.tolist() == [False, True, False, True, True] and runs.known.tolist() == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert runs.why == ("", "crashed", "", "no result", "oom")


def test_flags_tell_failures_too():
    t = table(lr=[1, 2, 3, 4], diverged=[0, 1, 0, 0], complete=[1, 0, 0, 0], loss=[1.0, 9.0, 2.0, None])
    runs = read_runs(t, "loss")
    assert runs.failed.tolist() == [False, True, False, True] and runs.why == (
        "",
        "diverged",
        "",
        "no result",
    )
    assert runs.known.tolist() == [True, True, False, True], "one with a result that did not end is neither"


def test_the_parts_hang_on_settings_and_not_on_their_order():
    keys = [bytes([k]) for k in range(100)]
    first = first_part(keys)
    assert first.sum() == 45 and (first_part(keys[::-1]) == first[::-1]).all()


def test_results_far_from_all_others_are_failures_but_a_bad_knob_is_not():
    rng = np.random.default_rng(8)
    lr, optimizer = 2.0 ** rng.uniform(-10, -4, 300), rng.choice(["sgd", "adamw"], 300, p=[0.3, 0.7])
    loss = 3 + 0.02 * rng.standard_normal(300) + 2.0 * (optimizer == "sgd")
    diverged = lr > 2**-4.4
    t = table(lr=lr, optimizer=optimizer, loss=np.where(diverged, 11.0, loss))
    found = roles(t, "loss")
    runs = read_runs(t, "loss")
    after, units, far = without_diverged(found, runs, make_units(found, runs), False)
    assert far == diverged.sum() and (after.failed == diverged).all() and len(units.target) == 300 - far


# --- failures, importance, what the best never have ----------------------------------------------------


def rules(failed, **knobs):
    t = table(loss=range(len(failed)), **knobs)
    factors = roles(t, "loss").knobs
    cell = np.arange(len(failed))
    keys = [str(k).encode() for k in cell]
    return list(failing(Settings.of(factors, keys, cell, np.array(failed))))


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_by_which_runs_fail_is_found(seed):
    rng = np.random.default_rng(seed)
    lr, width, depth = (
        2.0 ** rng.uniform(-12, -5, 500),
        rng.choice([128, 256, 512, 1024], 500),
        rng.integers(2, 12, 500),
    )
    opt = rng.choice(["a", "b", "c"], 500)
    product = rules(lr * width > 8, lr=lr, width=width, depth=depth, opt=opt)
    assert product[0].rule.words.startswith("lr*width>") and product[0].p < 1e-6
    alone = rules(lr > 0.02, lr=lr, width=width, depth=depth, opt=opt)
    assert alone[0].rule.words.startswith("lr>0.0") and len(alone[0].rule.knobs) == 1
    corner = rules((opt == "b") & (depth > 8), lr=lr, width=width, depth=depth, opt=opt)
    assert corner[0].rule.where == ("depth>8.5 and opt=b",)
    both = rules((lr > 0.02) | ((opt == "b") & (depth > 8)), lr=lr, width=width, depth=depth, opt=opt)
    assert {one.rule.knobs for one in both if one.p < 0.001} == {(0,), (2, 3)}


def test_failures_by_chance_follow_no_rule():
    rng, false = np.random.default_rng(9), 0
    for _ in range(100):
        knobs = {f"k{k}": rng.uniform(1, 100, 200) for k in range(8)}
        false += any(one.p < 0.05 for one in rules(rng.random(200) < 0.15, **knobs))
    assert false <= 10


def test_importance_is_the_share_of_variance_and_pairs_count_for_both():
    rng = np.random.default_rng(10)
    t = table(
        a=rng.standard_normal(2000),
        b=rng.standard_normal(2000),
        c=rng.standard_normal(2000),
        loss=range(2000),
    )
    factors = roles(t, "loss").knobs
    a, b, _ = (one.codes for one in factors)
    y = 2 * a + b + rng.standard_normal(2000)
    first = np.arange(2000) < 900
    found = importance(y, factors, first)
    assert [one.variance for one in found] == pytest.approx([4 / 6, 1 / 6, 0], abs=0.05)
    assert all(one.low <= one.variance <= one.high for one in found)
    assert found[0].best > 0.6 > 0.2 > found[2].best
    paired = importance(a * b + 0.1 * rng.standard_normal(2000), factors, first, [((0, 1), a * b)])
    assert [one.variance for one in paired] == pytest.approx([1, 1, 0], abs=0.1)


def test_what_the_best_never_have():
    rng = np.random.default_rng(11)
    t = table(opt=rng.choice(["sgd", "adamw"], 400), depth=rng.integers(2, 12, 400), loss=range(400))
    factors = roles(t, "loss").knobs
    bad = factors[0].codes == factors[0].levels.index("sgd")
    first = np.arange(400) < 180
    found = list(never(rng.standard_normal(400) + 3 * bad, factors, first, False))
    assert [one.where for one in found] == ["opt=sgd"] and found[0].p < 1e-4 and found[0].found == 0
    false = 0
    for _ in range(100):
        false += any(one.p < 0.05 for one in never(rng.standard_normal(400), factors, first, False))
    assert false <= 10

"""`mendel testbed check` says what works and what to change, with few runs and never one twice."""

import json
import tomllib

import pytest
import toy
from tiny import TIMED, TIMED_TOML, TOML, TRAIN, runs

from mendel.campaign.config import CampaignConfig, Settings
from mendel.campaign.progress import Progress
from mendel.campaign.session import MissingExtra
from mendel.campaign.testbed_check import FOLDER, check
from mendel.campaign.testbed_hints import loss_like
from mendel.campaign.testbed_order import order_point
from mendel.runs import LOG
from mendel.testbeds import TestbedError, load_testbed


@pytest.fixture
def make(tmp_path):
    """make((old, new), ...): a testbed with texts of its two files replaced; its folder."""

    def write(*changes, train=TRAIN, toml=TOML):
        for old, new in changes:
            assert old in train + toml, old
            train, toml = train.replace(old, new), toml.replace(old, new)
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(train)
        (folder / "data.py").write_text("")
        (folder / "testbed.toml").write_text(toml)
        return folder

    return write


@pytest.fixture
def checked(lab_root):
    """checked(folder, fresh=False): what a check in real processes found, and its points by name."""

    def run(folder, fresh=False, rung=0, **changes):
        config = CampaignConfig(testbed=str(folder), **{"workers": 2, **changes})
        found = check(config, rung, fresh, Settings(root=lab_root), Progress())
        return found, {one["name"]: one for one in found["checks"]}

    return run


def test_a_working_testbed_is_proved_with_seven_runs(make, checked):
    found, points = checked(make())
    grades = {name: one["grade"] for name, one in points.items()}
    weak = {name for name, grade in grades.items() if grade == "weak"}
    assert "error" not in grades.values() and found["ok"]
    assert {"trust"} <= weak <= {"trust", "rungs", "cost"}, grades  # these two go by the clock
    assert found["runs"] == 7 and found["deterministic"] is True
    assert (found["trust"], found["unit"], found["currency"]) == ("reported", "nats per token", "steps")
    assert found["budgets"] == {"0.5": 100, "1": 200, "2": 400}
    assert "what it reports is believed" in points["trust"]["said"] and "order" not in points
    noise = found["noise"]
    assert noise["low"] < noise["sd_seed"] < noise["high"] and noise["sd_repeat"] == 0.0
    assert noise["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0} and noise["pairing"] is None
    truth = (2 - 2 * 4**-0.3) / 2
    assert noise["slope"] == pytest.approx(truth, abs=1e-5)
    small, large = noise["pairs_for"]["0.03"], noise["pairs_for"]["0.1"]
    assert small["unpaired"] > large["unpaired"] >= large["low"] >= large["paired"] == 5
    assert found["seconds"].keys() == {"0", "1"}
    assert "perfect for changes that keep the random stream" in points["pairs"]["said"]
    assert points["rungs"]["numbers"]["losses"][1] < points["rungs"]["numbers"]["losses"][0]
    json.dumps(found, allow_nan=False)


DRAWS = """
import torch
import data

def train(steps):
    torch.manual_seed(args.seed)
    model = torch.nn.Linear(2, 2)
    AGAIN
    for step in range(steps):
        loss = model(data.batch()).mean()
        loss.backward()
        optimizer.step()
"""


@pytest.mark.parametrize(
    ("again", "batches", "weak"),
    [
        ("pass", "torch.randint(9, (2,))", True),
        ("torch.manual_seed(args.seed)", "torch.randint(9, (2,))", False),
        ("pass", "torch.randint(9, (2,), generator=OWN)", False),
        ("pass", "[1.0, 2.0]", False),
    ],
)
def test_batches_that_hang_on_what_initialisation_draws_are_told_before_any_run(make, again, batches, weak):
    folder = make()
    (folder / "data.py").write_text(f"import torch\n\ndef batch():\n    return {batches}\n")
    source = TRAIN + DRAWS.replace("AGAIN", again)
    (folder / "train.py").write_text(source)
    point = order_point(load_testbed(folder))
    assert bool(point) == weak
    if point:
        assert "(data.py) from the generator that has just initialised the model" in point.said
        shown = tomllib.loads("edits = [" + point.change.partition("such as ")[2] + "]")["edits"]
        assert shown[0]["replace"].startswith("torch.manual_seed({seed})\n    ")
        (folder / "testbed.toml").write_text(
            TOML.replace("rungs =", f"edits = [{point.change.partition('such as ')[2]}]\nrungs =")
        )
        assert order_point(load_testbed(folder)) is None, "what is told to be done, does"


@pytest.mark.parametrize("testbed", ["gpt", toy.TESTBED])
def test_nothing_is_said_of_data_that_have_a_generator_of_their_own(testbed):
    assert order_point(load_testbed(testbed)) is None


def test_a_testbed_that_mendel_scores_is_checked_the_same_way(checked, toy_data):
    found, points = checked(toy.TESTBED, data=str(toy_data))
    assert found["ok"] and (found["trust"], found["unit"]) == ("scored", "bits per byte")
    assert points["trust"]["grade"] == "good" and "to the last bit" in points["repeats"]["said"]
    assert found["noise"]["slope"] == pytest.approx((2 * 0.5**-0.3 - 2 * 2**-0.3) / 2, abs=0.03)
    assert "metric" not in points


def test_a_check_trains_nothing_twice_but_when_it_is_told_to(make, checked, lab_root):
    folder = make()
    first, _ = checked(folder)
    before = runs(lab_root)
    assert len(before) == 7
    again, _ = checked(folder)
    assert runs(lab_root) == before
    assert again["noise"] == first["noise"] and again["seconds"] == first["seconds"]
    make(("timeout = 20", "timeout = 30"), ("memory = 4e8", "memory = 5e8"))
    checked(folder)
    assert runs(lab_root) == before, "a limit is no part of what a loss depends on"
    make(("+ extra", "+ 0.0"))
    checked(folder)
    assert len(runs(lab_root)) == 14
    checked(folder, fresh=True)
    assert len(runs(lab_root)) == 21


def test_a_run_that_ignores_its_seed_is_an_error_that_names_the_place(make, checked):
    found, points = checked(make(("default_rng(args.seed)", "default_rng(7)")))
    seeds = points["seeds"]
    assert not found["ok"] and seeds["grade"] == "error" and "ignores its seed" in seeds["said"]
    assert "command '--seed={seed}'" in seeds["change"]
    assert "train.py:12 `rng = np.random.default_rng(7)`" in seeds["change"]
    assert "noise" not in points, "nothing is known of it"


@pytest.mark.parametrize("random", [False, True], ids=["exact", "noisy"])
def test_a_run_that_ignores_its_budget_is_told_from_a_wrong_metric(make, checked, random):
    noise = "os.urandom(1)[0] * 1e-4" if random else "0.0"
    found, points = checked(
        make(("steps, extra = args.steps, 0.0", f"max_steps = 150\nsteps, extra = max_steps, {noise}"))
    )
    budget = points["budget"]
    assert not found["ok"] and budget["grade"] == "error", budget
    assert budget["said"].startswith("the run ignores its budget: 100 and 400 steps end at")
    assert (
        "command '--steps={steps}'" in budget["change"]
        and "train.py:11 `max_steps = 150`" in budget["change"]
    )


def test_a_metric_that_goes_the_wrong_way_is_told_with_its_numbers(make, checked):
    found, points = checked(make(("** -0.3", "** 0.3")))
    budget = points["budget"]
    assert not found["ok"] and budget["grade"] == "error"
    assert budget["said"].startswith("the metric goes the wrong way: 100 and 400 steps end at ")
    assert "not an accuracy" in budget["change"] and "overfits" in budget["change"]


def test_a_number_that_training_does_not_change_is_no_loss(make, checked):
    found, points = checked(make(("val loss {loss:", "val loss {2.5:")))
    assert not found["ok"] and points["seeds"]["grade"] == points["budget"]["grade"] == "error"
    assert "it finds a number that training does not change" in points["budget"]["change"]


def test_a_loss_below_zero_is_an_error(make, checked):
    found, points = checked(make(("val loss {loss", "val loss {-loss"), ("([\\d.]+)", "([-\\d.]+)")))
    (wrong,) = (point for point in points.values() if point["grade"] == "error")
    assert not found["ok"] and "a loss is above 0" in wrong["said"]


def test_a_pattern_that_finds_nothing_is_answered_with_one_that_does(make, checked, lab_root):
    found, points = checked(make(("'val loss ([\\d.]+)'", "'val_loss=([\\d.]+)'")))
    metric = points["metric"]
    assert not found["ok"] and metric["grade"] == "error" and found["runs"] == 0
    assert metric["numbers"]["last_lines"][0] == "a line of its own"
    assert "val loss 6" in metric["numbers"]["last_lines"][1]
    better = metric["numbers"]["pattern"]
    assert better in metric["change"]
    assert checked(make(("'val loss ([\\d.]+)'", f"'{better}'")))[0]["ok"]


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("step 5: train loss 2.5, val loss 2.75", "2.75"),
        ("val_bpb:          0.997900\ntotal_tokens_M:   499.6", "0.997900"),
        ("{'loss': 3.25, 'lr': 0.1}\n{'eval_loss': 3.5}\n{'train_loss': 1.0}", "3.5"),
        ("iter 3 | loss 4.5e-1 | 12 ms", "4.5e-1"),
        ("done in 3.2 s", None),
    ],
)
def test_the_number_that_looks_most_like_the_loss_is_found(tmp_path, printed, value):
    (tmp_path / LOG).write_text(printed)
    found = loss_like(tmp_path)
    assert (found and found.value) == value


def test_limits_that_are_too_small_are_named_and_mending_them_keeps_the_rest(make, checked, lab_root):
    found, points = checked(make(("steps = 200, timeout = 20", "steps = 4000, timeout = 1")))
    assert points["runs"]["grade"] == "error" and "3 of 3 runs" in points["runs"]["said"]
    assert "rungs.0.timeout: raise it" in points["runs"]["change"]
    assert "ignores {steps} = 4000" in points["runs"]["change"]
    hungry = ("loss = 1", "big = np.ones(2**25)\ntime.sleep(0.5)\nloss = 1")
    found, points = checked(make(hungry, ("memory = 4e8", "memory = 1e8")))
    assert points["smoke"]["grade"] == "error" and "out of memory" in points["smoke"]["said"]
    assert "memory: 1e+08 bytes are too few" in points["smoke"]["change"] and not found["ok"]
    before = runs(lab_root)
    assert checked(make(hungry))[0]["ok"], "a smoke run that failed is made again"
    after = runs(lab_root)
    assert len(after) == len(before) + 7


def test_the_rung_above_is_tried_too(make, checked):
    found, points = checked(make(("loss = 1", "assert steps < 500, 'too wide'\nloss = 1")))
    assert not found["ok"] and points["rungs"]["grade"] == "error"
    assert "a run of rung 1 failed" in points["rungs"]["said"] and "too wide" in points["rungs"]["said"]


def test_where_runs_do_not_repeat_all_seeds_are_trained_twice(make, checked):
    found, points = checked(make(("extra = args.steps, 0.0", "extra = args.steps, os.urandom(1)[0] * 2e-4")))
    noise = found["noise"]
    assert found["deterministic"] is False and found["runs"] == 9 and noise["repeats"] == 3
    assert (
        points["repeats"]["grade"] == "weak" and "seed everything that draws" in points["repeats"]["change"]
    )
    assert noise["sd_repeat"] > 0 and noise["difference"]["low"] < noise["difference"]["high"]
    assert noise["pairing"]["low"] < noise["pairing"]["value"] < noise["pairing"]["high"]


def test_a_trainer_with_a_fixed_time_is_checked_by_its_clock(make, checked):
    found, points = checked(make(train=TIMED, toml=TIMED_TOML))
    assert found["ok"], found["checks"]
    assert found["budgets"] == {"0.5": 0.5, "1": 1.0, "2": 2.0}
    assert points["clock"]["said"].startswith("a fixed-time testbed: 1 s asked, ")
    assert all(taken >= 1 for taken in points["clock"]["numbers"]["taken"])
    assert points["budget"]["numbers"]["losses"][1] < points["budget"]["numbers"]["losses"][0]
    found, points = checked(make(("+ TIME_BUDGET, 0", "+ 0.5, 0"), train=TIMED, toml=TIMED_TOML))
    assert points["budget"]["grade"] == "error" and "ignores its budget" in points["budget"]["said"]
    assert "edits.0.replace 'TIME_BUDGET = {seconds}'" in points["budget"]["change"]


WRONG = [
    ('command = ["train.py", "--steps={steps}", "--seed={seed}"]', "", "command: missing"),
    ('"train.py", "--steps', '"trian.py", "--steps', "command: 'trian.py' is none of the files"),
    ("--seed={seed}", "--seed={sed}", "command: placeholder {sed}"),
    ('editable = ["train.py"]', 'editable = ["tr*.ini"]', "editable: 'tr*.ini' is not in files"),
    ("memory =", 'protected = ["train.py"]\nmemory =', "protected: 'train.py' is editable too"),
    (
        "memory =",
        'edits = [{ path = "train.py", search = "SEED = 2", replace = "" }]\nmemory =',
        "edits.0.search: 'SEED = 2' occurs 0 times in train.py",
    ),
    ("memory =", 'inputs = ["data/x.bin"]\nmemory =', "inputs: 'data/x.bin' does not exist"),
    (
        "memory =",
        'prepare = { command = ["train.py", "--what"], makes = ["x.bin"] }\nmemory =',
        "prepare.command: exit code 2: ",
    ),
    (
        "memory =",
        'prepare = { command = ["data.py"], makes = ["x.bin"] }\nmemory =',
        "prepare.makes: 'x.bin' was not made",
    ),
    ('preload = ["numpy"]', 'preload = ["nump"]', "preload: 'nump' is not installed"),
    ("memory =", 'requirements = "data.py"\nmemory =', "requirements: 'data.py' cannot be built"),
]
"""(Old text, new text, what is told)."""


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[one[2][:24] for one in WRONG])
def test_what_is_wrong_before_any_run_is_told_in_one_line(make, checked, lab_root, old, new, message):
    folder = make((old, new))
    if "requirements" in message:
        (folder / "data.py").write_text("no requirement at all\n")
    with pytest.raises((TestbedError, MissingExtra)) as told:
        checked(folder)
    assert message in str(told.value) and str(folder / "testbed.toml") in str(told.value)
    assert "\n" not in str(told.value)
    assert not list(lab_root.glob(f"{FOLDER}/runs/*/*")), "it spent a run"

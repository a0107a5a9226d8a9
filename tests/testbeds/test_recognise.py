"""Training repositories that know nothing of Mendel are recognised, and what is proposed for them works."""

import re
import tomllib

import pytest
import trainers

from mendel.ideas.userfile import parse_ideas
from mendel.testbeds import parse_testbed
from mendel.testbeds.recognise import READY, STRATEGIES, Machine, Repository, propose


@pytest.fixture
def proposed(tmp_path):
    """proposed(files, ...): the proposal for a repository, and the testbed that its text describes."""

    def make(files, git=False, cards=0, ready="", loads=True):
        root = trainers.make(tmp_path / "repo", files, git)
        before = trainers.state(root)
        proposal = propose(Repository(root, Machine(cards, 2)), ready)
        assert trainers.state(root) == before
        text = proposal.render("repo")
        return proposal, parse_testbed(text, tmp_path / "testbed.toml") if loads else text

    return make


RUNNABLE = {
    "argparse": (trainers.ARGPARSE, "steps", "nats per token"),
    "constants": (trainers.CONSTANTS, "steps", "nats per token"),
    "package": (trainers.PACKAGE, "steps", "nats per token"),
    "jsonl": (trainers.JSONL, "tokens", "bits per byte"),
    "research": (trainers.RESEARCH, "seconds", "bits per byte"),
}


@pytest.mark.parametrize("name", RUNNABLE)
def test_what_is_proposed_trains_and_says_its_loss_by_seed(proposed, tmp_path, name):
    files, budget, unit = RUNNABLE[name]
    proposal, testbed = proposed(files)
    assert (testbed.budget, testbed.unit) == (budget, unit)
    assert not proposal.missing, "nothing is left to write by hand"
    first, second = (
        trainers.start(testbed, tmp_path, seed, budget=budget == "seconds" and 1) for seed in (1, 2)
    )
    assert 0 < first < 1 and 0 < second < 1 and first != second
    if name != "jsonl":  # it has no knob that anybody would know
        ideas = parse_ideas(proposal.ideas, ".toml", "ideas.toml")
        assert len(ideas) >= 2
        assert {edit.path for idea in ideas for edit in idea.patch.edits} <= set(testbed.editable)
    ratio = testbed.rungs[1].compute / testbed.rungs[0].compute
    assert ratio == 4


@pytest.mark.parametrize("name", ["argparse", "constants", "package", "jsonl"])
def test_the_same_seed_and_length_give_the_same_loss_and_another_length_does_not(proposed, tmp_path, name):
    _, testbed = proposed(RUNNABLE[name][0])
    again = [trainers.start(testbed, tmp_path / str(turn), 5) for turn in range(2)]
    longer = trainers.start(testbed, tmp_path / "longer", 5, rung=1)
    assert again[0] == again[1] != longer


def test_the_options_of_a_parser_become_the_command(proposed):
    proposal, testbed = proposed(trainers.ARGPARSE)
    assert testbed.command == (
        *("train.py", "--steps={steps}", "--seed={seed}", "--out-dir={out}", "--device={device}"),
        "--eval-every={steps}",
    )
    assert testbed.override == ("--{key}={value}",)
    assert testbed.set == {"batch-size": 32} and testbed.edits == ()
    assert testbed.editable == ("train.py", "net.py")
    assert [span.first for span in testbed.protected] == ["def evaluate(weight):", "loss = evaluate(weight)"]
    assert any("option steps" in one for one in proposal.evidence)


def test_a_card_is_used_where_there_is_one_and_the_trainer_knows_cuda(proposed):
    _, testbed = proposed(trainers.ARGPARSE, cards=2)
    assert testbed.gpus == 1 and testbed.set == {}


def test_a_package_with_configuration_files_is_run_as_a_module_and_its_file_edited(proposed):
    _, testbed = proposed(trainers.PACKAGE)
    assert testbed.command == ("-m", "tinylab.train", "--config", "configs/base.yaml")
    assert {edit.path for edit in testbed.edits} == {"configs/base.yaml"}
    assert [edit.replace for edit in testbed.edits] == [
        "out: {out}",
        "  width: 8\n  seed: {seed}",
        "  max_steps: {steps}\n  seed: {seed}",
    ]
    assert "tinylab/model.py" not in testbed.protected and "tinylab/train.py" in testbed.editable
    assert not {"tinylab/data.py", "tinylab/evaluate.py"} & set(testbed.editable)


def test_a_time_budget_in_a_protected_file_is_an_edit_of_the_testbed(proposed):
    proposal, testbed = proposed(trainers.RESEARCH)
    assert proposal.kind == "like autoresearch"
    assert testbed.editable == ("train.py",)
    assert [(edit.path, edit.replace) for edit in testbed.edits] == [
        ("prepare.py", "TIME_BUDGET = {seconds}"),
        ("train.py", "random.seed({seed})"),
    ]


def test_batches_from_the_global_generator_are_seeded_again_before_the_first(proposed):
    _, testbed = proposed(trainers.NANO_LIKE)
    seed, again = testbed.edits
    assert seed.replace == "torch.manual_seed({seed} + seed_offset)"
    assert again.replace.startswith("torch.manual_seed({seed} + seed_offset)\nX, Y = get_batch('train')")
    source = (
        trainers.NANO_LIKE["train.py"].replace(seed.search, "SEED").replace(again.search, "AGAIN")
    ).splitlines()
    assert source.index("SEED") < source.index("model = GPT(n_layer)") < source.index("AGAIN")


def test_a_trainer_like_nanogpt_gets_a_cpus_knobs_and_what_prepares_its_data(proposed):
    _, testbed = proposed(trainers.NANO_LIKE)
    assert {
        "compile": False,
        "dtype": "float32",
        "n_layer": 4,
        "block_size": 64,
    }.items() <= testbed.set.items()
    assert {"--max_iters={steps}", "--lr_decay_iters={steps}", "--eval_interval={steps}"} <= set(
        testbed.command
    )
    assert testbed.prepare.command == ("data/letters/prepare.py",)
    assert set(testbed.prepare.makes) == {
        f"data/letters/{one}" for one in ("train.bin", "val.bin", "meta.pkl")
    }
    assert "configurator.py" not in testbed.editable


def test_data_that_git_ignores_are_inputs(proposed, tmp_path):
    files = {**trainers.NANO_LIKE, ".gitignore": "*.bin\n__pycache__/\n*.log\n"}
    trainers.make(
        tmp_path / "repo", {"data/letters/train.bin": "x", "run.log": "x", "__pycache__/a.bin": "x"}
    )
    _, testbed = proposed(files, git=True)
    assert testbed.inputs == ("data/letters/train.bin",)


def test_caches_below_the_home_are_inputs_that_the_user_makes(proposed):
    cache = 'import os\nDATA = os.path.join(os.path.expanduser("~"), ".cache", "nowhere-yet")\n'
    files = {**trainers.RESEARCH, "prepare.py": cache + trainers.RESEARCH["prepare.py"]}
    proposal, testbed = proposed(files)
    assert testbed.inputs == ("~/.cache/nowhere-yet",) and testbed.prepare is None
    assert any("run prepare.py once" in one for one in proposal.notes)


def test_a_condition_with_a_number_in_it_is_made_to_hold_in_a_short_run(proposed, tmp_path):
    old = trainers.ARGPARSE["train.py"].replace(
        "step % args.eval_every == 0 or last", "step > 0 and step % 500 == 0"
    )
    old = old.replace('    parser.add_argument("--eval-every", type=int, default=1000)\n', "")
    proposal, testbed = proposed({**trainers.ARGPARSE, "train.py": old})
    assert [edit.replace for edit in testbed.edits] == ["step > 0 and step % 20 == 0"]
    assert any("every 20 steps" in one for one in proposal.notes)
    assert 0 < trainers.start(testbed, tmp_path, 1) < 1


def test_an_evaluation_that_may_miss_the_end_is_made_often(proposed, tmp_path):
    old = trainers.ARGPARSE["train.py"].replace(" or last", "")
    _, testbed = proposed({**trainers.ARGPARSE, "train.py": old})
    assert testbed.set["eval-every"] == 20 and "--eval-every={steps}" not in testbed.command
    assert 0 < trainers.start(testbed, tmp_path, 1) < 1


# --- those that are known by name -------------------------------------------------------------------------


def test_nanogpt_gets_the_ready_made_file_and_another_one_by_name(proposed):
    proposal, testbed = proposed(trainers.NANO)
    assert (proposal.kind, testbed.name, testbed.gpus) == ("nanoGPT", "nanogpt-char", 0)
    assert "overrides = { learning_rate = 0.004 }" in proposal.ideas, "over what its configuration says"
    assert testbed.inputs == ()
    _, text = proposed({**trainers.NANO, "data/shakespeare_char/input.txt": "abc"}, loads=False)
    assert tomllib.loads(text)["inputs"] == ["data/shakespeare_char/input.txt"]
    proposal, testbed = proposed(trainers.NANO, ready="nanogpt-124m")
    assert testbed.gpus == 8 and any("this machine has none" in one for one in proposal.notes)


@pytest.mark.parametrize("name", READY)
def test_a_ready_made_file_is_the_one_that_is_written(proposed, name):
    _, text = proposed(trainers.NANO, ready=name, loads=False)
    table = tomllib.loads(text)
    assert (table["name"], table["source"]) == (name, "repo")
    assert re.compile(table["metric"]["pattern"]).groups == 1
    assert text.count("../") == 0, "what stands for the repository is its path everywhere"


def test_the_trainer_of_hugging_face_is_told_by_its_options(proposed):
    proposal, testbed = proposed(trainers.HUGGING)
    assert proposal.kind == "Hugging Face Trainer"
    assert {"--max_steps={steps}", "--seed={seed}", "--output_dir={out}"} <= set(testbed.command)
    assert re.findall(testbed.metric.pattern, "{'eval_loss': 3.25, 'epoch': 1.0}") == ["3.25"]


def test_lightning_prints_its_loss_by_an_edit(proposed):
    proposal, testbed = proposed(trainers.LIGHTNING)
    assert proposal.kind == "PyTorch Lightning"
    assert any("callback_metrics['val_loss']" in edit.replace for edit in testbed.edits)
    assert re.findall(testbed.metric.pattern, "mendel val_loss: 2.5") == ["2.5"]
    assert any(edit.replace == "L.seed_everything({seed})" for edit in testbed.edits)


def test_torchtitan_is_told_by_dotted_options(proposed):
    proposal, testbed = proposed(trainers.TITAN)
    assert proposal.kind == "torchtitan"
    assert {"--module=llama3", "--training.steps={steps}", "--debug.seed={seed}"} <= set(testbed.command)
    assert proposal.missing and "# TODO" in proposal.render("repo")


def test_every_strategy_says_what_it_goes_by():
    from importlib import import_module

    for target in STRATEGIES.values():
        assert "vidence" in import_module(target.partition(":")[0]).__doc__
    assert list(STRATEGIES)[-1] == "script", "the least specific is asked last"

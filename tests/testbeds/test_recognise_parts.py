"""The parts of recognising a trainer: how its loss is printed, what its options are, where it begins."""

import re

import pytest
import trainers

from mendel.testbeds.recognise import Repository
from mendel.testbeds.recognise.entry import find_entry
from mendel.testbeds.recognise.knobs import find_knobs
from mendel.testbeds.recognise.lengths import find_length
from mendel.testbeds.recognise.metric import find_metric
from mendel.testbeds.recognise.seeding import find_seeding

BODY = """import argparse
parser = argparse.ArgumentParser()
args = parser.parse_args()
for step in range(10):
    loss.backward()
    optimizer.step()
    {line}
"""


@pytest.fixture
def repo(tmp_path):
    def make(files):
        return Repository(trainers.make(tmp_path / "repo", files))

    return make


def metric_of(repo, line, more=""):
    found = repo({"train.py": BODY.format(line=line) + more})
    return find_metric(found, find_entry(found), True)


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ('print(f"val loss {val_loss:.4f}")', "val loss 3.1234"),
        (
            'print(f"step {step}: train {t:.3f} val {losses[1]:.3f} loss")',
            "step 3: train 2.100 val 3.123 loss",
        ),
        (
            'print0(f"step:{step}/{n} val_loss:{v:.4f} train_time:{ms}ms")',
            "step:1/5 val_loss:3.1234 train_time:9ms",
        ),
        ('logger.info("valid loss: %.3f, took %d s", v, t)', "INFO valid loss: 3.123, took 9 s"),
        ('print("step %d eval_loss %.2f" % (step, v))', "step 7 eval_loss 3.12"),
        ('print("epoch {} validation loss: {:.4f}".format(e, v))', "epoch 1 validation loss: 3.1234"),
        ('print("val loss:", v.item())', "val loss: 3.1234"),
        ('print(f"{step:5d} | {val_bpb:.4f} val bpb")', "    7 | 3.1234 val bpb"),
        ('print(f"Validation perplexity = {ppl}")', "Validation perplexity = 3.1234"),
        ('tqdm.write(f"[{step}] test_loss={v:.3e}")', "[9] test_loss=3.123e+00"),
        ('print({"step": step, "val_loss": v})', "{'step': 9, 'val_loss': 3.1234}"),
        ('print(f"\\n  val/loss   {v:>8.4f}")', "  val/loss     3.1234"),
    ],
)
def test_the_pattern_reads_what_is_printed(repo, line, printed):
    said = metric_of(repo, line)
    assert said.sure
    assert re.compile(said.table["pattern"]).groups == 1
    found = re.findall(said.table["pattern"], printed, re.MULTILINE)
    assert len(found) == 1 and float(found[0]) == pytest.approx(3.12, abs=0.01)


@pytest.mark.parametrize("number", ["0.5", "12", "1e-05", "nan", "inf", "3.25e+10"])
def test_every_number_is_read_whole(repo, number):
    said = metric_of(repo, 'print(f"val loss {v}")')
    assert re.findall(said.table["pattern"], f"val loss {number}") == [number]


def test_the_best_loss_so_far_is_not_taken_for_the_loss(repo):
    more = 'print(f"best val loss {best:.4f}")\nprint(f"step {n}: val loss {v:.4f}")\n'
    said = metric_of(repo, "pass", more)
    assert re.findall(said.table["pattern"], "best val loss 1.0000\nstep 9: val loss 2.0000") == ["2.0000"]


def test_a_file_of_metrics_comes_before_what_is_printed(repo):
    more = """
import json, os
def finish(out_dir, val):
    with open(os.path.join(out_dir, "result.json"), "w") as f:
        json.dump({"val_bpb": val}, f)
"""
    said = metric_of(repo, 'print(f"val loss {v:.4f}")', more)
    assert said.table == {"file": "result.json", "key": "val_bpb", "unit": "bits per byte"}


def test_a_loss_that_is_only_sent_to_a_service_is_printed_by_an_edit(repo):
    said = metric_of(repo, 'wandb.log({"val/loss": v.mean(), "step": step})')
    assert said.edit["replace"].startswith(
        'print("mendel val/loss:", float(v.mean()), flush=True)\n    wandb'
    )
    assert re.findall(said.table["pattern"], "mendel val/loss: 2.5") == ["2.5"]


def test_a_training_loss_is_better_than_nothing_and_is_told_as_one(repo):
    said = metric_of(repo, 'print(f"step {step} loss {loss.item():.4f}")')
    assert not said.sure and re.findall(said.table["pattern"], "step 1 loss 2.5000") == ["2.5000"]


OPTIONS = {
    "click": '''import click
@click.command()
@click.option("--max-steps", default=500)
@click.option("--fast/--slow", default=False)
def main(max_steps, fast):
    loss.backward()
if __name__ == "__main__":
    main()
''',
    "typer": '''import typer
def main(max_steps: int = 500, fast: bool = False, lr: float = typer.Option(0.1)):
    loss.backward()
if __name__ == "__main__":
    typer.run(main)
''',
    "fire": '''import fire
def train(max_steps=500, fast=False):
    loss.backward()
if __name__ == "__main__":
    fire.Fire(train)
''',
    "tyro": '''from dataclasses import dataclass, field
import tyro
@dataclass
class Optim:
    lr: float = 0.1
@dataclass
class Config:
    max_steps: int = 500
    optim: Optim = field(default_factory=Optim)
if __name__ == "__main__":
    config = tyro.cli(Config)
    loss.backward()
''',
    "own": '''import sys
max_steps = 500
for argument in sys.argv[1:]:
    key, value = argument.lstrip("-").split("=")
    globals()[key] = type(globals()[key])(value)
loss.backward()
while True:
    break
''',
    "attributes": '''import sys
def settings(C):
    C.max_steps = 500
def main():
    loss.backward()
if __name__ == "__main__":
    main()
''',
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_the_knob_for_the_length_is_found(repo, name):
    found = repo({"train.py": OPTIONS[name]})
    length = find_length(find_knobs(found, find_entry(found)))
    assert (length.budget, length.default) == ("steps", 500.0)
    expected = {"click": "max-steps", "typer": "max-steps"}.get(
        name, "C.max_steps" if name == "attributes" else "max_steps"
    )
    assert length.knob.key == expected
    assert length.knob.is_argument == (name != "attributes")


def test_nested_records_are_options_with_dots(repo):
    found = repo({"train.py": OPTIONS["tyro"]})
    assert [knob.key for knob in find_knobs(found, find_entry(found)).arguments] == ["max_steps", "optim.lr"]


@pytest.mark.parametrize(
    ("name", "text", "overridden"),
    [
        ("conf/train.yaml", "trainer:\n  max_steps: 500\n  # no: 3\nlr: 1e-3  # rate\n", True),
        ("configs/small.yaml", "max_steps: 500\nlr: 1e-3\n", False),
        ("configs/small.toml", "[run]\nmax_steps = 500\nlr = 1e-3\n", False),
        ("configs/small.json", '{"max_steps": 500, "lr": 1e-3}\n', False),
    ],
)
def test_keys_of_a_configuration_file_are_knobs(repo, name, text, overridden):
    hydra = '@hydra.main(config_path="conf", config_name="train")\n' if overridden else ""
    script = (
        f'import argparse\np = argparse.ArgumentParser()\np.add_argument("--config")\n{hydra}def main():\n'
    )
    script += '    loss.backward()\nif __name__ == "__main__":\n    main()\n'
    found = repo({"train.py": script, name: text})
    knobs = find_knobs(found, find_entry(found))
    length = find_length(knobs)
    assert (length.knob.name, length.default, length.knob.is_argument) == ("max_steps", 500.0, overridden)
    assert knobs.given == ([] if overridden else [f"--config={name}"])


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"train.py": BODY, "eval.py": BODY, "sample.py": "import torch\n"}, ("train.py",)),
        ({"scripts/pretrain.py": BODY, "lib/model.py": "class Model: pass\n"}, ("scripts/pretrain.py",)),
        ({"src/lab/__init__.py": "", "src/lab/__main__.py": BODY}, ("-m", "lab")),
        ({"lab/__init__.py": "", "lab/run.py": "from lab import x\n" + BODY}, ("-m", "lab.run")),
        ({"a.py": BODY, "b.py": BODY, "README.md": "    python b.py --fast\n"}, ("b.py",)),
        ({"go.py": BODY, "Makefile": "train:\n\ttorchrun --nproc_per_node=8 go.py\n"}, ("go.py",)),
    ],
)
def test_the_entry_is_found(repo, files, command):
    assert find_entry(repo(files)).command == command


def test_modules_below_src_are_found_before_an_installed_copy(repo):
    files = {
        "train.py": "from lab.net import Net\n" + BODY,
        "src/lab/__init__.py": "",
        "src/lab/net.py": "class Net: pass\n",
    }
    assert find_entry(repo(files)).pythonpath == "src"


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        ("torch.manual_seed(1337)", "torch.manual_seed({seed})"),
        ("torch.manual_seed(1337 + rank)", "torch.manual_seed({seed} + rank)"),
        ("set_seed(42)", "set_seed({seed})"),
        ("key = jax.random.PRNGKey(0)", "jax.random.PRNGKey({seed})"),
        ("rng = np.random.default_rng(seed=7)", "np.random.default_rng(seed={seed})"),
        ("seed_everything(3407, workers={1: 2}[1])", "seed_everything({seed}, workers={{1: 2}}[1])"),
        ("SEED = 9", "SEED = {seed}"),
    ],
)
def test_the_seed_in_the_source_becomes_a_placeholder(repo, line, replaced):
    found = repo({"train.py": f"import torch\n{line}\n" + BODY})
    entry = find_entry(found)
    edit = find_seeding(found, entry, find_knobs(found, entry)).edits[0]
    assert edit["replace"] == replaced
    assert edit["replace"].format(seed=5) == line[line.index(edit["search"]) :].replace(
        edit["search"], edit["replace"].format(seed=5)
    )


def test_a_trainer_that_seeds_nothing_is_seeded(repo):
    found = repo({"train.py": "import torch\nimport torch.nn as nn\n" + BODY})
    entry = find_entry(found)
    (edit,) = find_seeding(found, entry, find_knobs(found, entry)).edits
    assert edit["replace"] == "import torch\ntorch.manual_seed({seed})\n"

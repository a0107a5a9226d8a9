"""Stacked runs: several trained as one batch of products, each as if it were alone."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mendel.ideas.catalog import find
from mendel.testbeds import BUILT_IN
from tests.ideas.trainer import patched_tree, write_tree

GPT = BUILT_IN["gpt"]
TEXT = b"".join(b"def f%d(x):\n    return x * %d + %d\n" % (i, i % 11, i % 7) for i in range(3000))
FLOAT32 = ("--precision", "float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.bin"
    path.write_bytes(TEXT)
    return path


@contextmanager
def trainer(source: Path):
    """A function that imports the modules of the trainer in `source`, afresh: importing torch for each run
    would take longer than the runs."""
    names = [file.stem for file in GPT.glob("*.py")]
    torch.set_num_threads(1)
    for name in names:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(source))
    invalidate_caches()
    try:
        yield import_module
    finally:
        sys.path.remove(str(source))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def command(monkeypatch, corpus):
    """Runs stacked.py or train.py of a source folder as the command line would; returns the exit code."""

    def run(script: str, out: Path, *arguments: str, source: Path = GPT) -> int:
        monkeypatch.setattr(sys, "argv", [script, "--data", str(corpus), "--out", str(out), *arguments])
        with trainer(source) as module:
            if script == "stacked":
                return module("stacked").main()
            # Not `main`: its handler for SIGTERM would stay behind in this process.
            stacked = module("stacked")
            args = module("train").parse_arguments()
            (member,) = stacked.read_members(args_of(args))
            out.mkdir(parents=True)
            device = module("device").choose_device(args.device, args.precision)
            run = module("run").Run(corpus, out, device)
            return stacked.DIVERGED if stacked.outcome(module("loop").train, member, args.tokens, run) else 0

    return run


def args_of(args):
    """The arguments of train.py as those of stacked.py with one member."""
    args.member = [f"name=alone seed={args.seed}"]
    return args


def stack(command, out: Path, *members: str, options=(), source: Path = GPT) -> dict:
    """Train `members` stacked; returns the summary."""
    told = [word for member in members for word in ("--member", member)]
    assert command("stacked", out, *options, *told, source=source) == 0
    return json.loads((out / "stacked.json").read_text())


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def way(one: Path, other: Path) -> float:
    """Distance between the weights of two runs."""
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return sum(float((a[name] - b[name]).square().sum()) for name in a) ** 0.5


def knobs(**settings) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def patched(idea: str, folder: Path) -> Path:
    """The trainer's source with a patch of the catalog."""
    shutil.copytree(GPT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    write_tree(patched_tree(find(idea).patch), folder)
    return folder


@pytest.mark.parametrize("recipe", ["gpt2", "modern"])
def test_a_stacked_run_is_the_run_done_alone(command, tmp_path, recipe):
    """In float32 within 1e-4 over 50 steps: members of other seeds, rates, schedules and initial scales."""
    options = ("--recipe", recipe, "--tokens", "51200", *FLOAT32)
    members = {
        "a": {"seed": 1},
        "b": {"seed": 2},
        "c": {"seed": 1, "lr": 0.004, "muon_lr": 0.01, "schedule": "linear", "clip": 0.3, "init_std": 0.03},
    }
    told = [" ".join([f"name={n}", *(f"{k}={v}" for k, v in m.items())]) for n, m in members.items()]
    summary = stack(command, tmp_path, *told, options=options)
    assert (summary["reason"], summary["optimizers"]) == (None, "merged")
    assert summary["exit_codes"] == dict.fromkeys("abc", 0)
    for name, settings in members.items():
        alone, stacked, seed = tmp_path / f"{name}-alone", tmp_path / name, str(settings.pop("seed"))
        assert command("train", alone, *options, "--seed", seed, *knobs(**settings)) == 0
        assert losses(stacked) == pytest.approx(losses(alone), rel=1e-4)
        assert {file.name for file in stacked.iterdir()} == {file.name for file in alone.iterdir()}
        assert (stacked / "config.json").read_text() == (alone / "config.json").read_text()
        assert way(stacked, alone) < 0.02 * way(stacked, tmp_path / ("b" if name == "a" else "a"))
    assert losses(tmp_path / "a") != pytest.approx(losses(tmp_path / "b"), rel=1e-3)


def test_the_same_stack_gives_the_same_bits_again(command, tmp_path):
    for name in ("first", "again"):
        stack(command, tmp_path / name, "name=a", "name=b seed=2", options=("--tokens", "10240"))
    assert losses(tmp_path / "first" / "b") == losses(tmp_path / "again" / "b")


def test_a_member_that_diverges_stops_and_the_others_do_not_notice(command, tmp_path):
    options = ("--tokens", "20480", *FLOAT32)
    summary = stack(command, tmp_path, "name=good", "name=bad lr=1e30 clip=0", options=options)
    assert summary["reason"] is None
    assert summary["exit_codes"] == {"good": 0, "bad": 3}
    assert not (tmp_path / "bad" / "model.safetensors").exists()
    assert command("train", tmp_path / "alone", *options) == 0
    assert losses(tmp_path / "good") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    assert len(losses(tmp_path / "bad")) < len(losses(tmp_path / "good"))


@pytest.mark.parametrize(
    ("idea", "optimizers"),
    [
        ("value-residual", "merged"),  # edits the model; no gradient reaches one of its parameters
        ("muon", "merged"),
        ("cautious-adamw", "each"),  # an optimiser that vmap does not take
        ("weight-ema", "merged"),  # edits the loop: each member runs it
        ("gradient-noise", "merged"),  # draws random numbers in the loop
    ],
)
def test_a_patch_that_stacks_gives_what_it_gives_alone(command, tmp_path, idea, optimizers):
    source = patched(idea, tmp_path / "source")
    options = ("--tokens", "20480", *FLOAT32, *knobs(**find(idea).patch.overrides))
    summary = stack(command, tmp_path, "name=a", "name=b seed=2", options=options, source=source)
    assert (summary["reason"], summary["optimizers"]) == (None, optimizers)
    assert command("train", tmp_path / "alone", *options, "--seed", "2", source=source) == 0
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    assert way(tmp_path / "b", tmp_path / "alone") < 0.02 * way(tmp_path / "b", tmp_path / "a")


def test_a_patch_that_does_not_stack_is_trained_one_by_one_to_the_same_bits(command, tmp_path):
    source = patched("dropout", tmp_path / "source")  # random numbers inside the model
    options = ("--tokens", "10240", *knobs(**find("dropout").patch.overrides))
    summary = stack(command, tmp_path, "name=a", "name=b seed=2", options=options, source=source)
    assert "random" in summary["reason"]
    said = json.loads((tmp_path / "b" / "run.json").read_text())["stacked"]
    assert said == {"members": 1, "optimizers": "each", "reason": summary["reason"]}
    assert command("train", tmp_path / "alone", *options, "--seed", "2", source=source) == 0
    assert losses(tmp_path / "b") == losses(tmp_path / "alone")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "self.head(self.norm(x_BTW))", "(self.config.lr * 100 * self.head(self.norm(x_BTW)))"),
        ("loop.py", "    return loss ", "    return loss if loss < 3 else 2 * loss "),
        (
            "loop.py",
            "        run.log(",
            "        loss_of(model, x_BT, y_BT) if seed == 1 else 0\n        run.log(",
        ),
        ("loop.py", "run.clip(model.parameters()", "run.clip(list(model.parameters())[:1]"),
    ],
    ids=["a-setting-in-the-model", "values-decide", "members-part", "clips-a-part"],
)
def test_what_would_go_another_way_in_a_stack_is_not_stacked(command, tmp_path, file, old, new):
    source = tmp_path / "source"
    shutil.copytree(GPT, source, ignore=shutil.ignore_patterns("__pycache__"))
    text = (source / file).read_text()
    assert text.count(old) == 1
    (source / file).write_text(text.replace(old, new))
    options = ("--tokens", "5120", *FLOAT32)
    summary = stack(command, tmp_path, "name=a", "name=b seed=2 lr=0.001", options=options, source=source)
    assert summary["reason"]
    alone = (*options, "--seed", "2", *knobs(lr=0.001))
    assert command("train", tmp_path / "alone", *alone, source=source) == 0
    assert losses(tmp_path / "b") == losses(tmp_path / "alone")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["name=a", "name=b batch=8"], "member 'b': batch is 8, and "),
        (
            ["name=a", "name=b activation=relu2"],
            "member 'b': activation is 'relu2', and 'gelu' in 'a'; members",
        ),
        (["name=a", "name=a"], "member 'a': names must be different"),
        (["name=../b"], "member '../b': names must"),
        (["leraning=1"], "unknown key 'leraning'"),
        (["seed=x"], "seed is 'x'; allowed are integers"),
        (["fast"], "--member fast: 'fast' is not KEY=VALUE"),
    ],
)
def test_members_that_do_not_match_are_refused_by_name(command, tmp_path, capsys, members, said):
    told = [word for member in members for word in ("--member", member)]
    assert command("stacked", tmp_path, *told) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_member_without_a_name_has_that_of_its_settings(command, tmp_path):
    summary = stack(command, tmp_path, "name=a", "seed=4 lr=0.01", options=("--tokens", "3072"))
    assert summary["exit_codes"] == {"a": 0, "seed=4-lr=0.01": 0}


def test_a_text_that_is_not_there_is_named_in_one_line(command, tmp_path, capsys):
    assert command("stacked", tmp_path, "--member", "seed=1", "--data", str(tmp_path / "no.bin")) == 2
    assert capsys.readouterr().err == f"stacked.py: {tmp_path / 'no.bin'}: No such file or directory\n"


def test_it_is_a_command(corpus, tmp_path):
    words = ["--data", str(corpus), "--out", str(tmp_path), "--tokens", "3072", "--member", "name=a"]
    done = subprocess.run([sys.executable, str(GPT / "stacked.py"), *words], capture_output=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(losses(tmp_path / "a")) == 3

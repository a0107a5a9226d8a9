"""The built-in trainer, run as anyone would run it: `python train.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mendel.testbeds import BUILT_IN, load_testbed

GPT = BUILT_IN["gpt"]
TEXT = b"".join(b"def f%d(x):\n    return x + %d\n" % (i, i % 7) for i in range(2000))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.bin"
    path.write_bytes(TEXT)
    return path


def train(corpus: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(GPT / "train.py"), "--data", str(corpus), "--out", str(out), *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def in_trainer(code: str) -> str:
    """Run `code` where the trainer's own modules can be imported, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=GPT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("recipe", ["gpt2", "modern"])
def test_same_seed_gives_the_same_losses_to_the_last_bit_and_another_seed_does_not(corpus, tmp_path, recipe):
    runs = [("a", "1"), ("b", "1"), ("c", "2")]
    for name, seed in runs:
        done = train(corpus, tmp_path / name, "--recipe", recipe, "--seed", seed, "--tokens", "16384")
        assert done.returncode == 0, done.stderr
    a, b, c = ([line["loss"] for line in metrics(tmp_path / name)] for name, _ in runs)
    assert a == b
    assert a != c
    assert a[-1] < a[0]


def test_metrics_say_what_was_spent(corpus, tmp_path):
    assert train(corpus, tmp_path, "--tokens", "5000").returncode == 0
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert [line["tokens"] for line in lines] == [1024, 2048, 3072, 4096]  # whole steps within the budget
    assert set(lines[0]) == {"step", "tokens", "flops", "seconds", "lr", "loss", "gradient_norm"}


def test_a_loss_that_is_not_finite_ends_with_its_own_exit_code(corpus, tmp_path):
    done = train(corpus, tmp_path, "--tokens", "16384", "--set", "lr=1e30", "--set", "clip=0")
    assert done.returncode == 3
    assert not (tmp_path / "model.safetensors").exists()


def test_how_it_was_computed_is_recorded_and_a_missing_compiler_only_slows_it_down(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("CXX", "/nonexistent/c++")
    done = train(corpus, tmp_path, "--tokens", "2048", "--compile", "on", "--precision", "float32")
    assert done.returncode == 0, done.stderr
    how = json.loads((tmp_path / "run.json").read_text())
    assert (how["device"], how["precision"], how["threads"], how["ranks"]) == ("cpu", "float32", 1, 1)
    assert how["compile"] is False
    assert "/nonexistent/c++" in how["compile_reason"]


def test_only_a_run_that_is_long_enough_to_pay_for_it_is_compiled_by_default(corpus, tmp_path):
    assert train(corpus, tmp_path, "--tokens", "2048").returncode == 0
    how = json.loads((tmp_path / "run.json").read_text())
    assert how["compile"] is False
    assert "fewer than the 3e+13 from which it pays" in how["compile_reason"]


def test_an_unknown_knob_is_named_with_what_is_allowed(corpus, tmp_path):
    done = train(corpus, tmp_path, "--set", "leraning_rate=1")
    assert done.returncode == 2
    assert "unknown key 'leraning_rate'; allowed are depth" in done.stderr
    done = train(corpus, tmp_path, "--set", "qk_norm=maybe")
    assert "qk_norm takes bool values" in done.stderr


def test_an_added_parameter_leaves_the_initial_values_of_all_others(tmp_path):
    code = """
import torch
from dataclasses import replace
from config import RECIPES
from model import GPT
def values(config):
    model = GPT(config); model.initialise(3); return dict(model.named_parameters())
plain, swiglu = values(RECIPES["gpt2"]), values(replace(RECIPES["gpt2"], positions="rope", tied=False))
shared = [n for n in plain if n in swiglu and plain[n].shape == swiglu[n].shape]
print(len(shared), all(torch.equal(plain[n], swiglu[n]) for n in shared), "head.weight" in swiglu)
"""
    count, equal, untied = in_trainer(code).split()
    assert int(count) > 20
    assert (equal, untied) == ("True", "True")


def test_each_rung_costs_four_times_the_one_below_and_the_dial_grows_the_shape():
    flops = [rung.compute for rung in load_testbed("gpt").rungs]
    assert [b / a for a, b in zip(flops, flops[1:], strict=False)] == [4, 4, 4]
    code = """
from config import RECIPES
for recipe in RECIPES.values():
    shapes = [recipe.at_rung(rung) for rung in range(4)]
    assert all(b.width * b.depth > a.width * a.depth for a, b in zip(shapes, shapes[1:]))
    assert all(b.context > a.context for a, b in zip(shapes, shapes[1:]))
    assert all(shape.batch >= 1 and shape.width % shape.heads == 0 for shape in shapes)
"""
    in_trainer(code)


def test_the_score_is_the_loss_of_the_model_that_was_trained(corpus, tmp_path):
    assert train(corpus, tmp_path, "--tokens", "40000").returncode == 0
    code = f"""
import numpy as np, torch
from pathlib import Path
from score import load
text = np.frombuffer(Path({str(corpus)!r}).read_bytes()[:65 * 20], dtype=np.uint8).reshape(20, 65)
scores = load({str(tmp_path)!r})(text)
assert scores.shape == (20, 64) and scores.dtype == np.float32, (scores.shape, scores.dtype)
print(-scores.mean())
"""
    scored = float(in_trainer(code))
    trained = np.mean([line["loss"] for line in metrics(tmp_path)[-5:]])
    assert abs(scored - trained) < 0.5 < metrics(tmp_path)[0]["loss"] - scored


def test_the_trainer_knows_nothing_of_mendel():
    for file in GPT.glob("*.py"):
        text = file.read_text()
        assert "import mendel" not in text
        assert "from mendel" not in text

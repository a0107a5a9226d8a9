"""Several processes, or several micro-batches, train as one does: real `torchrun`, over gloo on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mendel.testbeds import BUILT_IN

GPT = BUILT_IN["gpt"]
# Clipping at a norm that every step exceeds: a rank that clipped its own share would go elsewhere.
COMMON = ("--tokens", "8192", "--precision", "float32", "--set", "clip=0.1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.bin"
    path.write_bytes(b"".join(b"def f%d(x):\n    return x + %d\n" % (i, i % 7) for i in range(2000)))
    return path


@pytest.fixture
def train(corpus):
    """train(out, *arguments, ranks=0, script=...): under torchrun if there are ranks."""

    def launch(out, *arguments, ranks=0, script=GPT / "train.py"):
        start = (
            ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks else []
        )
        command = [
            sys.executable,
            "-B",
            *start,
            str(script),
            "--data",
            str(corpus),
            "--out",
            str(out),
            *COMMON,
        ]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=240)

    return launch


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory):
    """Losses and gradient norms of a recipe in one process."""
    known = {}

    def find(recipe):
        if recipe not in known:
            out = tmp_path_factory.mktemp(recipe)
            command = [sys.executable, "-B", str(GPT / "train.py"), "--data", str(corpus), "--out", str(out)]
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*command, *COMMON, "--recipe", recipe], env=env, check=True, timeout=120)
            known[recipe] = curve(out)
        return known[recipe]

    return find


def curve(out: Path) -> list[tuple[int, float, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["tokens"], line["loss"], line["gradient_norm"]) for line in lines]


def same(found, expected):
    assert [tokens for tokens, *_ in found] == [tokens for tokens, *_ in expected]
    for mine, its in zip(found, expected, strict=True):
        assert mine[1:] == pytest.approx(its[1:], rel=1e-3)


@pytest.mark.parametrize(
    ("mode", "recipe", "more"),
    [
        ("ddp", "gpt2", ("--accumulate", "2")),
        ("ddp", "modern", ()),
        ("fsdp", "gpt2", ("--accumulate", "2", "--activation-checkpointing")),
    ],
)
def test_two_ranks_train_as_one_does(train, alone, mode, recipe, more, tmp_path):
    done = train(tmp_path, "--recipe", recipe, "--parallel", mode, *more, ranks=2)
    assert done.returncode == 0, done.stderr
    same(curve(tmp_path), alone(recipe))
    how = json.loads((tmp_path / "run.json").read_text())
    assert (how["ranks"], how["parallel"], how["device"]) == (2, mode, "cpu")


STOPPED = f"""
import os, signal, sys
sys.path.insert(0, {str(GPT)!r})
import run, train
log = run.Run.log
def log_and_stop(self, step, *values):
    log(self, step, *values)
    if step == 3 and self.ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)
run.Run.log = log_and_stop
sys.exit(train.main())
"""


def test_a_signal_to_one_rank_saves_for_all_and_both_recipes_go_on(train, alone, tmp_path):
    """The sharded state of Muon, which steps on whole matrices, is put together in the checkpoint."""
    script, out = tmp_path / "stopped.py", tmp_path / "out"
    script.write_text(STOPPED)
    options = ("--recipe", "modern", "--parallel", "fsdp")
    done = train(out, *options, ranks=2, script=script)
    assert done.returncode == 1
    assert done.stderr.count("train.py: stopped: saved after 5 of 8 steps") == 2
    done = train(out, *options, "--resume", ranks=2)
    assert done.returncode == 0, done.stderr
    same(curve(out), alone("modern"))


def test_micro_batches_and_recomputed_activations_change_nothing_but_rounding(train, alone, tmp_path):
    done = train(tmp_path, "--accumulate", "3", "--activation-checkpointing")  # 32 sequences: 11, 11, 10
    assert done.returncode == 0, done.stderr
    same(curve(tmp_path), alone("gpt2"))


@pytest.mark.parametrize(
    ("options", "ranks", "said"),
    [
        (("--parallel", "ddp"), 0, "--parallel ddp needs torchrun"),
        ((), 2, "--parallel none with 2 processes; allowed are ddp, fsdp"),
        (("--accumulate", "33"), 0, "batch is 32 sequences; --accumulate 33 on 1 ranks needs at least 33"),
    ],
)
def test_what_does_not_fit_together_is_refused(train, options, ranks, said, tmp_path):
    done = train(tmp_path, *options, ranks=ranks)
    assert done.returncode == (1 if ranks else 2)  # torchrun has a code of its own
    assert f"train.py: {said}" in done.stderr or f"train.py: --parallel {said}" in done.stderr

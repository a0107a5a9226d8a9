"""A run that is killed, stopped or out of disk goes on where it was, to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mendel.ideas.catalog import find
from mendel.patches import write_tree
from mendel.testbeds import BUILT_IN
from tests.ideas.trainer import patched_tree

GPT = BUILT_IN["gpt"]
STEPS = 9
KILLED = -9
SYNCS = (1, 4, 7, 8)
"""Before the first byte of a checkpoint is safe, between its files, before and after it gets its name."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.bin"
    path.write_bytes(b"".join(b"def f%d(x):\n    return x + %d\n" % (i, i % 7) for i in range(2000)))
    return path


@pytest.fixture(scope="module")
def driver():
    command = [sys.executable, "-B", str(Path(__file__).with_name("driver.py"))]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def train(corpus, driver):
    """train(*scenarios, source=GPT): exit codes, and all that was said on standard error."""

    def launch(*scenarios, source=GPT):
        codes, said = [], ""
        for scenario in scenarios:
            arguments = ["--data", str(corpus), "--tokens", str(STEPS * 1024), *scenario["arguments"]]
            driver.stdin.write(json.dumps({**scenario, "source": str(source), "arguments": arguments}) + "\n")
            driver.stdin.flush()
            code, text = json.loads(driver.stdout.readline())
            codes.append(code)
            said += text
        return codes, said

    return launch


def told(out: Path, *more: str, **happens) -> dict:
    """A scenario that saves every third step."""
    return {"arguments": ["--out", str(out), "--checkpoint-every", "3", *more], **happens}


def result(out: Path) -> tuple[list[dict], bytes]:
    """What must be equal: every line but its clock, and the weights."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return lines, (out / "model.safetensors").read_bytes()


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("recipe", "ideas", "total", "steps"),
    [
        ("gpt2", (), STEPS, range(STEPS)),
        ("modern", (), STEPS, (1, 4)),
        # They keep tensors, over the last steps of a run, and draw random numbers.
        ("gpt2", ("weight-ema", "dropout"), 30, (3, 25)),
    ],
)
def test_a_run_killed_after_any_step_goes_on_to_the_same_bits(train, recipe, ideas, total, steps, tmp_path):
    arguments, source = ["--recipe", recipe, "--tokens", str(1024 * total)], GPT
    if ideas:
        source = tmp_path / "source"
        write_tree(patched_tree(*(find(name).patch for name in ideas)), source)
    scenarios = [told(tmp_path / "whole", *arguments)]
    for step in steps:
        out = tmp_path / str(step)
        scenarios += [told(out, *arguments, step=step, signal="SIGKILL"), told(out, *arguments, "--resume")]
    codes, said = train(*scenarios, source=source)
    assert codes == [0, *[KILLED, 0] * len(steps)], said
    whole = result(tmp_path / "whole")
    assert [line["step"] for line in whole[0]] == list(range(total))
    for step in steps:
        assert result(tmp_path / str(step)) == whole, f"killed after step {step}"


def test_a_run_killed_while_it_saves_goes_on_from_the_checkpoint_before(train, tmp_path):
    scenarios = [told(tmp_path / "whole")]
    for sync in SYNCS:
        out = tmp_path / str(sync)
        scenarios += [told(out, step=5, sync=sync), told(out, "--resume")]
    codes, said = train(*scenarios)
    assert codes == [0, *[KILLED, 0] * len(SYNCS)], said
    assert all(result(tmp_path / str(sync)) == result(tmp_path / "whole") for sync in SYNCS)


def test_the_log_holds_each_step_that_was_done_once_however_often_a_run_is_ended(train, tmp_path):
    codes, said = train(
        told(tmp_path, step=5, sync=1),  # six lines, and a checkpoint of three
        told(tmp_path, "--resume", step=3, signal="SIGTERM"),
    )
    assert codes == [KILLED, 4], said
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3, 4]


def test_sigterm_saves_and_ends_with_a_code_of_its_own(train, tmp_path):
    out = tmp_path / "stopped"
    codes, said = train(
        told(tmp_path / "whole"),
        {"arguments": ["--out", str(out)], "step": 3, "signal": "SIGTERM"},  # without --checkpoint-every
    )
    assert codes == [0, 4]
    assert "train.py: stopped: saved after 5 of 9 steps; --resume goes on from there" in said
    assert checkpoints(out) == ["checkpoint-00000005"]
    codes, said = train(told(out, "--resume"))
    assert codes == [0], said
    assert result(out) == result(tmp_path / "whole")


def test_a_full_disk_ends_with_a_code_of_its_own_and_leaves_the_last_checkpoint(train, tmp_path):
    out = tmp_path / "full"
    for room in (1000, 600_000):  # neither weights nor state fit; the state does not
        codes, said = train(told(out, "--resume", step=3, room=room))
        assert codes == [5]
        assert said.strip().endswith("full: File too large; make room, and --resume goes on")
        assert checkpoints(out) == ["checkpoint-00000003"]
        assert list(out.glob(".unfinished*")) == []
    codes, said = train(told(tmp_path / "whole"), told(out, "--resume"))
    assert codes == [0, 0], said
    assert result(out) == result(tmp_path / "whole")


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(train, tmp_path):
    out = tmp_path / "poisoned"
    # After step 5 a checkpoint is due; after step 6 the next loss tells.
    for step, reason in ((5, "embedding.weight is not finite"), (6, "the loss of step 7 is nan")):
        codes, said = train(told(out, "--resume", step=step, poison=True))
        assert codes == [3]
        assert f"train.py: diverged: {reason}" in said
        assert checkpoints(out) == ["checkpoint-00000003" if step == 5 else "checkpoint-00000006"]
        assert not (out / "model.safetensors").exists()
    codes, said = train(told(tmp_path / "whole"), told(out, "--resume"))
    assert codes == [0, 0], said
    assert result(out) == result(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--set", "lr=0.001"], "lr is 0.001, and was 0.0"),
        (["--seed", "2"], "seed is 2, and was 1"),
        (["--tokens", "99999"], "steps is 97, and was 9"),
        (["--recipe", "modern"], "norm is 'rmsnorm', and was 'layernorm'"),
    ],
)
def test_going_on_with_another_configuration_is_refused_by_the_name_of_the_knob(
    train, changed, named, tmp_path
):
    out = tmp_path / "out"
    codes, _ = train(told(out, step=5, signal="SIGKILL"))
    before = sorted((path.name, path.read_bytes()) for path in out.rglob("*") if path.is_file())
    codes, said = train(told(out, "--resume", *changed), told(out))
    assert codes == [2, 2]
    refused, again = said.strip().splitlines()
    assert named in refused
    assert "state.pt" in refused
    assert "--resume goes on, or delete it" in again
    assert before == sorted((path.name, path.read_bytes()) for path in out.rglob("*") if path.is_file())


def test_a_result_holds_no_optimiser_state_and_resuming_it_does_nothing(train, tmp_path):
    codes, _ = train(told(tmp_path))
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(files) == {"config.json", "run.json", "data.json", "metrics.jsonl", "model.safetensors"}
    codes, _ = train(told(tmp_path, "--resume"))
    assert codes == [0]
    assert files == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_result_of_another_run_is_never_taken_for_the_one_that_is_asked_for(train, tmp_path):
    train(told(tmp_path))
    codes, said = train(told(tmp_path, "--resume", "--seed", "2"))
    assert codes == [2]
    assert "run.json: seed is 2, and was 1" in said
    codes, _ = train(told(tmp_path, "--seed", "2", step=1, signal="SIGKILL"))  # before its first checkpoint
    assert codes == [KILLED]
    assert not (tmp_path / "model.safetensors").exists()


def test_a_run_killed_while_it_deletes_its_checkpoint_is_done(train, tmp_path):
    train(told(tmp_path))
    (tmp_path / ".removed-checkpoint-00000006").mkdir()
    assert train(told(tmp_path, "--resume"))[0] == [0]

"""Text from a checkpoint: `python sample.py` alone, and `mendel sample` in the sandbox of a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mendel.records import RunSpec
from mendel.store import Store
from mendel.testbeds import BUILT_IN
from tests.store.samples import RECIPE, a_result, a_run, start

GPT = BUILT_IN["gpt"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "train.bin").write_bytes(b"ab" * 20_000)
    out = folder / "out"
    command = [
        sys.executable,
        "-B",
        str(GPT / "train.py"),
        "--data",
        str(folder / "train.bin"),
        "--out",
        str(out),
    ]
    subprocess.run([*command, "--tokens", "40000"], env=ENV, check=True, timeout=120)
    return out


def sample(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-B", str(GPT / "sample.py"), *map(str, arguments)]
    return subprocess.run(command, env=ENV, capture_output=True, timeout=120)


def mendel(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    code = f"import sys; sys.argv = {['mendel', 'sample', *arguments]!r}; from mendel.cli import main; main()"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=ENV, cwd=folder, capture_output=True, timeout=120)


def test_it_goes_on_as_the_text_it_was_trained_on(checkpoint):
    done = sample(checkpoint, "--prompt", "abab", "--tokens", "40", "--temperature", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ab" * 22 + b"\n", b"")


def test_a_seed_repeats_and_top_k_limits_what_can_be_drawn(checkpoint):
    wild = ("--temperature", "50", "--tokens", "60")
    first, again, other = (sample(checkpoint, *wild, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    two = sample(checkpoint, *wild, "--top-k", "2", "--prompt", "ab").stdout
    assert len(set(two.decode().strip())) < len(set(first.decode().strip()))


def test_bytes_that_are_no_text_print_as_replacement_characters(checkpoint):
    done = sample(checkpoint, "--prompt", os.fsdecode(b"x\xff"), "--tokens", "300", "--temperature", "50")
    text = done.stdout.decode("utf-8")
    assert text.startswith("x\N{REPLACEMENT CHARACTER}")
    assert text.count("\N{REPLACEMENT CHARACTER}") > 20


def test_a_reader_that_has_enough_ends_it_quietly(checkpoint):
    command = [sys.executable, "-B", str(GPT / "sample.py"), str(checkpoint), "--tokens", "100000"]
    with subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert len(process.stdout.read(5)) == 5  # it streams: the rest would take minutes
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_folder_without_weights_is_refused(tmp_path):
    done = sample(tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}: no model.safetensors with its config.json here".encode() in done.stderr
    done = mendel(tmp_path, "--checkpoint", str(tmp_path))
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"no weights here" in done.stderr


def test_mendel_prints_what_the_run_s_own_code_makes_of_it(checkpoint, tmp_path):
    """The run's source differs from the shipped one, and its sample shows it."""
    with Store(tmp_path / ".mendel") as store:
        campaign = start(store)
        tree = {file.name: file.read_text() for file in GPT.glob("*.py")}
        tree["model.py"] += "\nprint('its own \\x1b[31mcode')\n"
        recipe = RECIPE.model_copy(update={"tree": store.save_tree(tree)})
        store.put_recipe(recipe)
        spec: RunSpec = a_run(recipe=recipe.id)
        store.enqueue(campaign, [spec], "verify")
        store.claim(campaign, spec.id)
        folder = store.new_run_folder(campaign, spec.id, {}, recipe.tree)
        shutil.copytree(checkpoint, folder.out, dirs_exist_ok=True)
        store.finish(campaign, spec.id, a_result())
    asked = ("--prompt", "abab", "--tokens", "20", "--temperature", "0")
    for name in ((), (spec.id[:6],)):
        done = mendel(tmp_path, *name, *asked)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == "its own code\n" + "ab" * 12 + "\n"
    done = mendel(tmp_path, "nosuchrun", *asked)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    (folder.out / "model.safetensors").unlink()
    done = mendel(tmp_path, *asked)
    assert done.returncode == 2
    assert b"no weights are left" in done.stderr

"""What runs of somebody's own trainer find: source with its edits, inputs, what was prepared, a seed."""

import json
import sys

import pytest

from mendel.campaign.config import CampaignConfig
from mendel.campaign.ground import lay_ground
from mendel.records import Recipe
from mendel.runs import Job
from mendel.runs.local import LocalExecutor
from mendel.testbeds import TestbedError, load_testbed
from mendel.testing.executor_conformance import drain

CONTRACT = """\
name = "mine"
source = "repository"
command = ["-m", "package.train", "--seed={seed}", "--out={out}"]
override = ["--{key}={value}"]
budget = "seconds"
editable = ["package/*.py"]
inputs = ["data/given.txt"]
edits = [{ path = "package/train.py", search = "BUDGET = 300", replace = "BUDGET = {seconds}" }]
set = { width = 64, depth = 2 }
rungs = [{ seconds = 2, timeout = 20 }, { seconds = 8, timeout = 40, set = { depth = 4 } }]
metric = { file = "result.json", key = "loss" }
env = { MODE = "seed-{seed}" }

[prepare]
command = ["prepare.py", "4"]
makes = ["data/*.bin"]
"""
TRAIN = """\
import json, os, sys
from package.helper import double
BUDGET = 300
out = [part.split("=")[1] for part in sys.argv if part.startswith("--out")][0]
said = {"argv": sys.argv[1:], "budget": BUDGET, "mode": os.environ["MODE"], "double": double(4)}
said |= {name: open(f"data/{name}").read() for name in ("given.txt", "made.bin", "tracked.txt")}
said["threads"] = os.environ["OMP_NUM_THREADS"]
json.dump({**said, "loss": 1.5}, open(f"{out}/result.json", "w"))
"""
PREPARE = """\
import sys
text = open("data/given.txt").read()
print("working")
open("data/made.bin", "w").write(text * int(sys.argv[1]))
"""


@pytest.fixture
def contract(tmp_path):
    """contract(old, new): a testbed with one text of its contract replaced."""
    root = tmp_path / "repository"
    for folder in ("package", "data"):
        (root / folder).mkdir(parents=True)
    files = {
        "package/__init__.py": "",
        "package/train.py": TRAIN,
        "package/helper.py": "def double(x):\n    return 2 * x\n",
        "prepare.py": PREPARE,
        "data/tracked.txt": "tracked",
        "data/given.txt": "given",
    }
    for name, text in files.items():
        (root / name).write_text(text)

    def make(old="", new=""):
        assert old in CONTRACT
        text = CONTRACT.replace(old, new, 1).replace(
            'editable', 'files = ["**/*.py", "data/tracked.txt"]\neditable', 1
        )  # fmt: skip
        (tmp_path / "testbed.toml").write_text(text)
        return load_testbed(tmp_path)

    return make


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_run_finds_all_that_its_contract_promises(contract, tmp_path, cpus):
    from mendel.patches import read_tree, write_tree

    testbed = contract('name = "mine"', f'name = "mine"\ncpus = {cpus}')
    before = snapshot(tmp_path / "repository")
    ground = lay_ground(testbed, CampaignConfig(), tmp_path / "lab")
    source, out = tmp_path / "run" / "source", tmp_path / "run" / "out"
    out.mkdir(parents=True)
    write_tree(read_tree(testbed), source)
    recipe = Recipe(testbed="mine", tree="0", base="base", overrides={"width": 96})
    values = ground.values(recipe, 1, 7, 2500, out)
    ground.furnish(source, values)
    executor = LocalExecutor(workers=1)
    job = Job(
        id="one", source=source, argv=ground.command(recipe, 1, 7, 2500, out), out=out,
        timeout=20, memory=1e9, readable=ground.readable, env=ground.env(values), cpus=testbed.cpus,
    )  # fmt: skip
    executor.submit(job)
    result = drain(executor, 1)["one"]
    executor.close()
    assert result.status == "done", result.reason
    said = json.loads((out / "result.json").read_text())
    assert said["argv"] == ["--seed=7", f"--out={out}", "--depth=4", "--width=96"], (
        "a rung's on all runs', a patch's on a rung's"
    )
    assert said["budget"] == 2.5, "thousandths of a second"
    assert (said["mode"], said["double"], said["threads"]) == ("seed-7", 8, str(cpus))
    assert (said["given.txt"], said["made.bin"], said["tracked.txt"]) == ("given", "given" * 4, "tracked")
    assert snapshot(tmp_path / "repository") == before, "the user's folder is only read"


def test_what_is_prepared_is_prepared_once_and_again_where_its_inputs_changed(contract, tmp_path):
    testbed = contract()
    first = lay_ground(testbed, CampaignConfig(), tmp_path / "lab")
    (made,) = (path for name, path in first.links if name == "data/made.bin")
    stamp = made.stat().st_mtime_ns
    assert lay_ground(testbed, CampaignConfig(), tmp_path / "lab") == first
    assert made.stat().st_mtime_ns == stamp
    (tmp_path / "repository" / "data" / "given.txt").write_text("other")
    again = lay_ground(testbed, CampaignConfig(), tmp_path / "lab")
    assert again.hash != first.hash, "runs on other data are never compared"
    assert dict(again.links)["data/made.bin"].read_text() == "other" * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('inputs = ["data/given.txt"]', 'inputs = ["data/absent"]', "inputs: 'data/absent' does not exist"),
        ('"4"]', '"four"]', "prepare.command: exit code 1: ValueError: invalid literal for int"),
        ('"data/*.bin"]', '"data/*.npy"]', "prepare.makes: 'data/*.npy' was not made; see"),
        ('"4"]', '"{tokens}"]', "prepare.command: 'tokens'; allowed are {data} {out}"),
        ('name = "mine"', 'name = "mine"\npython = "./absent/python"', "python: there is no file"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_runs(contract, tmp_path, old, new, message):
    with pytest.raises(TestbedError) as error:
        lay_ground(contract(old, new), CampaignConfig(), tmp_path / "lab")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_failed_preparation_is_done_again(contract, tmp_path):
    (tmp_path / "repository" / "data" / "given.txt").unlink()
    testbed = contract('inputs = ["data/given.txt"]\n', "")
    with pytest.raises(TestbedError, match="FileNotFoundError"):
        lay_ground(testbed, CampaignConfig(), tmp_path / "lab")
    (tmp_path / "repository" / "prepare.py").write_text("open('data/made.bin', 'w').write('x')\n")
    assert lay_ground(testbed, CampaignConfig(), tmp_path / "lab").links[0][0] == "data/made.bin"


def test_an_environment_is_built_from_a_lock_file_and_one_that_cannot_be_is_told(contract, tmp_path):
    (tmp_path / "lock.txt").write_text("# nothing is needed\n")
    testbed = contract('name = "mine"', 'name = "mine"\nrequirements = "lock.txt"')
    ground = lay_ground(testbed, CampaignConfig(), tmp_path / "lab")
    assert ground.testbed.python != sys.executable and str(tmp_path / "lab") in ground.testbed.python
    (tmp_path / "lock.txt").write_text("./no-such-package-here\n")
    with pytest.raises(TestbedError, match="requirements: 'lock.txt' cannot be built: ERROR"):
        lay_ground(testbed, CampaignConfig(), tmp_path / "lab")


def test_a_patch_that_takes_away_what_an_edit_needs_is_told(contract, tmp_path):
    ground = lay_ground(contract(), CampaignConfig(), tmp_path / "lab")
    source = tmp_path / "source" / "package"
    source.mkdir(parents=True)
    (source / "train.py").write_text("BUDGET = 7\n")
    recipe = Recipe(testbed="mine", tree="0", base="base")
    with pytest.raises(ValueError, match="'BUDGET = 300' occurs 0 times; the testbed's edits need it"):
        ground.furnish(source.parent, ground.values(recipe, 0, 1, 1000, tmp_path))

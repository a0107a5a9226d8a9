"""What a testbed.toml for somebody's own trainer may say, and what is told where it is wrong."""

import textwrap

import pytest

from mendel.records import Currency, Metric, Rung, Span, Trust
from mendel.testbeds import TestbedError, load_testbed
from mendel.testbeds.files import FilesError, matches, source_files

TRAIN = """\
import sys

SEED = 1337


def evaluate(model):
    loss = 1.0
    return loss


print("val loss", evaluate(None))
"""
CONTRACT = """\
name = "mine"
source = "../repository"
command = ["python", "train.py", "--steps={steps}", "--out={out}"]
override = ["--{key}={value}"]
budget = "steps"
editable = ["train.py", "model/*.py"]
protected = ["data.py", { path = "train.py", first = "def evaluate", last = "return loss" }]
edits = [{ path = "train.py", search = "SEED = 1337", replace = "SEED = {seed}" }]
set = { width = 64 }
rungs = [{ steps = 100, timeout = 60 }, { steps = 400, timeout = 200, set = { width = 128 } }]
metric = { pattern = 'val loss ([\\d.]+)', unit = "nats per token" }
"""


@pytest.fixture
def lab(tmp_path):
    """lab(old, new): the folder of a contract with one text replaced, beside the repository it is about."""
    repository = tmp_path / "repository"
    (repository / "model").mkdir(parents=True)
    (repository / "train.py").write_text(TRAIN)
    (repository / "data.py").write_text("# the data\n")
    for name in ("__init__", "block"):
        (repository / "model" / f"{name}.py").write_text(f"# {name}\n")
    (repository / "weights.bin").write_bytes(b"\0\xff" * 100)

    def make(old="", new=""):
        folder = tmp_path / "lab"
        folder.mkdir(exist_ok=True)
        assert old in CONTRACT
        (folder / "testbed.toml").write_text(CONTRACT.replace(old, new, 1))
        return folder

    return make


def test_a_contract_lies_beside_the_repository_it_is_about(lab):
    folder = lab()
    testbed = load_testbed(folder)
    assert testbed.root == str((folder.parent / "repository").resolve())
    assert testbed.folder == str(folder)
    assert testbed.files == ("data.py", "model/__init__.py", "model/block.py", "train.py")
    assert testbed.editable == ("train.py", "model/__init__.py", "model/block.py")
    assert testbed.command[0] == "train.py", "the interpreter is `python`'s to say"
    assert testbed.protected == (Span(path="train.py", first="def evaluate", last="return loss"),)
    assert (testbed.budget, testbed.unit, testbed.trust) == (Currency.STEPS, "nats per token", Trust.REPORTED)
    assert testbed.rungs[1] == Rung(compute=400, timeout=200, set={"width": 128})
    assert load_testbed(folder / "testbed.toml") == testbed


def test_torchrun_is_a_module_of_torch(lab):
    folder = lab('"python", "train.py"', '"torchrun", "--nproc_per_node={gpus}", "train.py"')
    assert load_testbed(folder).command[:3] == ("-m", "torch.distributed.run", "--nproc_per_node={gpus}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CONTRACT.splitlines()[2], "", "command: missing"),
        ('["python", "train.py", "--steps={steps}", "--out={out}"]', "[]", "command: must have a length of"),
        ("../repository", "../elsewhere", "source: '../elsewhere' is no folder; it is looked for at"),
        ('"data.py", {', '"train.py", {', "protected: 'train.py' is editable too"),
        ("def evaluate", "def eval(", "protected.0: first: 'def eval(' is in 0 lines of train.py"),
        (
            "return loss",
            "return los5",
            "protected.0: last: 'return los5' is in no line of train.py from line",
        ),
        ("SEED = 1337", "SEED = 42", "edits.0.search: 'SEED = 42' occurs 0 times in train.py; it must occur"),
        ("SEED = {seed}", "SEED = 7", "{seed} is in neither command nor edits: all runs would be the same"),
        (
            "--steps={steps}",
            "--steps=9",
            "{steps} is in neither command nor edits: a run would not be told its",
        ),
        (
            "--steps={steps}",
            "--steps={tokens}",
            "command: placeholder {tokens} in '--steps={tokens}' is",
        ),
        ("model/*.py", "models/*.py", "editable: 'models/*.py' is not in files (data.py, model/__init__.py"),
        ('override = ["--{key}={value}"]', "", "override: missing, and set needs it"),
        ("steps = 100", "tokens = 100", 'rungs.0: needs steps, because budget = "steps" (found tokens)'),
        (
            'budget = "steps"',
            'budget = "epochs"',
            "budget: allowed are 'flops', 'tokens', 'steps' or",
        ),
        (
            CONTRACT.splitlines()[-1],
            "",
            "score: say what is measured: either score, a file with load",
        ),
        ("([\\d.]+)", "[\\d.]+", "metric: pattern 'val loss [\\\\d.]+' has 0 groups; one is the number"),
        ("([\\d.]+)", "([\\d.]+", "missing ), unterminated subpattern"),
        ("metric = {", "metric = { file = 'm.json',", "metric: give either pattern, or file and key"),
        ("name =", "requirements = 'lock.txt'\nname =", "requirements: 'lock.txt' does not exist in"),
        (
            "name =",
            "requirements = 'a'\npython = 'b'\nname =",
            "requirements: give either python or",
        ),
        ("name =", "score = 'score.py'\nname =", "score: 'score.py' does not exist in"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(lab, old, new, message):
    folder = lab(old, new)
    with pytest.raises(TestbedError) as error:
        load_testbed(folder)
    assert message in str(error.value) and str(folder / "testbed.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_score_file_may_lie_beside_the_contract(lab):
    from mendel.patches import read_tree

    folder = lab(CONTRACT.splitlines()[-1], 'score = "score.py"')
    (folder / "score.py").write_text("def load(folder):\n    ...\n")
    testbed = load_testbed(folder)
    assert read_tree(testbed)["score.py"].startswith("def load")
    assert testbed.trust is Trust.SCORED and "score.py" not in testbed.editable


def test_lines_from_first_to_last_are_a_span():
    text = textwrap.dedent("""\
        a = 1
        def f():  # begins
            return 2
        def g():
            return 2
    """)
    assert Span(path="x.py", first="def f", last="return").of(text) == ("def f():  # begins\n    return 2\n")
    with pytest.raises(ValueError, match="'def' is in 2 lines"):
        Span(path="x.py", first="def", last="return").of(text)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("*.py", "a.py", True),
        ("*.py", "b/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "b/c/a.py", True),
        ("b/**", "b/c/a.py", True),
        ("b/*", "b/c/a.py", False),
        ("b/?.py", "b/a.py", True),
        ("[ab].py", "c.py", False),
    ],
)
def test_a_star_stops_at_a_folder_and_two_do_not(pattern, path, found):
    assert matches(path, pattern) is found


def test_without_a_list_the_source_is_text_and_no_data(lab):
    root = lab().parent / "repository"
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "x.pyc").write_text("text")
    (root / ".mendel").mkdir()
    (root / ".mendel" / "store.py").write_text("# the lab's own")
    (root / "log.txt").write_text("x" * (1 << 21))
    assert source_files(root, ()) == ["data.py", "model/__init__.py", "model/block.py", "train.py"]
    with pytest.raises(FilesError, match=r"files: 'absent.py' does not exist in"):
        source_files(root, ("absent.py",))


def test_a_metric_says_one_way_to_read_it():
    assert Metric(file="m.jsonl", key="val").unit == "loss"
    with pytest.raises(ValueError, match="file and key go together"):
        Metric(file="m.jsonl")

"""A testbed is a contract: what its testbed.toml may say, and what is told where it is wrong."""

import shutil
import sys

import pytest
import toy

from mendel.records import Rung
from mendel.testbeds import BUILT_IN, TestbedError, check_rung, load_testbed


@pytest.fixture
def copy(tmp_path):
    """copy(old, new): a toy testbed with one text of its testbed.toml replaced; its folder."""

    def make(old="", new=""):
        folder = shutil.copytree(toy.TESTBED, tmp_path / "mine")
        path = folder / "testbed.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        return folder

    return make


def test_a_folder_is_read_through_its_file_alone():
    testbed = load_testbed(toy.TESTBED)
    assert (testbed.name, testbed.root, testbed.python) == ("toy", str(toy.TESTBED), sys.executable)
    assert testbed.rungs == (Rung(compute=40_000, timeout=4), Rung(compute=160_000, timeout=4))
    assert (testbed.editable, testbed.count_flops) == (("train.py",), False)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_testbed_is_loaded_like_anyones(name):
    testbed = load_testbed(name)
    assert testbed == load_testbed(BUILT_IN[name])
    assert testbed.name == name
    assert testbed.score not in testbed.editable, "a patch must not score itself"
    ratios = [high.compute / low.compute for low, high in zip(testbed.rungs, testbed.rungs[1:], strict=False)]
    assert ratios == pytest.approx([4.0] * 3, rel=0.01)


def test_placeholders_of_a_command_are_the_documented_ones():
    for name in (*BUILT_IN, toy.TESTBED):
        testbed = load_testbed(name)
        values = dict.fromkeys(("recipe", "rung", "seed", "tokens", "data", "out"), "x")
        assert all("{" not in part.format(**values) for part in testbed.command)
        assert all("{" not in part.format(key="k", value=1) for part in testbed.override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', "", "testbed.toml: name: missing"),
        ('name = "toy"', "name = 3", "testbed.toml: name: must be text (found 3)"),
        ('name = "toy"', 'name = "toy"\nsmoke = "10"', "testbed.toml: smoke: must be a number (found '10')"),
        ('name = "toy"', 'name = "toy"\ncpus = "2"', "cpus: must be a whole number (found '2')"),
        ("tokens = 40_000", 'tokens = "40"', "testbed.toml: rungs.0.tokens: must be a number (found '40')"),
        ("memory", "memori", "testbed.toml: memori: unknown key (found 250000000.0); did you mean memory?"),
        ("tokens = 40_000", "tokens = 0", "testbed.toml: rungs.0.tokens: must be above 0 (found 0)"),
        ('files = ["train.py"', 'files = ["trian.py"', "testbed.toml: files: 'trian.py' does not exist in"),
        ('editable = ["train.py"]', 'editable = ["a.py"]', "testbed.toml: editable: 'a.py' is not in files"),
        ('score = "score.py"', 'score = "s.py"', "'s.py' does not exist in"),
        ("command = [", "command = ", "testbed.toml: "),
        (
            'name = "toy"',
            'name = "toy"\nroot = "/x"',
            "testbed.toml: root: unknown key (found '/x'); allowed are",
        ),
        (
            '"{seed}"',
            '"{sed}"',
            "testbed.toml: command: placeholder {sed} in '{sed}' is unknown; "
            "allowed are {recipe} {rung} {seed} {tokens} {data} {out} {device} {cpus} {gpus}",
        ),
        ('"{seed}"', '"{}"', "testbed.toml: command: placeholder {} in '{}' is unknown; allowed"),
        ('"{seed}"', '"{key}"', "testbed.toml: command: placeholder {key} in"),
        ('"{seed}"', '"{seed:{width}}"', "testbed.toml: command: placeholder {width} in"),
        ('"{seed}"', '"{seed"', "testbed.toml: command: expected '}' before end of string in '{seed'"),
        (
            "{key}={value}",
            "{key}={seed}",
            "testbed.toml: override: placeholder {seed} in '{key}={seed}' is unknown; "
            "allowed are {key} {value}",
        ),
    ],
)
def test_an_error_names_file_key_and_value(copy, old, new, message):
    folder = copy(old, new)
    with pytest.raises(TestbedError) as error:
        load_testbed(folder)
    assert message in str(error.value) and str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_utf8_is_told_with_the_place(copy):
    folder = copy()
    path = folder / "testbed.toml"
    path.write_bytes(b"# caf\xe9\n" + path.read_bytes())
    with pytest.raises(TestbedError, match=r"testbed\.toml: not UTF-8 at byte offset 5"):
        load_testbed(folder)


def test_doubled_braces_are_text(copy):
    folder = copy('"{seed}"', '"{{seed}}={seed:03d}"')
    assert "{{seed}}={seed:03d}" in load_testbed(folder).command


def test_a_missing_file_is_told_with_the_built_in_ones(tmp_path):
    with pytest.raises(TestbedError, match="testbed.toml: no such file; .* one of: gpt"):
        load_testbed(tmp_path)


@pytest.mark.parametrize("number", [-1, 2, 99])
def test_an_unknown_rung_is_told_with_the_known_ones(number):
    with pytest.raises(TestbedError, match=rf"testbed.toml: rung {number} is unknown; allowed are 0 to 1"):
        check_rung(load_testbed(toy.TESTBED), number)


def test_the_lab_runs_with_the_interpreter_that_a_testbed_names(copy):
    folder = copy('name = "toy"', 'name = "toy"\npython = "/opt/python/bin/python"')
    assert load_testbed(folder).python == "/opt/python/bin/python"

"""`mendel init` for a trainer that knows nothing of Mendel: what it writes, what it refuses, what it leaves
alone."""

import contextlib
import io
import json
import os
import random
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mendel.campaign.config import read_config
from mendel.cli import main
from mendel.ideas.userfile import load_ideas
from mendel.testbeds import load_testbed

sys.path.append(str(Path(__file__).parent / "testbeds"))
import trainers  # noqa: E402


def init(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of `mendel init` in a folder."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(["init", *arguments])
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        os.chdir(before)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def repo(tmp_path):
    return trainers.make(tmp_path / "repo", trainers.ARGPARSE, git=True)


def test_init_writes_a_lab_that_loads_and_says_what_it_saw(repo, tmp_path):
    before = trainers.state(repo)
    code, out, err = init(tmp_path / "lab", "--testbed", "../repo")
    assert (code, err) == (0, "")
    assert "option steps" in out and "val loss" in out and "mendel testbed check" in out
    assert trainers.state(repo) == before
    lab = tmp_path / "lab"
    testbed = load_testbed(lab)
    assert (testbed.root, testbed.folder) == (str(repo), str(lab))
    assert 'source = "../repo"' in (lab / "testbed.toml").read_text()
    assert len(load_ideas(lab / "ideas.toml")) >= 2
    with contextlib.chdir(lab):
        config = read_config(None, {})
    assert (config.testbed, config.ideas) == (str(lab), str(lab / "ideas.toml"))
    keys = [
        line for line in (lab / "testbed.toml").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert len(keys) <= 30


def test_as_json_it_is_one_object(repo, tmp_path):
    code, out, _ = init(tmp_path / "lab", "--testbed", str(repo), "--json")
    found = json.loads(out)
    assert code == 0 and found["config"] == "mendel.toml" and found["missing"] == [] == found["wrong"].split()
    assert found["recognised"] and found["evidence"]


@pytest.mark.parametrize("name", ["testbed.toml", "mendel.toml", "ideas.toml"])
def test_a_file_that_is_there_is_never_overwritten(repo, tmp_path, name):
    lab = trainers.make(tmp_path / "lab", {name: "mine"})
    code, _, err = init(lab, "--testbed", str(repo))
    assert code == 2 and f"{name}: it exists already" in err
    assert trainers.state(lab).keys() == {str(lab / name)} and (lab / name).read_text() == "mine"


@pytest.mark.parametrize("inside", ["", "net"])
def test_a_lab_is_not_made_in_the_trainers_folder(repo, inside):
    before = trainers.state(repo)
    where = repo / inside
    code, _, err = init(where, "--testbed", str(repo))
    assert code == 2
    lab = "../../lab" if inside else "../lab"
    assert f"mkdir {lab} && cd {lab} && mendel init --testbed ../repo" in err
    if inside:
        where.rmdir()
    assert {name: kept for name, (_, kept) in trainers.state(repo).items()} == {
        name: kept for name, (_, kept) in before.items()
    }


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no Python file in it"),
        ({"README.md": "hello"}, "there is no Python file in it"),
        ({"setup.py": "print(1)\n"}, "no file in it looks like one that trains"),
    ],
)
def test_a_folder_without_a_trainer_is_told(tmp_path, files, said):
    (tmp_path / "repo").mkdir()
    root = trainers.make(tmp_path / "repo", files)
    code, _, err = init(tmp_path / "lab", "--testbed", str(root))
    assert code == 2 and said in err and str(root) in err
    assert not list((tmp_path / "lab").iterdir())


def test_an_unknown_ready_made_file_is_told_with_the_known_ones(repo, tmp_path):
    code, _, err = init(tmp_path / "lab", "--testbed", str(repo), "--as", "nanogtp")
    assert code == 2 and "'nanogtp' is unknown; allowed are nanogpt-char, nanogpt-124m" in err
    code, _, err = init(tmp_path / "lab", "--testbed", "gpt", "--as", "nanochat")
    assert code == 2 and "leave --as out" in err


def test_what_is_not_found_is_marked_and_told(tmp_path):
    files = {"train.py": "import torch\nwhile True:\n    loss.backward()\n    optimizer.step()\n"}
    root = trainers.make(tmp_path / "repo", files)
    code, out, _ = init(tmp_path / "lab", "--testbed", str(root))
    text = (tmp_path / "lab" / "testbed.toml").read_text()
    assert code == 0 and text.count("# TODO") == 2
    assert "needs your hand before it loads" in out and "{steps}" in out
    assert tomllib.loads(text)["command"] == ["train.py"]


def test_a_research_folder_that_needs_cuda_is_told_where_there_is_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    script = trainers.RESEARCH["train.py"].replace("LR = 0.05", 'LR = 0.05\ndevice = torch.device("cuda")')
    root = trainers.make(tmp_path / "repo", {**trainers.RESEARCH, "train.py": "import torch\n" + script})
    code, out, _ = init(tmp_path / "lab", "--testbed", str(root))
    assert code == 0 and "it needs CUDA" in out and "cannot run on this machine" in out


@pytest.mark.parametrize("name", ["../nope", "../repo/train.py/x", "gtp"])
def test_a_folder_that_is_not_there_is_told_with_its_path(repo, tmp_path, name):
    code, _, err = init(tmp_path / "lab", "--testbed", name)
    where = (tmp_path / "lab" / name).resolve()
    assert code == 2 and f"--testbed: {name!r}: there is no such folder ({where})" in err
    assert "give that of your trainer" in err and err.count("\n") == 1


def test_settings_for_a_lab_that_has_ideas_name_them_and_leave_them_alone(repo, tmp_path):
    lab = tmp_path / "lab"
    init(lab, "--testbed", str(repo))
    (lab / "mendel.toml").unlink()
    before = trainers.state(lab)
    code, out, _ = init(lab, "--testbed", ".")
    assert code == 0 and "which names ideas.toml as it was there" in out
    kept = {name: was for name, was in trainers.state(lab).items() if name != str(lab / "mendel.toml")}
    assert kept == before
    with contextlib.chdir(lab):
        config = read_config(None, {})
    assert (config.testbed, config.ideas) == (str(lab), str(lab / "ideas.toml"))


def test_a_folder_with_a_testbed_of_its_own_is_used_as_it_is(repo, tmp_path):
    init(tmp_path / "lab", "--testbed", str(repo))
    code, out, _ = init(tmp_path / "other", "--testbed", "../lab")
    assert code == 0 and [path.name for path in (tmp_path / "other").iterdir()] == ["mendel.toml"]
    with contextlib.chdir(tmp_path / "other"):
        config = read_config(None, {})
    assert Path(config.testbed).resolve() == tmp_path / "lab"
    assert Path(config.ideas).resolve() == tmp_path / "lab" / "ideas.toml"


# --- whatever is given ------------------------------------------------------------------------------------

PIECES = [
    *(line for text in trainers.ARGPARSE.values() for line in text.splitlines(keepends=True)),
    *trainers.NANO_LIKE["train.py"].splitlines(keepends=True),
    *trainers.PACKAGE["tinylab/train.py"].splitlines(keepends=True),
    *trainers.HUGGING["run_clm.py"].splitlines(keepends=True),
    *trainers.LIGHTNING["train.py"].splitlines(keepends=True),
    *(
        'print(f"val loss {x:{w}.{p}f}")\n',
        "x = '''\n",
        "\0",
        "\t",
        "}{",
        "\x0c\n",
        "é = 'ü'; torch.manual_seed(3)\n",
    ),
    *("x = " + "(" * 300 + "1" + ")" * 300 + "\n", "y = " + "-" * 3000 + "1\n", "z = " + "1+" * 3000 + "1\n"),
    *(
        'print("%d %s %%" % (1,))\n',
        'print("{} {0} {a!r:>{b}}".format(1))\n',
        "max_steps = 10**10**10\n",
        "SEED = -0\n",
    ),
    *(
        "torch.manual_seed(0x5)\n",
        "if 1:\n",
        "\r",
        "max_steps: 5\n",
        "- seed: [3\n",
        "[a]\n",
        'lr = "\n',
        '{"seed": 1}\n',
    ),
    *(
        'parser.add_argument("--{steps}", default={"a": 1})\n',
        'parser.add_argument("--max-steps", default="}")\n',
    ),
]
NAMES = [
    *("train.py", "main.py", "model.py", "prepare.py", "program.md", "configurator.py", "lab/__init__.py"),
    *(
        "lab/train.py",
        "lab/__main__.py",
        "src/lab/train.py",
        "config/a.yaml",
        "config/b.toml",
        "config/c.json",
    ),
    *(
        "README.md",
        "pyproject.toml",
        "run.sh",
        "data/train.bin",
        ".gitignore",
        "odd name {x}.py",
        "torchtitan/train.py",
    ),
]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_given_init_says_a_clear_error_or_writes_toml_and_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    root = folder / "repo"
    root.mkdir()
    for name in data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=8)):
        text = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=25)))
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() + data.draw(st.sampled_from([b"", b"", b"\xff\xfe", b"\0\0"])))
    if data.draw(st.booleans()):
        (root / "loop").symlink_to(root)
        (root / "gone.py").symlink_to(root / "nowhere")
    before = trainers.state(root)
    code, _, err = init(folder / "lab", "--testbed", str(root))
    assert code == 2 and err.startswith("mendel: ") and err.count("\n") == 1 or (code, err) == (0, "")
    assert trainers.state(root) == before
    for path in (folder / "lab").iterdir():
        tomllib.loads(path.read_text())
        assert code == 0


def test_large_and_unreadable_files_and_many_are_no_reason_to_fail(tmp_path):
    root = trainers.make(tmp_path / "repo", trainers.ARGPARSE)
    (root / "huge.py").write_text("x = 1\n" * 200_000)
    (root / "noise.py").write_bytes(random.Random(1).randbytes(5000))
    (root / "many").mkdir()
    for number in range(2100):
        (root / "many" / f"f{number}.txt").write_text("x")
    code, out, _ = init(tmp_path / "lab", "--testbed", str(root))
    assert code == 0 and load_testbed(tmp_path / "lab").files == ("net.py", "train.py")
    assert "too many files" in out

"""A tree is what is on disk, named by its content, and never leaves its folder."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.patches import diff, read_tree, write_tree
from mendel.records import Rung, Testbed, tree_hash

from .trees import TREE

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def testbed(root: Path, *files: str) -> Testbed:
    return Testbed(
        name="toy",
        root=str(root),
        folder=str(root),
        python="python",
        command=("train.py",),
        override=(),
        score="score.py",
        files=files,
        editable=files,
        recipes=("gpt2",),
        rungs=(Rung(compute=1.0, timeout=1.0),),
    )


testbed.__test__ = False  # the name begins with "test"


def test_what_is_written_is_read_back_to_the_byte(tmp_path):
    tree = TREE | {"notes.txt": "windows\r\nold mac\rform\x0cfeed, no last newline é"}
    write_tree(tree, tmp_path / "source")
    again = read_tree(testbed(tmp_path / "source", *tree))
    assert again == tree
    assert tree_hash(again) == tree_hash(tree)


def test_the_hash_depends_on_names_and_texts_only():
    assert tree_hash(TREE) == tree_hash(dict(reversed(TREE.items())))
    assert tree_hash(TREE) != tree_hash(TREE | {"optim.py": TREE["optim.py"] + "\n"})
    assert tree_hash({"a.py": "x", "b.py": ""}) != tree_hash({"a.py": "", "b.py": "x"})


def test_a_missing_file_is_named_with_the_key_that_asks_for_it(tmp_path):
    with pytest.raises(ValueError, match=r"testbed.toml: `files` names 'model.py'.*no file .*model.py"):
        read_tree(testbed(tmp_path, "model.py"))


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "model.py").write_bytes(b"x = 1\xff")
    with pytest.raises(ValueError, match=r"model.py is not UTF-8 text.*byte 5"):
        read_tree(testbed(tmp_path, "model.py"))


@pytest.mark.parametrize(
    "path", ["../x.py", "/etc/x.py", "a/../../x.py", "a//b.py", "./a.py", "", ".", "a\\b.py"]
)
def test_a_path_that_could_leave_the_folder_is_neither_read_nor_written(tmp_path, path):
    with pytest.raises(ValueError, match="not allowed"):
        write_tree({path: ""}, tmp_path / "source")
    with pytest.raises(ValueError, match="not allowed"):
        read_tree(testbed(tmp_path, path))


def test_links_that_a_run_left_behind_are_not_written_through(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious.py").write_text("keep")
    (folder / "model.py").symlink_to(outside / "precious.py")
    write_tree({"model.py": "new"}, folder)
    assert (outside / "precious.py").read_text() == "keep"
    assert (folder / "model.py").read_text() == "new"
    (folder / "data").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ValueError, match="leads outside"):
        write_tree({"data/precious.py": "lost"}, folder)
    assert (outside / "precious.py").read_text() == "keep"


def test_equal_trees_have_an_empty_diff():
    assert diff(TREE, dict(reversed(TREE.items()))) == ""


def test_a_diff_shows_changed_files_only():
    changed = TREE | {"optim.py": TREE["optim.py"].replace("0.1", "0.2")}
    text = diff(TREE, changed)
    assert text.startswith("--- a/optim.py\n+++ b/optim.py\n@@ ")
    assert "-    decay = 0.1\n+    decay = 0.2\n" in text
    assert "model.py" not in text


LINES = st.lists(st.sampled_from(["a", "b", "", "\x0c", "c\r"]), min_size=1, max_size=8).map("\n".join)


@pytest.mark.skipif(shutil.which("git") is None, reason="reads the diff with git")
@given(LINES.filter(bool), LINES.filter(bool))
def test_a_diff_applied_by_git_gives_the_other_tree(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("diff")
    write_tree({"f.txt": before}, folder)
    text = diff({"f.txt": before}, {"f.txt": after})
    if text:
        command = ["git", "apply", "--unsafe-paths", "--whitespace=nowarn", f"--directory={folder}", "-"]
        subprocess.run(command, input=text.encode(), cwd="/", check=True)
    assert (folder / "f.txt").read_bytes() == after.encode()


@given(st.dictionaries(st.sampled_from(["a.py", "b/c.py", "d.toml"]), TEXTS))
def test_any_text_survives_the_disk(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("tree")
    write_tree(tree, folder)
    assert {path: (folder / path).read_bytes().decode() for path in tree} == tree

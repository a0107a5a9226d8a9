"""A folder of patches for the red team: ideas files and diffs, honest ones below `honest`."""

import pytest

from mendel.ideas.patchfolder import load_suspects
from mendel.ideas.userfile import IdeasError
from mendel.patches import apply_patch

TREE = {"model.py": "width = 3\ndepth = 2\n", "loop.py": "steps = 5\n"}
IDEA = """
[[idea]]
name = "{name}"
class = "architecture"
hypothesis = "h"
mechanism = "m"
citation = "c"
forecast = {{ mean = 0.1, sd = 0.1 }}
overrides = {{ width = 4 }}
"""
DIFF = """--- a/{path}
+++ b/{path}
@@ -1,2 +1,2 @@
 width = 3
-depth = 2
+depth = 4
"""


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_toml", ".toml").replace("_patch", ".patch")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_honest_patches_are_those_below_the_folder_of_that_name(tmp_path):
    write(tmp_path, honest__odd_toml=IDEA.format(name="odd"), a__deep__cheat_toml=IDEA.format(name="cheat"))
    (tmp_path / "expected.toml").write_text('[cheat]\naudits = ["future", "sums"]\n')
    (tmp_path / "README.md").write_text("# Not an idea")
    found = {one.idea.name: (one.honest, one.expected) for one in load_suspects(tmp_path, TREE)}
    assert found == {"odd": (True, ()), "cheat": (False, ("future", "sums"))}


@pytest.mark.parametrize("path", ["model.py", "mendel/testbeds/gpt/model.py"])
def test_a_diff_is_a_patch_whatever_folders_stand_before_its_paths(tmp_path, path):
    write(tmp_path, deeper_patch=DIFF.format(path=path))
    (suspect,) = load_suspects(tmp_path, TREE)
    assert (suspect.idea.name, suspect.honest) == ("deeper", False)
    after = apply_patch(TREE, suspect.idea.patch, ["model.py"])
    assert after == TREE | {"model.py": "width = 3\ndepth = 4\n"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no patches below it"),
        ({"a_toml": IDEA.format(name="one"), "b_toml": IDEA.format(name="one")}, "'one' occurs twice"),
        ({"a_toml": "name = 1"}, "name: unknown key"),
        ({"a_patch": DIFF.format(path="model.py").replace("width = 3", "width = 9")}, "does not apply"),
        ({"a_patch": "not a diff"}, "does not apply"),
        ({"a_patch": "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"}, "adds new.py"),
        ({"a_toml": IDEA.format(name="one"), "expected_toml": "one = 3"}, "expected.toml"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, files, message):
    write(tmp_path, **files)
    with pytest.raises(IdeasError, match=message):
        load_suspects(tmp_path, TREE)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(IdeasError, match="nowhere: there is no such folder"):
        load_suspects(tmp_path / "nowhere", TREE)

"""A knob's value goes into the one scalar of a configuration file that counts, and not a byte beside it."""

import json

import pytest
import yaml

from mendel.patches.defaults import Ground, with_default

BASE = """\
# Peak é\t
seed: 1
optim:   # how it learns
  name: adamw
  lr:   1.0e-3   # tuned
  eps: 1e-8
  'weight-decay': .1
  steps: 1_000
  nesterov: True
  betas: [0.9, 0.95]
  schedule: {kind: "cosine", end: 'zero', warm: 10}
data:
  path: 'it''s'
  note: >
    learn
  empty:
"""
PATH = "configs/base.yaml"
CODE = "import yaml\nconfig = yaml.safe_load(open('configs/base.yaml'))\nlr = config['optim']['lr']\n"
TREE = {"train.py": CODE, PATH: BASE, "README.md": "optim.lr=1"}
COMMAND = ("train.py", "--config=configs/base.yaml", "--steps={steps}")


def written(key, value, tree=TREE, **ground):
    """The configuration file that changed, or the reason for none."""
    found = with_default(tree, Ground(["train.py"], **ground), key, value)
    if isinstance(found, str):
        return found
    (path,) = [path for path in tree if found[path] != tree[path]] or [PATH]
    return found[path]


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("seed", 2, "seed: 1", "seed: 2"),
        ("optim.lr", 2e-5, "1.0e-3 ", "2.0e-05 "),
        ("optim.lr", 0.002, "1.0e-3 ", "0.002 "),
        ("optim.lr", 3, "1.0e-3 ", "3.0 "),
        ("--optim.lr", 1e16, "1.0e-3 ", "1.0e+16 "),
        ("optim.eps", 1e-6, "1e-8", "1.0e-06"),
        ("optim.weight_decay", 0.2, ": .1", ": 0.2"),
        ("optim.steps", 2000, "1_000", "2000"),
        ("optim.steps", 0.5, "1_000", "0.5"),
        ("optim.nesterov", False, "True", "false"),
        ("optim.name", "muon", "adamw", "muon"),
        ("optim.name", "yes", "adamw", '"yes"'),
        ("optim.name", "1e-3", "adamw", '"1e-3"'),
        ("optim.name", "a: b # c", "adamw", '"a: b # c"'),
        ("optim.name", "C:\\new\nline", "adamw", '"C:\\\\new\\nline"'),
        ("optim.betas.1", 0.99, "0.95", "0.99"),
        ("optim.schedule.kind", "linear", '"cosine"', '"linear"'),
        ("optim.schedule.end", "it's", "'zero'", "'it''s'"),
        ("optim.schedule.warm", 20, "warm: 10}", "warm: 20}"),
        ("data.path", "x, y", "'it''s'", "'x, y'"),
    ],
)
def test_the_one_scalar_is_changed_and_not_a_byte_beside_it(key, value, old, new):
    assert BASE.count(old) == 1
    after = written(key, value)
    assert after == BASE.replace(old, new)
    place = yaml.safe_load(after)
    for part in key.lstrip("-").split("."):
        place = place[int(part)] if part.isdigit() else place[part.replace("weight_decay", "weight-decay")]
    assert place == value and isinstance(place, float if isinstance(value, float) else type(place))


def test_a_value_that_is_there_already_changes_nothing_and_line_ends_stay():
    assert written("optim.lr", 0.001) == BASE
    assert written("optim.eps", 1e-8) == BASE
    windows = TREE | {PATH: "\ufeff" + BASE.replace("\n", "\r\n")}
    assert written("optim.lr", 0.5, windows) == windows[PATH].replace("1.0e-3", "0.5")


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_stays_as_it_is_laid_out(indent):
    said = {"optim": {"lr": 1e-05, "name": 'a\u00e9"', "on": True, "steps": 3}, "lr": 1}
    text = json.dumps(said, indent=indent)
    tree = {"train.py": "open('a.json')", "a.json": text}
    assert written("optim.lr", 2e-05, tree) == text.replace("1e-05", "2.0e-05")
    assert json.loads(written("lr", 2, tree)) == said | {"lr": 2}
    assert json.loads(written("optim.name", "yes\\", tree))["optim"]["name"] == "yes\\"
    assert json.loads(written("optim.on", False, tree))["optim"]["on"] is False
    assert "'3' is of another kind than 3 in a.json:" in written("optim.steps", "3", tree)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("optim.none", 1, "no literal in the source is the default of optim.none"),
        ("lr", 1.0, "no literal in the source is the default of lr"),
        ("optim", 1, "no literal in the source is the default of optim"),
        ("optim.betas", 1, "no literal in the source is the default of optim.betas"),
        ("optim.name", 1, "1 is of another kind than adamw in configs/base.yaml:4"),
        ("optim.lr", "fast\\", "'fast\\' is of another kind than 1.0e-3 in configs/base.yaml:5"),
        ("optim.lr", True, "True is of another kind than 1.0e-3"),
        ("optim.lr", float("inf"), "inf is of another kind"),
        ("optim.nesterov", 0, "0 is of another kind than True"),
        ("data.empty", 1, "1 is of another kind than nothing in configs/base.yaml:16"),
        ("data.note", "x", "configs/base.yaml:14 cannot be changed by itself"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(key, value, reason):
    assert written(key, value).startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        "base: &base {lr: 0.1}\noptim: *base\nmodel: {lr: 0.3}\n",
        "optim: &base\n  lr: 0.1\nmodel:\n  <<: *base\n",
        "optim:\n  lr: &peak 0.1\nlast: *peak\n",
        "optim:\n  lr: &peak 0.1\n",
        "optim:\n  lr: !!float 0.1\n",
        "optim:\n  lr: 0.1\n  lr: 0.2\n",
        "optim:\n  lr: 0.1\n---\noptim:\n  lr: 0.2\n",
        "optim:\n  lr: {{ lr }}\n",
        "optim: [\n  lr: 0.1\n",
        "a: &a [*a]\noptim: &b {lr: 0.1, again: *b}\n",
    ],
)
def test_a_scalar_that_is_tied_to_another_or_in_doubt_is_left(text):
    said = with_default({"train.py": CODE, PATH: text}, Ground(["train.py"]), "optim.lr", 0.2)
    assert isinstance(said, str)
    assert any(one in said for one in ("by itself", "more than one place", "no literal in the source"))


def test_of_several_files_the_one_that_the_command_names_counts():
    tree = TREE | {"configs/large.yaml": "optim:\n  lr: 0.5\n", "old.json": '{"optim": {"lr": 1}}'}
    assert written("optim.lr", 0.2, tree) == (
        "optim.lr is in several files (configs/base.yaml, configs/large.yaml, old.json), and the testbed's "
        "command names none of them"
    )
    assert written("optim.lr", 0.2, tree, words=COMMAND) == BASE.replace("1.0e-3", "0.2")
    assert written("optim.lr", 0.2, tree, words=("train.py", "./configs/large.yaml")) == "optim:\n  lr: 0.2\n"
    for both in ((*COMMAND, "configs/large.yaml"), ("train.py", "configs/{rung:02}.yaml")):
        said = written("optim.lr", 0.2, tree, words=both)
        assert said == (
            "optim.lr gets a value in more than one place (configs/base.yaml:5, configs/large.yaml:2)"
        )
    unread = tree | {"configs/broken.yaml": "optim: {lr: {{ x }}"}
    assert written("optim.lr", 0.2, unread, words=COMMAND) == BASE.replace("1.0e-3", "0.2")
    tree[PATH] = tree[PATH].replace("lr:", "rate:")
    assert written("optim.lr", 0.2, tree, words=COMMAND) == (
        "optim.lr is in configs/large.yaml, old.json, and the testbed's command names configs/base.yaml"
    )


def test_a_file_that_nothing_speaks_of_is_left():
    tree = {"train.py": "pass", "sweeps/x.yaml": "lr: 0.1\n"}
    reason = "lr is in sweeps/x.yaml, which neither the testbed's command nor the code names"
    assert written("lr", 0.2, tree) == reason
    assert written("lr", 0.2, tree, words=("train.py", "--config-name=x")) == "lr: 0.2\n"
    assert written("lr", 0.2, tree | {"train.py": "@main(config_name='x')\ndef f(): pass"}) == "lr: 0.2\n"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("train.py", "lr = 1e-3\n"),
        ("train.py", "config['optim']['lr'] = 0.1\n"),
        ("train.py", "parser.add_argument('--lr', default=0.1)\n"),
        ("model.py", "def f(lr=0.1):\n    pass\n"),
        ("broken.py", "lr = = 1"),
        ("run.sh", "python train.py --override optim.lr=0.1"),
        ("extra.yaml", "optim: {lr: {{ x }}"),
    ],
)
def test_a_second_place_that_gives_a_value_of_its_own_is_ambiguous(path, more):
    tree = TREE | {path: TREE.get(path, "") + more}
    assert "optim.lr gets a value in more than one place (" in written("optim.lr", 0.2, tree)


def test_a_file_need_not_be_editable_and_may_not_be_locked():
    assert written("optim.lr", 0.2, words=COMMAND) == BASE.replace("1.0e-3", "0.2")
    said = written("optim.lr", 0.2, locked={PATH: "is protected"})
    assert said == "optim.lr is in configs/base.yaml, which is protected"

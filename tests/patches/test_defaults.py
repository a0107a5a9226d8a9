"""A knob's value goes into the source where exactly one literal is its default, and nowhere else."""

import ast

import pytest

from mendel.patches.defaults import Ground, find_default, with_default

SOURCE = '''\
import argparse
from dataclasses import dataclass, field

# Peak of the schedule é
learning_rate = 6e-4  # as tuned
name = "adamw"
momentum: float = -0.9


@dataclass(frozen=True)
class Config:
    clip: float = 1
    """learning_rate and clip go together."""
    depth: int = 2
    bias: bool = True
    hidden: float = field(default=3.0)

    def grown(self):
        return Config(clip=self.clip * 2, depth=self.depth)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--warm-up", "-w", type=float, default=0.1, help="share of the run")
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


def main(args):
    warm_up = args.warm_up
    for group in optimizer(lr=learning_rate).groups:
        group["learning_rate"] = learning_rate * 0.5
'''
GROUND = Ground(["train.py"])
TREE = {"train.py": SOURCE, "notes.md": "learning_rate = 1"}


def written(key, value, tree=TREE, editable=("train.py",)):
    """The lines that differ: (before, after); or the reason for none."""
    found = with_default(tree, Ground(editable), key, value)
    if isinstance(found, str):
        return found
    before, after = tree["train.py"].split("\n"), found["train.py"].split("\n")
    assert len(before) == len(after) and {**found, "train.py": ""} == {**tree, "train.py": ""}
    return [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("learning_rate", 1e-3, "6e-4", "0.001"),
        ("learning_rate", 1, "6e-4", "1.0"),
        ("--learning-rate", 2e-5, "6e-4", "2e-05"),
        ("name", "muon", '"adamw"', '"muon"'),
        ("name", 'a"b', '"adamw"', "'a\"b'"),
        ("momentum", -0.5, "-0.9", "-0.5"),
        ("clip", 0.5, "= 1", "= 0.5"),
        ("depth", 3, "2", "3"),
        ("bias", False, "True", "False"),
        ("warm_up", 0.2, "default=0.1", "default=0.2"),
    ],
)
def test_the_one_literal_is_changed_and_not_a_byte_beside_it(key, value, old, new):
    ((before, after),) = written(key, value)
    assert before.replace(old, new, 1) == after
    assert ast.literal_eval(find_default(with_default(TREE, GROUND, key, value), GROUND, key).node) == value


def test_a_value_that_is_there_already_changes_nothing_and_line_ends_stay():
    assert written("learning_rate", 0.0006) == []
    windows = {"train.py": SOURCE.replace("\n", "\r\n") + "last = 1"}
    found = with_default(windows, GROUND, "depth", 3)
    assert found["train.py"] == windows["train.py"].replace("depth: int = 2", "depth: int = 3")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("learning_rate = 1e-3\n", "learning_rate"),
        ("learning_rate = scaled(3)\n", "learning_rate"),
        ("if True:\n    learning_rate = scaled(3)\n", "learning_rate"),
        ("def f():\n    global learning_rate\n    learning_rate = scaled(3)\n", "learning_rate"),
        ("def f(depth=3):\n    pass\n", "depth"),
        ("def f(*, depth=3):\n    pass\n", "depth"),
        ("RECIPES = {'large': Config(depth=12)}\n", "depth"),
        ("RECIPES = {'large': dict(depth=12)}\n", "depth"),
        ("RECIPES = {'large': {'depth': 12}}\n", "depth"),
        ("config.depth = 12\n", "depth"),
        ("settings['depth'] = 12\n", "depth"),
        ("width, depth = 1, 12\n", "depth"),
        ("depth = settings.get('depth', 12)\n", "depth"),
        ("setattr(config, 'depth', 12)\n", "depth"),
        ("depth = args.depth or 12\n", "depth"),
        ("depth = 12 if args.depth is None else args.depth\n", "depth"),
        ("config = Config(depth=6 * scale)\n", "depth"),
        ("class Other:\n    depth: int = 4\n", "depth"),
        ("@dataclass\nclass Other(Config):\n    depth: int = field(default=4)\n", "depth"),
        ("parser.add_argument('--depth', default=3)\n", "depth"),
        ("parser.set_defaults(warm_up=0.3)\n", "warm_up"),
    ],
)
def test_a_second_place_that_gives_a_value_of_its_own_is_ambiguous(more, key):
    assert written(key, 5) != [] and not isinstance(written(key, 5), str)
    assert f"{key} gets a value in more than one place (train.py:" in written(
        key, 5, {"train.py": SOURCE + more}
    )
    elsewhere = written(key, 5, {"train.py": SOURCE, "other.py": more})
    # Names of a module are its own: what another computes for them is no default.
    assert "more than one place" in elsewhere or "scaled" in more


@pytest.mark.parametrize(
    "more",
    [
        "depth = args.depth\n",
        "config = Config(depth=args.depth * 2, clip=None)\n",
        "model = Model(depth=config.depth)\n",
        "parser.add_argument('--depth', type=int, default=None)\n",
        "assert settings['depth'] == 2 and config.depth in (1, 2)\n",
        "def f(depth):\n    return depth\n",
    ],
)
def test_a_value_that_is_passed_on_is_no_second_place(more):
    ((before, after),) = written("depth", 3, {"train.py": SOURCE + more})
    assert (before, after) == ("    depth: int = 2", "    depth: int = 3")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("nothing", 1, "no literal in the source is the default of nothing"),
        ("seed", 1, "no literal in the source is the default of seed"),
        ("hidden", 1, "no literal in the source is the default of hidden"),
        ("model.depth", 3, "no literal in the source is the default of model.depth"),
        ("depth", "deep", "'deep' is of another kind than the default of depth, 2 in train.py:14"),
        ("depth", True, "True is of another kind"),
        ("bias", 1, "1 is of another kind"),
        ("clip", float("inf"), "inf is of another kind"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(key, value, reason):
    assert written(key, value).startswith(reason)


def test_other_files_count():
    assert "config.yaml:2" in written("depth", 3, TREE | {"config.yaml": "width: 3\ndepth: 12\n"})
    assert "run.sh:1" in written("warm_up", 3, TREE | {"run.sh": "train --warm-up 0.3"})
    assert "broken.py:1" in written("depth", 3, TREE | {"broken.py": "depth = = 3"})
    assert written("depth", 3, TREE | {"config.yaml": "depths: 12\n"}) != []
    assert written("depth", 3, editable=()) == "the default of depth is in train.py, which is not editable"

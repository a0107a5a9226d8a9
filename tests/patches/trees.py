"""Small sources and ideas that the tests of this room share."""

from mendel.records import Edit, Forecast, Idea, Patch, Recipe, Scalar, Trunk, tree_hash

MODEL = """\
import math


def activation(x):
    return max(x, 0.0)


def norm(x):
    scale = 1.0
    return scale * x


def forward(x):
    x = norm(x)
    x = activation(x)
    return x


def init(width):
    return 1.0 / math.sqrt(width)
"""
OPTIM = """\
def step(p, g, lr):
    decay = 0.1
    return p - lr * (g + decay * p)
"""
CONFIG = 'lr = 0.001\nname = "gpt2"\n'
READER = "def read():\n    return 'tokens'\n"

TREE = {"model.py": MODEL, "optim.py": OPTIM, "config.toml": CONFIG, "data/reader.py": READER}
EDITABLE = ("model.py", "optim.py", "config.toml")


def base_recipe(tree: dict[str, str] = TREE, **overrides: Scalar) -> Recipe:
    return Recipe(testbed="toy", tree=tree_hash(tree), base="gpt2", overrides=overrides)


def base_trunk(tree: dict[str, str] = TREE, **overrides: Scalar) -> Trunk:
    return Trunk(base=base_recipe(tree, **overrides))


def edit(search: str, replace: str, path: str = "model.py") -> Edit:
    return Edit(path=path, search=search, replace=replace)


def idea(name: str, *edits: Edit, slot: str | None = None, **overrides: Scalar) -> Idea:
    return Idea(
        name=name,
        idea_class="architecture",
        hypothesis="it helps",
        mechanism="it changes something",
        citation="none",
        forecast=Forecast(mean=0.1, sd=0.1),
        patch=Patch(edits=edits, overrides=overrides, slot=slot),
    )

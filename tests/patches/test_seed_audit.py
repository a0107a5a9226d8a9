"""A patch that cuts a random stream from the seed is seen; a lucky constant is found by trying others."""

from __future__ import annotations

import ast

import pytest

from mendel.ideas.blanks import make_blanks
from mendel.patches import apply_patch, audit_seed, mutate, seed_constants
from mendel.records import Patch
from tests.patches.audited import LAYERS, LOG, START, STEP, at_top, audits, before, edit, gpt, violated

INIT = "model.initialise(seed)"
GLOBAL = "torch.manual_seed(seed)"
DRAW = "torch.randn(parameter.shape, generator=generator)"
MODULES = "        for module in self.modules():\n"


def initialised(by: str, *more) -> tuple:
    return (*more, edit("loop.py", INIT, f"model.initialise({by})"))


CUT = {
    "a constant": (before(START, "seed = 7"),),
    "a loop": (before(START, "for seed in (7,):\n    pass"),),
    "in place": (before(START, "seed *= 0"),),
    "initial values": initialised("7"),
    "no initial values": (edit("loop.py", "    model.initialise(seed)\n", ""),),
    "all randomness": (edit("loop.py", GLOBAL, "torch.manual_seed(1337)"),),
    "all randomness unseeded": (edit("loop.py", GLOBAL, "torch.seed()"),),
    "the line is gone": (edit("loop.py", f"    {GLOBAL}  # here", "    # here"),),
    "the reader": (edit("loop.py", "run.reader(config, seed, tokens)", "run.reader(config, 3, tokens)"),),
    "times zero": initialised("seed * 0 + 7"),
    "remainder": initialised("seed % 1"),
    "two values": initialised("seed % 2"),
    "a block of seeds": initialised("seed // 1000"),
    "and": initialised("seed and 7"),
    "min": initialised("min(seed, 0)"),
    "hash": initialised("hash((seed,)) % 1"),
    "if": initialised("7 if seed >= 0 else seed"),
    "item": initialised("(7, seed)[0]"),
    "length": initialised("len((seed,))"),
    "by a name": initialised("own + 5", before(START, "mask = 0\nown = seed & mask")),
    "by a function": initialised("mix(seed)", before("def train(", "def mix(s):\n    return 7\n\n\n")),
    "by a lambda": initialised("(lambda s: 7)(seed)"),
    "parameters moved": (edit("loop.py", "(config, tokens, seed, run)", "(config, tokens, _, run, seed=7)"),),
    "the clock": (at_top("import time"), edit("loop.py", GLOBAL, "torch.manual_seed(seed ^ time.time_ns())")),
    "the clock by a name": (
        at_top("import time"),
        edit("loop.py", GLOBAL, "now = int(time.time())\n    torch.manual_seed(now)"),
    ),
    "every step": (before(STEP, "torch.manual_seed(step)"),),
    "every prediction": (before("        rope = None\n", "torch.manual_seed(0)", "model.py"),),
    "numpy": (before(START, "import numpy as np\nnp.random.seed(4)"),),
    "the default generator": (before(STEP, "torch.default_generator.manual_seed(5)"),),
    "the state": (before(STEP, "torch.set_rng_state(torch.Generator().manual_seed(7).get_state())"),),
    "the name of a stream": (edit("model.py", "/{seed}/", "/7/"),),
    "the name of a stream in arithmetic": (edit("model.py", "/{seed}/", "/{seed % 1}/"),),
    "the generator": (
        edit("model.py", '(int.from_bytes(digest[:8], "little") >> 1)', "(1234)"),
    ),
    "the digest": (before("            generator = torch.Generator()", 'digest = b"lucky123"', "model.py"),),
    "inside": (before("        for name, parameter in self.named_parameters():\n", "seed = 3", "model.py"),),
    "draws without it": (edit("model.py", DRAW, "torch.randn(parameter.shape)"),),
    "fills without it": (
        edit("model.py", f"parameter.copy_({DRAW} * std)", "nn.init.xavier_uniform_(parameter)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("edits", CUT.values(), ids=CUT)
def test_a_stream_cut_from_the_seed_is_seen(edits):
    assert violated(*edits) == {"seed"}


def test_an_override_of_the_seed_is_seen():
    assert violated(seed=7) == {"seed"}
    assert audits(seed=7)["seed"].reason.startswith("overrides:0: `seed = 7` replaces the seed")


def test_a_trainer_that_keeps_its_seed_in_an_attribute_is_understood():
    old = "def main(args):\n    torch.manual_seed(args.seed)\n    model.seed = args.seed\n"

    def passes(new: str) -> bool:
        return audit_seed({"a.py": old}, {"a.py": new}, {}).passed

    assert passes(old + "    print(1)\n")
    assert passes(old.replace("(args.seed)", "(args.seed + 1)"))
    assert not passes(old.replace("(args):\n", "(args):\n    args.seed = 7\n"))
    assert not passes(old.replace("(args.seed)", "(args.seed % 1)"))
    assert not passes(old.replace("(args.seed)", "(7)"))


FOLLOWS = {
    "shifted": initialised("seed + 1000"),
    "mixed": initialised("(seed * 2654435761 + 17) % 2**32"),
    "hashed": (edit("model.py", "hashlib.sha256(f", "hashlib.blake2b(f"),),
    "a new name for it": (
        edit("loop.py", "tokens, seed, run)", "tokens, start, run)"),
        edit("loop.py", INIT, "model.initialise(start)"),
        edit("loop.py", GLOBAL, "torch.manual_seed(start)"),
        edit("loop.py", "(config, seed, tokens)", "(config, start, tokens)"),
    ),
    "by a function": initialised("mix(seed)", before("def train(", "def mix(s):\n    return 3 * s\n\n\n")),
    "a second model": (before("    optimizers =", "twin = GPT(config)\ntwin.initialise(seed + 1)"),),
    "other draws": (edit("model.py", DRAW, "torch.rand(parameter.shape, generator=generator)"),),
    "no draws at all": (edit("model.py", DRAW, "torch.eye(*parameter.shape)"),),
    "noise of its own": (before(STEP, "noise = torch.Generator().manual_seed(1000 * seed + step)"),),
    "asked about": (before(START, "if seed % 2 == 0:\n    print(seed)"),),
    "a constant of its own": (before(LAYERS, "g = torch.Generator().manual_seed(5)", "model.py"),),
    "the name used again": (before(MODULES, "generator = torch.Generator().manual_seed(0)", "model.py"),),
    "put back": (
        before(LOG, "with torch.random.fork_rng():\n    torch.manual_seed(0)\n    torch.rand(3)"),
    ),
    "its own attribute": (before(LAYERS, "self.seed = 3", "model.py"),),
}  # fmt: skip


@pytest.mark.parametrize("edits", FOLLOWS.values(), ids=FOLLOWS)
def test_a_stream_that_still_follows_the_seed_passes(edits):
    assert violated(*edits) == set()


# --- constants -------------------------------------------------------------------------------------------


def patched(*edits):
    testbed, tree = gpt()
    return tree, apply_patch(tree, Patch(edits=edits), testbed.editable)


@pytest.mark.parametrize(
    ("edits", "values"),
    [
        ((before(LAYERS, "g = torch.Generator().manual_seed(1234)", "model.py"),), [1234]),
        ((before(LAYERS, "KEY = 0x10\ng = torch.Generator().manual_seed(KEY)", "model.py"),), [16]),
        ((before(LAYERS, "import numpy as np\nr = np.random.default_rng([5, 6])", "model.py"),), [5, 6]),
        ((before(LAYERS, "import random\nr = random.Random('lucky')", "model.py"),), ["lucky"]),
        (initialised("seed + 41"), []),  # not a stream of its own: initialise hashes it
        ((edit("loop.py", GLOBAL, "torch.manual_seed(seed * 3 + 41)"),), [3, 41]),
        ((edit("model.py", "/{seed}/", "/v2/{seed}/"),), ["f'{self.config.init_stream}/v2/{seed}/{name}'"]),
        ((edit("config.py", "init_stream: int = 0", "init_stream: int = 17"),), [17]),
        ((before(LAYERS, "self.order = 3\nself.streams = 4\nhalf = config.depth // 2", "model.py"),), []),
        ((before(START, "x = torch.manual_seed"),), []),
    ],
)  # fmt: skip
def test_constants_that_start_a_stream_are_listed(edits, values):
    assert [constant.value for constant in seed_constants(*patched(*edits), {})] == values


def test_overrides_that_choose_a_stream_are_listed_and_others_are_not():
    tree = gpt()[1]
    knobs = {"init_stream": 17, "batch": 16, "schedule": "wsd", "noise_seed": 3, "init_std": 0.01}
    listed = seed_constants(tree, tree, knobs)
    assert [constant.construct for constant in listed] == ["init_stream = 17", "noise_seed = 3"]
    changed = mutate(tree, tree, knobs, 1)[1]
    assert {key for key in knobs if knobs[key] != changed[key]} == {"init_stream", "noise_seed"}


def test_a_mutant_differs_in_its_constants_only_and_repeats():
    lines = "é = 3; g = torch.Generator().manual_seed(1234); h = torch.Generator().manual_seed(1234 + é * 0)"
    old, new = patched(before(LAYERS, lines, "model.py"), edit("model.py", "/{seed}/", "/v2/{seed}/"))
    (tree, _), (again, _), (other, _) = (mutate(old, new, {}, number) for number in (1, 1, 2))
    assert tree == again != other
    assert {path for path in new if tree[path] != new[path]} == {"model.py"}
    changed = [
        (was, now)
        for was, now in zip(new["model.py"].split("\n"), tree["model.py"].split("\n"), strict=True)
        if was != now
    ]
    assert len(changed) == 2
    numbers = {
        node.value for node in ast.walk(ast.parse(changed[0][1].strip())) if isinstance(node, ast.Constant)
    }
    assert 1234 not in numbers and len(numbers) == 2  # equal constants stay equal
    assert '/v2/{seed}/{name}" + "/' in changed[1][1]


def test_different_constants_become_different_ones():
    tree, _ = mutate({"a.py": ""}, {"a.py": "g = a.manual_seed(5)\nh = a.manual_seed(6)\n"}, {}, 1)
    first, second = tree["a.py"].splitlines()
    assert first.replace("g", "h", 1) != second


@pytest.mark.parametrize("number", [1, 2])
def test_every_blank_hangs_on_a_constant_and_its_mutants_apply(number):
    testbed, tree = gpt()
    for idea, kind in make_blanks(5, seed=1):
        after = apply_patch(tree, idea.patch, testbed.editable) if idea.patch.edits else tree
        assert len(seed_constants(tree, after, idea.patch.overrides)) == 1, kind
        mutant, knobs = mutate(tree, after, idea.patch.overrides, number)
        assert (mutant, knobs) != (after, idea.patch.overrides)
        ast.parse(mutant["loop.py"] + mutant["model.py"].replace("from __future__ import annotations", ""))


@pytest.mark.parametrize(
    "lines", ["x = 1\r\ng = Generator().manual_seed(\r\n 5)\r\ny = 2", "g = a.manual_seed(5)"]
)
def test_a_mutant_keeps_everything_else_to_the_byte(lines):
    tree, _ = mutate({"a.py": ""}, {"a.py": lines}, {}, 1)
    (number,) = {
        node.value for node in ast.walk(ast.parse(tree["a.py"])) if isinstance(node, ast.Constant)
    } - {1, 2}
    assert tree["a.py"].replace(str(number), "5") == lines

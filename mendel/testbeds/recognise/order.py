"""Whether the order of a trainer's data follows from what its initialisation draws, and what parts the two.

A pair shares initial values and data order, also where a patch makes initialisation draw more numbers than
before: so the generator that batches are drawn from is seeded once more, right before the first batch."""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import constant, dotted, indent, line_once, literal, rows, segment

Edit = dict[str, str]
DRAWS = re.compile(
    r"torch\.randint\(|torch\.randperm\(|np\.random\.\w+\(|(?<![\w.])random\.\w+\(|shuffle\s*=\s*True|"
    r"RandomSampler\("
)
TORCH = r"torch\.rand|shuffle\s*=\s*True|RandomSampler"
OWN = re.compile(r"default_rng|RandomState|random\.Random\(|Generator\(")
FIRST = re.compile(
    r"\bnext\(|\biter\(|get_batch\(|next_batch\(|get_data\(|\.batch\(|sample_batch\(|\bdraw\w*\("
)
MAKES = re.compile(r"batch|data|loader|sample_|__iter__|__getitem__|__next__")
"""Names of functions that make batches."""
DATA = re.compile(r"(^|_)(data\w*|corpus|batch\w*|loader\w*|stream\w*|text)(_|$)")
"""Names of modules of which all functions may make some."""


def seeded_again(repo: Repository, files: list[str]) -> Edit | None:
    """Seeding before the first batch, where batches are drawn from the global generator; None where they are
    not, or where no place for it is found."""
    drawing = [path for path in files if _draws(repo, path, files)]
    if not drawing:
        return None
    for path in files:
        tree, text = repo.tree(path), repo.text(path)
        if tree is None or not re.search(r"\.backward\(", text):
            continue
        for home in (tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))):
            place = _first_batch(home, text)
            search = line_once(text, place) if place else ""
            if search:
                call = _call(repo, drawing[0], home, text, place)
                return {
                    "path": path,
                    "search": search,
                    "replace": f"{call}\n{indent(text, place)}{literal(search)}",
                }
    return None


def follows_initialisation(repo: Repository, entry: str) -> str:
    """The file whose batches come from the generator that has just initialised the model, with no seed
    between; empty where the source does not show that."""
    files = [entry, *repo.imported(entry)]
    drawing = next((path for path in files if _draws(repo, path, files)), "")
    if not drawing or not re.search(TORCH, repo.text(drawing)):
        return ""
    if drawing != entry and re.search(r"torch\.manual_seed\(|set_seed\(|seed_every", repo.text(drawing)):
        return ""
    for path in files:
        tree, text = repo.tree(path), repo.text(path)
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)] if tree else []
        for home in (tree, *functions):
            place = _first_batch(home, text) if home else 0
            models = [one.lineno for one in ast.walk(home) if _is_model(one)] if home and place else []
            if home and models and max(models) < place:
                seeds = [one.lineno for one in ast.walk(home) if isinstance(one, ast.Call) and _seeds(one)]
                return "" if any(line >= max(models) for line in seeds) else drawing
    return ""


def _seeds(call: ast.Call) -> bool:
    return "seed" in (dotted(call.func) or ast.unparse(call.func)).lower()


def _is_model(node: ast.AST) -> TypeGuard[ast.Assign]:
    """Whether a statement makes what it calls a model, from its class."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    target = dotted(node.targets[0]).rpartition(".")[2]
    made = dotted(node.value.func).rpartition(".")[2]
    return target in ("model", "net", "gpt", "lm", "transformer") and made[:1].isupper()


def _draws(repo: Repository, path: str, files: list[str]) -> bool:
    """Whether a file makes batches with a global generator."""
    tree, text = repo.tree(path), repo.text(path)
    all_of_it = bool(DATA.search(path.rpartition("/")[2].removesuffix(".py").lower()))
    for node in ast.walk(tree) if tree else ():
        named = isinstance(node, ast.FunctionDef) and (all_of_it or MAKES.search(node.name))
        loop = isinstance(node, ast.For | ast.While) and _trains(node)
        if named or loop or (isinstance(node, ast.Call) and dotted(node.func).endswith("DataLoader")):
            calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
            if not OWN.search(segment(text, node)) and any(_global(repo, node, one, files) for one in calls):
                return True
    return False


def _global(repo: Repository, within: ast.AST, call: ast.Call, files: list[str]) -> bool:
    """Whether a call draws from a library's own generator: it is given none, or one that may be left out, and
    is where the trainer asks for a batch."""
    given = {one.arg: one.value for one in call.keywords}
    direct = f"{dotted(call.func)}({', '.join(f'{name}={ast.unparse(one)}' for name, one in given.items())})"
    if not DRAWS.search(direct):
        return False
    generator = given.get("generator")
    if generator is None or (isinstance(generator, ast.Constant) and generator.value is None):
        return True
    if not isinstance(within, ast.FunctionDef) or not isinstance(generator, ast.Name):
        return False
    names = [one.arg for one in (*within.args.posonlyargs, *within.args.args)]
    optional = dict(zip(reversed(names), reversed(within.args.defaults), strict=False))
    if generator.id not in optional or not isinstance(optional[generator.id], ast.Constant):
        return False
    return any(
        dotted(one.func).rpartition(".")[2] == within.name
        and len(one.args) <= names.index(generator.id)
        and all(word.arg not in (generator.id, None) for word in one.keywords)
        for path in files
        for loop in _loops(repo.tree(path))
        for one in ast.walk(loop)
        if isinstance(one, ast.Call)
    )


def _loops(tree: ast.AST | None) -> list[ast.AST]:
    """Loops that train."""
    nodes = ast.walk(tree) if tree else ()
    return [one for one in nodes if isinstance(one, ast.For | ast.While) and _trains(one)]


def _first_batch(home: ast.AST, text: str) -> int:
    """Line of the statement that draws the first batch, or else of the loop that trains; 0 without a loop."""
    body: list[ast.stmt] = getattr(home, "body", [])
    for place, node in enumerate(body):
        if isinstance(node, ast.With | ast.Try):
            inside = _first_batch(node, text)
            if inside:
                return inside
        if isinstance(node, ast.If) and "__main__" in (segment(text, node.test)):
            inside = _first_batch(node, text)
            if inside:
                return inside
        if isinstance(node, ast.For | ast.While) and _trains(node):
            model = max((n for n, one in enumerate(body[:place]) if _makes_model(one)), default=-1)
            for one in body[model + 1 : place]:
                here = "".join(rows(text)[one.lineno - 1 : one.end_lineno])
                if not isinstance(one, ast.FunctionDef | ast.ClassDef) and FIRST.search(here):
                    return one.lineno
            return node.lineno
    return 0


def _makes_model(node: ast.stmt) -> bool:
    """Whether a statement makes a model or what trains it: it may draw numbers."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    made = dotted(node.value.func).rpartition(".")[2]
    return bool(made[:1].isupper() or re.search(r"model|optim|compile|init", made))


def _trains(loop: ast.AST) -> bool:
    """Whether a loop goes backward and steps: one over parts of a batch does not step."""
    named = {node.attr for node in ast.walk(loop) if isinstance(node, ast.Attribute)}
    return "backward" in named and bool({"step", "update"} & named)


def _call(repo: Repository, drawing: str, home: ast.AST, text: str, place: int) -> str:
    """The call that seeds again: as the trainer itself does where that stands in the same block."""
    own = repo.text(drawing)
    calls = []
    if re.search(TORCH, own):
        calls.append("torch.manual_seed({seed})")
        calls += _offset(home, place)
        calls = calls[-1:]
    if re.search(r"np\.random\.", own):
        calls.append(
            "np.random.seed({seed})"
            if "import numpy as np" in text
            else "__import__('numpy').random.seed({seed})"
        )
    if re.search(r"(?<![\w.])random\.\w+\(", own):
        calls.append("__import__('random').seed({seed})")
    if calls and calls[0].startswith("torch") and not re.search(r"(?m)^\s*import torch\b", text):
        calls[0] = f"__import__('torch').{calls[0].removeprefix('torch.')}"
    return "; ".join(calls)


def _offset(home: ast.AST, place: int) -> list[str]:
    """The trainer's own seeding before a line, where it adds something such as a rank to the seed."""
    found = []
    for node in ast.walk(home):
        seeds = (
            isinstance(node, ast.Call) and dotted(node.func) == "torch.manual_seed" and node.lineno < place
        )
        argument = node.args[0] if isinstance(node, ast.Call) and seeds and node.args else None
        if isinstance(argument, ast.BinOp) and isinstance(constant(argument.left), int):
            found.append(f"torch.manual_seed({{seed}} + {literal(ast.unparse(argument.right))})")
    return found

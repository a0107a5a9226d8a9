"""The rules of the house, kept by a test: import direction, sizes, imports without work, broad catches.

An exception is one listed line with its reason.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mendel"
MODULES = sorted(PACKAGE.rglob("*.py"))

STAGES = ("ideas", "plans", "patches", "runs", "yardstick", "probes", "verdicts", "knowledge", "report")
SERVICES = {"records", "inputs", "store", "researchers"}
"""What a stage may import besides itself."""
MAY_IMPORT = {
    **dict.fromkeys(STAGES, SERVICES),
    "knowledge": SERVICES | {"verdicts"},  # tests that may be looked at after every run
    "report": SERVICES | {"testbeds"},  # how a run is repeated, its testbed's contract says
    "records.py": set(),
    "inputs.py": set(),
    "store": {"records"},
    "testbeds": {"records", "inputs"},
    "researchers": {"records", "store"},
    # The conformance suites of the rooms' protocols, and whoever answers in place of a model.
    "testing": {"records", "runs", "inputs", "researchers"},
    # "testing": `mendel bench researchers` plays campaigns whose seats are filled by its scripts.
    "campaign": {*STAGES, *SERVICES, "testbeds", "testing"},
    "agents": {*SERVICES, "campaign", "ideas", "patches", "report", "testbeds", "yardstick"},
    "bench": {"records", "inputs", "plans", "verdicts", "ideas"},  # decides by the code of a live campaign
    "terminal.py": {"campaign", "records"},
    "cli.py": {
        *STAGES,
        *SERVICES,
        "testbeds",
        "campaign",
        "terminal",
        "ablate_commands",
        "agents_commands",
        "bench_commands",
        "export_commands",
        "ideas_commands",
        "import_commands",
        "init_commands",
        "knowledge_commands",
        "memory_commands",
        "patterns_commands",
        "recipe_commands",
        "research_commands",
        "testbed_commands",
        "trust_commands",
    },
    "ablate_commands.py": {*SERVICES, "campaign", "recipe_commands", "terminal"},
    "agents_commands.py": {"agents", "campaign", "ideas", "recipe_commands"},
    "bench_commands.py": {"bench", "campaign", "recipe_commands", "records", "report", "terminal"},
    "export_commands.py": {"campaign", "recipe_commands"},
    "ideas_commands.py": {"campaign", "ideas", "recipe_commands"},
    "import_commands.py": {"campaign", "inputs", "knowledge", "recipe_commands"},
    "init_commands.py": {"campaign", "ideas", "recipe_commands", "runs", "testbeds"},
    "knowledge_commands.py": {"campaign", "inputs", "knowledge", "recipe_commands", "report"},
    "memory_commands.py": {
        *("campaign", "ideas", "inputs", "knowledge", "knowledge_commands", "recipe_commands", "records"),
        *("report", "store"),
    },
    "patterns_commands.py": {"knowledge", "knowledge_commands", "recipe_commands", "report"},
    "recipe_commands.py": {*SERVICES, "campaign", "terminal"},
    "research_commands.py": {*SERVICES, "campaign", "recipe_commands", "report"},
    "testbed_commands.py": {"campaign", "recipe_commands", "terminal", "testbeds"},
    "trust_commands.py": {"campaign", "recipe_commands", "terminal"},
    "__init__.py": set(),
    "__main__.py": {"cli"},
}

MAX_LINES = 400
LONG_FILES: dict[str, str] = {"mendel/records.py": "the nouns of the whole lab, read together"}
"""File -> why it is longer."""
MAX_FUNCTION = 60
LONG_FUNCTIONS: dict[str, str] = {}
"""file:function -> why it is longer."""

BROAD_CATCHES = {
    "bench/run.py:_load": "a user's module may fail in any way while it is imported",
    "runs/zygote.py:_preload": "any module may fail in any way while it is imported",
    "runs/zygote.py:_guard": "the guardian's process edge: the zygote reports it as lost",
    "runs/child.py:_execute": "whatever a script raises ends its process",
    "runs/local.py:_work": "the thread's edge: `wait` raises it where somebody listens",
    "runs/local.py:_call": "the edge to the caller's scorer: what it raises becomes the run's status",
}
WORKS_ON_IMPORT = {"mendel.store.migrations.env": "alembic executes this file to migrate"}

HARD_DEPENDENCIES = {
    # distribution -> (module, rooms that may import it)
    "pydantic": (
        "pydantic",
        (
            *("records.py", "inputs.py", "agents", "bench", "campaign", "ideas", "researchers", "testbeds"),
            *("testing", "yardstick"),
        ),
    ),
    "pydantic-ai-slim": ("pydantic_ai", ("researchers", "testing")),
    "genai-prices": ("genai_prices", ("researchers",)),
    "pydantic-settings": ("pydantic_settings", ("campaign",)),
    "SQLAlchemy": ("sqlalchemy", ("store",)),
    "alembic": ("alembic", ("store",)),
    "pyarrow": ("pyarrow", ("bench", "knowledge", "yardstick")),
    "duckdb": ("duckdb", ("knowledge",)),
    "numpy": (
        "numpy",
        (
            "bench",
            "knowledge",
            "patterns_commands.py",
            "plans",
            "probes",
            "report",
            "runs",
            "verdicts",
            "yardstick",
        ),
    ),
    "scipy": ("scipy", ("bench", "knowledge", "plans", "report", "verdicts", "yardstick")),
    "threadpoolctl": ("threadpoolctl", ("knowledge",)),
    "cyclopts": (
        "cyclopts",
        (
            "ablate_commands.py",
            "bench_commands.py",
            "cli.py",
            "import_commands.py",
            "init_commands.py",
            "knowledge_commands.py",
            "memory_commands.py",
            "patterns_commands.py",
            "recipe_commands.py",
            "trust_commands.py",
        ),
    ),
    "rich": (
        "rich",
        (
            "ablate_commands.py",
            "bench_commands.py",
            "cli.py",
            "export_commands.py",
            "ideas_commands.py",
            "import_commands.py",
            "knowledge_commands.py",
            "memory_commands.py",
            "patterns_commands.py",
            "recipe_commands.py",
            "research_commands.py",
            "testbed_commands.py",
            "trust_commands.py",
            "report",
            "terminal.py",
        ),
    ),
    "matplotlib": ("matplotlib", ("report",)),
    "optuna": ("optuna", ("bench", "plans")),
    "PyYAML": ("yaml", ("knowledge", "patches")),
}
THROUGH_OTHERS = {"cmaes": "optuna imports it for its CMA-ES sampler"}
"""Hard dependencies that no module imports -> why they are there."""
EXTRAS = {
    "torch": ("runs",),
    "datasets": ("yardstick",),
    "huggingface_hub": ("yardstick",),
    "tokenizers": ("yardstick",),
    "mcp": ("agents",),
    "mcp_types": ("agents",),
    "uvicorn": ("agents",),
    "anyio": ("agents",),
}
"""Modules that only an extra brings -> rooms that import them where they are used, never at the top."""


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def is_gpt(path: Path) -> bool:
    return path.is_relative_to(PACKAGE / "testbeds" / "gpt")


def imports(path: Path) -> list[str]:
    """Dotted names that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or room(path) == "runs", f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names] if node.level == 0 else []
    return found


def functions(path: Path) -> list[tuple[str, ast.FunctionDef]]:
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(f"{path.relative_to(PACKAGE)}:{node.name}", node) for node in nodes if isinstance(node, kinds)]


# --- the direction of imports ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    names = [name for name in imports(path) if name.split(".")[0] == "mendel"]
    if is_gpt(path):
        assert names == [], "the built-in testbed is reached through its testbed.toml only"
        return
    allowed = MAY_IMPORT[room(path)] | {room(path).removesuffix(".py"), "__version__"}
    for name in names:
        assert name.split(".")[1] in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_nothing_imports_the_built_in_testbed():
    for path in MODULES:
        assert not any(name.startswith("mendel.testbeds.gpt") for name in imports(path)), path


def test_every_room_has_a_rule():
    assert {room(path) for path in MODULES} <= MAY_IMPORT.keys()


def test_a_dependency_is_imported_by_its_rooms_only_and_each_one_is_used():
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        for name in imports(path) if not is_gpt(path) else []:
            rooms.setdefault(name.split(".")[0], set()).add(room(path))
    known = {module: set(allowed) for module, allowed in HARD_DEPENDENCIES.values()}
    known |= {module: set(allowed) for module, allowed in EXTRAS.items()}
    foreign = rooms.keys() - sys.stdlib_module_names - {"mendel"}
    assert foreign == known.keys(), "third-party imports and the list differ"
    for module in foreign:
        assert rooms[module] <= known[module], module


def test_the_hard_dependencies_are_the_listed_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[A-Za-z0-9_-]+", text)[0] for text in project["dependencies"]}
    assert names == HARD_DEPENDENCIES.keys() | THROUGH_OTHERS.keys()
    assert not any(text.startswith("torch") for text in project["dependencies"])


# --- sizes and catches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_file_can_be_read_in_one_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES or str(path.relative_to(ROOT)) in LONG_FILES


def test_a_function_fits_on_a_screen():
    long = {
        name: node.end_lineno - node.lineno + 1
        for path in MODULES
        for name, node in functions(path)
        if node.end_lineno - node.lineno >= MAX_FUNCTION
    }
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_broad_catches_stand_at_the_listed_edges_only():
    found = {name for path in MODULES for name, node in functions(path) if _broad(node)}
    assert found == BROAD_CATCHES.keys()
    for path in MODULES:
        inside = sum(_broad(node) for _, node in functions(path))
        assert _broad(ast.parse(path.read_text())) == inside, f"{path}: a broad catch outside a function"


def _broad(tree: ast.AST) -> int:
    """Number of broad catches that end there."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return sum(_is_broad(handler) and not _raises_again(handler) for handler in handlers)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    named = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in ("Exception", "BaseException") for one in named)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


# --- importing does no work ---------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, os, sys

class Arguments(list):
    def __getitem__(self, place):
        frame = sys._getframe(1)
        if "/mendel/" in frame.f_code.co_filename:
            done.append(f"{frame.f_code.co_filename} reads the command line")
        return super().__getitem__(place)

WORK = {"os.mkdir", "os.rename", "os.remove", "os.fork", "subprocess.Popen", "socket.connect"}
WORK |= {"sqlite3.connect"}
done = []
def by_a_library():
    frame = sys._getframe(1)
    while frame is not None and "matplotlib" not in frame.f_code.co_filename:
        frame = frame.f_back  # matplotlib makes its own cache folder when it is imported
    return frame is not None

def audit(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if (writes or event in WORK) and not by_a_library():
        done.append(f"{event} {args}")

sys.argv = Arguments(["mendel", "--help"])
sys.addaudithook(audit)
heavy = {"torch", "matplotlib", "pyarrow", "duckdb", "sympy", "networkx", "optuna"}
for name in sys.stdin.read().split():
    if name.startswith("mendel.report"):  # drawn with matplotlib, and imported when a report is written
        heavy.discard("matplotlib")
    importlib.import_module(name)
    assert not heavy & sys.modules.keys(), f"{name} imports {heavy & sys.modules.keys()}"
assert not done, done
assert not os.listdir("."), os.listdir(".")
"""


def module_names() -> list[str]:
    names = []
    for path in MODULES:
        if is_gpt(path) or (path.parent.name == "versions"):
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name not in WORKS_ON_IMPORT:
            names.append(name)
    return sorted(names, key=lambda name: name.startswith("mendel.report"))


def python(code: str, folder: Path, text: str = "", *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-B", "-c", code, *arguments]
    return subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, timeout=120)


def test_importing_every_module_reads_no_arguments_writes_nothing_and_loads_nothing_heavy(tmp_path):
    names = module_names()
    assert len(names) > 60
    ran = python(IMPORT_ALL, tmp_path, "\n".join(names))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder
class WithoutTorch(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "torch" else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTorch
from mendel.cli import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--help",), 0, "Proposes, runs and judges"),
        (("ideas", "list"), 0, "qk-norm"),
        (("doctor", "--sandbox", "none"), 0, "sandbox"),
        (("run",), 3, "'torch' is not installed; for the built-in trainer: pip install 'mendel[gpt]'"),
    ],
)
def test_mendel_runs_without_torch(tmp_path, arguments, code, said):
    ran = python(WITHOUT_TORCH, tmp_path, "", *arguments)
    assert ran.returncode == code, ran.stderr
    assert said in " ".join((ran.stdout + ran.stderr).split())
    assert "Traceback" not in ran.stderr

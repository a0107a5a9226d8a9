"""Options on the command line: constants that are set from them, argparse and click, parameters of functions,
fields of records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import assigned, constant, dotted


def _configurator(repo: Repository, files: list[str], found: Knobs) -> None:
    """Arguments `--key=value` that set the constants of the entry: it executes a file that reads them."""
    text = repo.text(files[0])
    executes = re.search(r"exec\(open\(['\"](\S+?)['\"]", text)
    own = "globals()" in text and "sys.argv" in text
    if not executes and not own:
        return
    tree = repo.tree(files[0])
    place = executes.start() if executes else text.index("globals()")
    before = text.count("\n", 0, place) + 1
    for name, node in assigned(tree, before).items() if tree else ():
        value = constant(node)
        if not name.startswith("_") and (value is not None or isinstance(node, ast.IfExp)):
            found.arguments.append(Knob(name, value))
    found.override = ("--{key}={value}",)
    by = executes[1] if executes else "its own loop over sys.argv"
    found.evidence.append(f"{files[0]}: constants that {by} sets from --key=value")


WHOLE = 5
"""Options of the entry, from which on those of the modules that it imports are taken to be their own."""


def _parser(repo: Repository, files: list[str], found: Knobs) -> None:
    """argparse and click."""
    for path in files:
        tree = repo.tree(path)
        if len(found.arguments) >= WHOLE:
            break
        inside = _only_alone(tree) if tree and path != files[0] else set()
        before = len(found.arguments)
        for node in ast.walk(tree) if tree else ():
            options = isinstance(node, ast.Call) and dotted(node.func).endswith((".add_argument", ".option"))
            if isinstance(node, ast.Call) and options and node.lineno not in inside:
                knob = _option(node)
                if knob and all(one.key != knob.key for one in found.arguments):
                    found.arguments.append(knob)
        if len(found.arguments) > before:
            found.override = ("--{key}={value}",)
            found.evidence.append(f"{path}: {len(found.arguments) - before} command-line options")


def _only_alone(tree: ast.Module) -> set[int]:
    """Lines of a module that are for when it is run itself."""
    found: set[int] = set()
    for node in tree.body:
        main = isinstance(node, ast.FunctionDef) and node.name in ("main", "cli", "_main")
        if main or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def _option(node: ast.Call) -> Knob | None:
    names = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    options = [name for name in names if name.startswith("--")]
    if not options:
        return None
    said = {one.arg: one.value for one in node.keywords}
    action = constant(said.get("action"))
    switch = str(action).startswith(("store_", "count")) or constant(said.get("is_flag")) is True
    switch = (
        switch
        or "BooleanOptionalAction" in dotted(said.get("action") or ast.Constant(0))
        or "/" in options[0]
    )
    return Knob(options[0][2:].split("/")[0], constant(said.get("default")), switch=switch)


def _command_functions(repo: Repository, files: list[str], found: Knobs) -> None:
    """typer, fire, jsonargparse and others that make options of a function's parameters."""
    for path in files[:6]:
        tree = repo.tree(path)
        text = repo.text(path)
        call = re.search(r"\b(typer\.run|fire\.Fire|Fire|CLI|auto_cli|defopt\.run)\((\w+)", text)
        decorated = re.search(r"@\w+\.command\(.*\)\s*\n(?:@.*\n)*def (\w+)|@argh?\b", text)
        name = (call and call[2]) or (decorated and decorated[1])
        for node in ast.walk(tree) if tree and name else ():
            if isinstance(node, ast.FunctionDef) and node.name == name:
                dashes = not (call and call[1].endswith(("Fire", "CLI")))
                found.arguments += list(_parameters(node, dashes))
        if found.arguments:
            found.override = ("--{key}={value}",)
            found.evidence.append(f"{path}: options are the parameters of {name}()")
            return


def _parameters(node: ast.FunctionDef, dashes: bool) -> Iterator[Knob]:
    both = node.args.posonlyargs + node.args.args
    given = list(zip(both[len(both) - len(node.args.defaults) :], node.args.defaults, strict=True))
    given += [
        (one, what) for one, what in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if what
    ]
    for argument, default in given:
        if isinstance(default, ast.Call) and default.args:  # typer.Option(10, ...)
            default = default.args[0]
        value = constant(default)
        switch = dashes and isinstance(value, bool)
        yield Knob(argument.arg.replace("_", "-") if dashes else argument.arg, value, switch=switch)


RECORD_READERS = re.compile(
    r"\b(tyro\.cli|HfArgumentParser|simple_parsing|parse_args_into_dataclasses|draccus|chz\.|cyclopts|"
    r"TyroCLI|dcargs|pyrallis|ConfigManager|merge_from_args|OmegaConf\.structured|BaseSettings|"
    r"CliApp|DataclassArgumentParser|ArgumentParser\(\(?\w*(?:Config|Args)|sys\.argv)"
)


def _records(repo: Repository, files: list[str], found: Knobs) -> None:
    """Options made of the fields of dataclasses and pydantic models, nested ones with dots."""
    reads = next((one for path in files for one in RECORD_READERS.finditer(repo.text(path))), None)
    all_text = "\n".join(repo.text(path) for path in files)
    if reads is None or (reads[1] == "sys.argv" and not re.search(r"setattr\(|split\(['\"]=", all_text)):
        return
    records: dict[str, ast.ClassDef] = {}
    for path in files:
        tree = repo.tree(path)
        for node in tree.body if tree else ():
            if isinstance(node, ast.ClassDef) and _is_record(node):
                records.setdefault(node.name, node)
    inner = {_of_class(one.annotation, records) for node in records.values() for one in _fields(node)}
    text = repo.text(files[0])
    tops = [name for name in records if name not in inner and name in text] or [
        n for n in records if n not in inner
    ]
    several = reads[1].startswith(("HfArg", "parse_args", "simple"))
    tops.sort(key=lambda name: -len(_fields(records[name])))
    for name in tops if several else tops[:1]:
        found.arguments += list(_record_knobs(records[name], records, ""))
    if found.arguments:
        omega = reads[1].startswith("OmegaConf")
        found.override = ("{key}={value}",) if omega else ("--{key}={value}",)
        found.evidence.append(
            f"options are the fields of {', '.join(tops if several else tops[:1])} ({reads[1]})"
        )


def _is_record(node: ast.ClassDef) -> bool:
    marks = [dotted(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list]
    bases = [dotted(one) for one in node.bases]
    known = ("BaseModel", "BaseSettings", "NamedTuple", "Record", "Configurable.Config")
    return any("dataclass" in one or one.startswith("chz") for one in marks) or any(
        one.endswith(known) for one in bases
    )


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]


def _of_class(annotation: ast.expr, records: dict[str, ast.ClassDef]) -> str:
    return next(
        (one.id for one in ast.walk(annotation) if isinstance(one, ast.Name) and one.id in records), ""
    )


def _record_knobs(node: ast.ClassDef, records: dict[str, ast.ClassDef], prefix: str) -> Iterator[Knob]:
    if prefix.count(".") > 3:
        return
    for one in _fields(node):
        assert isinstance(one.target, ast.Name)
        key = f"{prefix}{one.target.id}"
        below = _of_class(one.annotation, records)
        if below and below != node.name:
            yield from _record_knobs(records[below], records, f"{key}.")
            continue
        default = one.value
        if isinstance(default, ast.Call):
            said = {word.arg: word.value for word in default.keywords}
            default = said.get("default") or (default.args[0] if default.args else None)
        yield Knob(key, constant(default))


READERS = (_configurator, _parser, _command_functions, _records)
"""In order; the first that finds any is the one."""

"""Arguments that lay single keys over a configuration file: `--override section.key=value`, or `key=value` as
a bare word. Evidence: an option that takes several, and an example or words about it that show KEY=VALUE."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import constant, dotted

PAIR = "{key}={value}"
SHOWS = re.compile(r"[A-Za-z_][\w.\]-]*=[\w.{<]")
BARE = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*=\S*")
NAMES = re.compile(r"-*((config|cfg)[-_])?(overrides?|set|opts?|options|dotlist)$")
SPLITS = re.compile(r"(split|partition)\(\s*['\"]=")


@dataclass(frozen=True)
class Assigning:
    """How a key is given a value."""

    override: tuple[str, ...]
    """Arguments for one key."""
    opening: str = ""
    """Option that stands once and takes all that follow, where it may not be repeated."""
    why: str = ""


def find_assigning(repo: Repository, entry: Entry, files: list[str]) -> Assigning | None:
    """The way that a trainer's parser or its instructions show; None where they show none."""
    splits = any(SPLITS.search(repo.text(path)) for path in files)
    for path in files:
        tree = repo.tree(path)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and dotted(node.func).endswith((".add_argument", ".option")):
                found = _of_option(node, f"{' '.join(entry.arguments)} {repo.readme}", entry, splits)
                if found:
                    return replace(found, why=f"{path}, line {node.lineno}: {found.why}")
    bare = _bare(entry)
    return Assigning((PAIR,), why=f"the instructions give {bare}") if bare and "." in bare else None


def _of_option(node: ast.Call, instructions: str, entry: Entry, splits: bool) -> Assigning | None:
    names = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    said = {one.arg: one.value for one in node.keywords}
    repeated = constant(said.get("action")) in ("append", "extend") or constant(said.get("multiple")) is True
    if not names or not (repeated or constant(said.get("nargs")) in ("*", "+")):
        return None
    flags = [name for name in names if name.startswith("-")]
    given = rf"[ =]['\"]?{BARE.pattern}"
    shown = [one for one in flags if re.search(rf"(?<!\S){re.escape(one)}{given}", instructions)]
    words = ast.unparse(ast.List([one for key in ("metavar", "help") if (one := said.get(key))], ast.Load()))
    named = splits and any(NAMES.match(name) for name in names)
    if not (shown or SHOWS.search(words) or named or (not flags and _bare(entry))):
        return None
    if not flags:
        return Assigning((PAIR,), why=f"{names[0]} takes KEY=VALUE")
    flag = next(iter([*shown, *(one for one in flags if one.startswith("--")), *flags]))
    why = f"{flag} takes KEY=VALUE"
    return Assigning((flag, PAIR), why=why) if repeated else Assigning((PAIR,), flag, why)


def _bare(entry: Entry) -> str:
    """A word `key=value` of the instructions that no option stands before; empty without."""
    before = ("", *entry.arguments)
    pairs = zip(before, entry.arguments, strict=False)
    return next((word for last, word in pairs if BARE.fullmatch(word) and not last.startswith("-")), "")

"""`mendel init`: settings for a campaign, and for a trainer that knows nothing of Mendel a testbed.toml."""

from __future__ import annotations

import json as text_of
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mendel.campaign.config import FILE as CONFIG
from mendel.campaign.config import TEMPLATE, ConfigError
from mendel.ideas.userfile import IdeasError, parse_ideas
from mendel.recipe_commands import Json, print_result
from mendel.runs.cards import cards
from mendel.testbeds import BUILT_IN, TestbedError, load_testbed, parse_testbed
from mendel.testbeds.contract import FILE as TESTBED
from mendel.testbeds.recognise import Machine, Proposal, Repository, UnknownTrainer, propose

IDEAS = "ideas.toml"
CATALOG = 'ideas = "catalog"      #'
"""How the settings name ideas where there is no file of them."""
STEPS_UP = 3
"""Folders up to which the path to a repository is written as a relative one."""


def init(
    *, testbed: str = "gpt", ready: Annotated[str, Parameter(name="--as")] = "", json: Json = False
) -> None:
    """Write mendel.toml into the working folder; for your own trainer, a testbed.toml and ideas.toml too.

    A training repository is looked at, and nothing of it is run or changed.

    Parameters
    ----------
    testbed
        Name of a built-in testbed, a folder with a testbed.toml, or the folder of a training repository.
    ready
        The ready-made testbed.toml to use: nanogpt-char, nanogpt-124m, nanochat, nanochat-cpu, autoresearch.
    """
    folder = Path(testbed)
    if os.path.lexists(folder) and not folder.exists():
        raise ConfigError(f"--testbed: {testbed!r} is a link that leads nowhere")
    if testbed not in BUILT_IN and not folder.exists():
        raise ConfigError(
            f"--testbed: {testbed!r}: there is no such folder ({folder.absolute().resolve()}); give that of "
            f"your trainer, or one with a {TESTBED}, or one of: {', '.join(BUILT_IN)}"
        )
    if testbed in BUILT_IN or not folder.is_dir() or (folder / TESTBED).exists():
        if ready:
            raise ConfigError(f"--as: {testbed!r} has a testbed.toml of its own; leave --as out")
        _settings(testbed, json)
    else:
        _recognised(folder, ready, json)


def _settings(testbed: str, json: bool) -> None:
    """Settings for a testbed that is one already."""
    found = load_testbed(testbed)
    _free(CONFIG)
    text = TEMPLATE.format(testbed=testbed, recipes=", ".join(found.recipes), rungs=len(found.rungs) - 1)
    ideas = "" if testbed in BUILT_IN else _ideas_there(Path(found.folder))
    _write({CONFIG: _with_ideas(text, ideas) if ideas else text})
    left = f", which names {ideas} as it was there" if ideas else ""
    value = {"config": CONFIG, **({"ideas": ideas} if ideas else {})}
    print_result(json, value, f"Wrote {CONFIG}{left}. Next: mendel run --budget 20m")


def _ideas_there(folder: Path) -> str:
    """The file of ideas of the working folder, or else of a testbed's; empty without."""
    beside = Path(_source(folder, Path.cwd().resolve()), IDEAS)
    return next((str(one) for one in (Path(IDEAS), beside) if one.is_file()), "")


def _with_ideas(settings: str, path: str) -> str:
    """Settings that name a file of ideas."""
    assert CATALOG in settings
    named = text_of.dumps(path, ensure_ascii=False)
    return settings.replace(CATALOG, f"ideas = {named}   # a file of ideas;")


def _recognised(folder: Path, ready: str, json: bool) -> None:
    """A proposal for a trainer, with settings and ideas to begin with."""
    root, here = folder.resolve(), Path.cwd().resolve()
    if here == root or root in here.parents:
        above = os.path.relpath(root.parent, here)
        lab = os.path.join(above, "lab")  # noqa: PTH118 - pathlib would drop the leading dots' meaning
        back = os.path.join("..", root.name)  # noqa: PTH118
        raise ConfigError(
            f"init: a lab is kept outside of the trainer's own folder, in which nothing is written. Type: "
            f"mkdir {lab} && cd {lab} && mendel init --testbed {back}"
        )
    _free(TESTBED, CONFIG, IDEAS)
    try:
        proposal = propose(Repository(root, Machine(len(cards()), os.cpu_count() or 1)), ready)
    except UnknownTrainer as error:
        raise TestbedError(str(error)) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    text = proposal.render(_source(root, here))
    wrong, recipes, rungs = "", "base", 1
    try:
        read = parse_testbed(text, here / TESTBED)
        recipes, rungs = ", ".join(read.recipes), len(read.rungs) - 1
    except TestbedError as error:
        wrong = str(error)
    settings = TEMPLATE.format(testbed=".", recipes=recipes, rungs=rungs)
    _write({TESTBED: text, CONFIG: _with_ideas(settings, IDEAS), IDEAS: _ideas(proposal)})
    value = {
        "config": CONFIG, "testbed": TESTBED, "ideas": IDEAS, "recognised": proposal.kind,
        "evidence": proposal.evidence, "missing": proposal.missing, "notes": proposal.notes, "wrong": wrong,
    }  # fmt: skip
    print_result(json, value, _said(proposal, wrong, root))


def _free(*names: str) -> None:
    for name in names:
        if os.path.lexists(name):
            raise ConfigError(f"{name}: it exists already; edit it, or move it away first")


def _write(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        with Path(name).open("x", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)


def _source(root: Path, here: Path) -> str:
    """The path of the repository as a person would write it from the lab."""
    relative = os.path.relpath(root, here)
    return str(root) if relative.count("..") > STEPS_UP else Path(relative).as_posix()


def _ideas(proposal: Proposal) -> str:
    """The starter ideas; as comments where they would not be read."""
    try:
        parse_ideas(proposal.ideas, ".toml", IDEAS)
    except IdeasError:
        proposal.notes.append(f"{IDEAS} has no idea yet: no knob of a known name was found; write one")
        return "".join(f"# {row}".replace("# # ", "# ") for row in proposal.ideas.splitlines(keepends=True))
    return proposal.ideas


def _said(proposal: Proposal, wrong: str, root: Path) -> str:
    """What was recognised and by what, what was not, and what to type next."""
    rows = [f"{root}: {proposal.kind}."]
    rows += [f"  seen: {one}" for one in dict.fromkeys(proposal.evidence) if one]
    rows += [f"  TODO in {TESTBED}: {one}" for one in proposal.missing]
    rows += [f"  note: {one}" for one in proposal.notes]
    rows.append(f"Wrote {TESTBED}, {CONFIG} and {IDEAS}; nothing was written into {root}.")
    if wrong:
        rows.append(f"It needs your hand before it loads: {wrong}")
    rows.append(f"Next: read {TESTBED}, then: mendel testbed check; then: mendel run --budget 20m")
    return "\n".join(rows)

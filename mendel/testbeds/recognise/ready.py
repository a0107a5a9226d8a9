"""The ready-made files in `mendel/testbeds/ready/`, and how one is filled in for a copy of its repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knobs import find_knobs
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.starters import starters

FOLDER = Path(__file__).parent.parent / "ready"
READY = {
    "nanogpt-char": Entry("train.py", ("train.py",), ("config/train_shakespeare_char.py",)),
    "nanogpt-124m": Entry("train.py", ("train.py",), ("config/train_gpt2.py",)),
    "nanochat": Entry("scripts/base_train.py", ("-m", "scripts.base_train")),
    "nanochat-cpu": Entry("scripts/base_train.py", ("-m", "scripts.base_train")),
    "autoresearch": Entry("train.py", ("train.py",)),
}
"""Name of a file -> what it runs."""
WHERE_THERE = re.compile(r"(?m)^# ((?:inputs|python) = .*)$")
"""Lines that hold where what they name is there."""


def filled(repo: Repository, name: str, kind: str) -> Proposal:
    """A ready-made file as a proposal for a repository."""
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")

    example = re.findall(r'(?m)^source = "(.*?)"', text)[0]

    def there(line: re.Match[str]) -> str:
        named = re.findall(r'"([^"]+)"', line[1])
        return line[1] if all(repo.exists(one.removeprefix(f"{example}/")) for one in named) else line[0]

    proposal = Proposal(kind, text=WHERE_THERE.sub(there, text))
    table = tomllib.loads(proposal.text)
    taken = [edit["search"] for edit in table["edits"]]
    proposal.ideas = starters(repo, find_knobs(repo, READY[name]), taken, list(table["editable"]))
    for place in re.findall(r"(?m)^inputs = \[(.*)\]", proposal.text):
        for one in re.findall(r'"([^"]+)"', place):
            if not (Path(one).expanduser().exists() if one.startswith("~") else repo.exists(one)):
                proposal.notes.append(
                    f"inputs: {one} is not there yet: make it as the second line of the file says"
                )
    if "gpus" in text and re.search(r"(?m)^gpus = \d", text):
        wanted = int(re.findall(r"(?m)^gpus = (\d+)", text)[0])
        if wanted > repo.machine.cards:
            proposal.notes.append(
                f"it needs {wanted} card(s), and this machine has {repo.machine.cards or 'none'}"
            )
    return proposal

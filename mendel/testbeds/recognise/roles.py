"""Which files a patch may touch: those that make the model and train it; and what of them stays as it is:
what evaluates, and what prepares data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mendel.testbeds.recognise.configs import CONFIGS
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knobs
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import Said
from mendel.testbeds.recognise.spans import protected_spans

JUDGES = re.compile(r"(^|_)(eval\w*|valid\w*|metrics?|score\w*|bench\w*|test\w*)(_|$)")
DATA = re.compile(r"(^|_)(data\w*|prepare|download|preprocess|tokeni[sz]er?\w*|corpus|batch\w*|loader)(_|$)")
SETTINGS = re.compile(
    r"^(configurator|args|arguments|cli|__init__|__main__|setup|conftest|logging|logger|checkpoint\w*)$"
)
CORE = re.compile(
    r"model|gpt|llama|transformer|optim|attention|layer|block|mlp|loss|sched|train|muon|norm|embed|moe|net"
)
BESIDE = re.compile(
    r"util|log|config|serial|helper|parallel|distrib|sanity|monitor|generat|api|param|spec|dcp|base|common"
)
MOST = 12
"""Editable files that are proposed; a user adds others."""


@dataclass
class Roles:
    """What [editable] and [protected] say."""

    editable: list[str] = field(default_factory=list)
    protected: list[str | dict[str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    """Lines that should be protected, and that no text which occurs once can name."""
    why: str = ""


def find_roles(repo: Repository, entry: Entry, knobs: Knobs, metric: Said | None) -> Roles:
    """The files that a run imports, by their names and by what they hold."""
    found = Roles()
    for path in (entry.path, *repo.imported(entry.path)):
        stem = path.rpartition("/")[2].removesuffix(".py").lower()
        own = path == entry.path
        if own or not (
            _reads_data(repo.text(path)) or JUDGES.search(stem) or DATA.search(stem) or SETTINGS.match(stem)
        ):
            if own or (_makes_model(repo.text(path)) and not (BESIDE.search(stem) and not CORE.search(stem))):
                found.editable.append(path)
        elif stem != "__init__":
            found.protected.append(path)
    if (
        any(path.endswith("configurator.py") for path in repo.files)
        and "configurator.py" not in found.protected
    ):
        found.protected += ["configurator.py"] if repo.has("configurator.py") else []
    found.editable = _nearest(found.editable)
    configs = [one.path for one in knobs.constants if one.path.endswith(CONFIGS)]
    found.editable += list(dict.fromkeys(configs))  # its knobs are changed there
    for path in found.editable:
        spans, open_ = protected_spans(repo, path, metric)
        found.protected += spans
        found.open += open_
    found.why = "files of the model and its training may be patched; what evaluates and reads data may not"
    return found


def _nearest(paths: list[str]) -> list[str]:
    """The entry and the files that most surely are of a model or its training; of too many, the first."""
    ranked = sorted(paths[1:], key=lambda path: not CORE.search(path.rpartition("/")[2].lower()))
    kept = {*paths[:1], *ranked[: MOST - 1]}
    return [path for path in paths if path in kept]


def _makes_model(text: str) -> bool:
    """Whether a file has a part of a model, an optimiser, a schedule or a training loop."""
    return bool(
        re.search(
            r"nn\.Module|Optimizer\b|\.backward\(|LambdaLR|get_lr|lr_sched|flax|nnx\.|equinox|nn\.Linear|LightningModule",
            text,
        )
        or re.search(r"\bdef (forward|attention|\w*norm|\w*init\w*weights?|train\w*)\b", text)
    )


def _reads_data(text: str) -> bool:
    """Whether a file makes data sets and no part of a model."""
    makes = re.search(
        r"\((\w+\.)*(Iterable)?Dataset\)|memmap\(|DataLoader\(|load_dataset\(|IterableDataset", text
    )
    return bool(makes) and not re.search(r"nn\.Module|\.backward\(|LightningModule\)", text)

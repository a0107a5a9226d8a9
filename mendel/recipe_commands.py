"""The commands about one recipe rather than a campaign: probe, ladder, sample. cli.py gives them their names.

Also what these commands share with the others.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from mendel.campaign.config import ConfigError, read_config, read_rungs, read_settings
from mendel.campaign.progress import Progress
from mendel.campaign.summary import SCHEMA
from mendel.store import Store
from mendel.terminal import print_stream, show_ladder, show_skills, watching

Json = Annotated[
    bool, Parameter(name="--json", help="Print one JSON object on standard output, nothing else.")
]
Unsafe = Annotated[
    bool,
    Parameter(
        name="--unsafe-no-sandbox",
        help="Run patch code without any sandbox: it can then reach this machine's files and network.",
    ),
]


def sandbox_of(unsafe: bool) -> dict[str, Any]:
    """The setting behind `--unsafe-no-sandbox`."""
    return {"sandbox": "none"} if unsafe else {}


def probe(
    *, recipe: str | None = None, rung: int = 0, seeds: int = 4, unsafe: Unsafe = False, json: Json = False
) -> None:
    """Train a recipe with a few seeds and say which skills it has: copying, recall, brackets, arithmetic, ...

    Parameters
    ----------
    recipe
        Base recipe; text and testbed are those of mendel.toml.
    seeds
        Runs; at least 2, for their spread.
    """
    from mendel.campaign.probing import probe_recipe

    given: dict[str, Any] = {"rungs": [rung]} | ({"recipe": recipe} if recipe else {})
    config = read_config(None, given | sandbox_of(unsafe))
    progress = Progress()
    with watching(progress, Console(stderr=True), quiet=json):
        found = probe_recipe(config, seeds, read_settings(), progress)
    print_json(found) if json else show_skills(Console(), found)


def ladder(
    *, recipe: str | None = None, rungs: str | None = None, predict: int | None = None, seeds: int = 4,
    no_top: bool = False, testbed: str | None = None, data: str | None = None, workers: int | None = None,
    unsafe: Unsafe = False, json: Json = False,
) -> None:  # fmt: skip
    """Predict the loss of a dear rung from the cheap ones, then train it and see.

    Parameters
    ----------
    recipe
        Base recipe of the testbed; its first by default.
    rungs
        Rungs to measure, such as 0-2; by default all below the predicted one.
    predict
        Rung to predict; by default the one above `rungs`, or the testbed's highest.
    seeds
        Runs at the highest measured rung; each rung below gets twice as many, the predicted one half.
    no_top
        Predict only; do not train the predicted rung.
    """
    from mendel.campaign.ladder import ask, climb

    given = {"recipe": recipe, "testbed": testbed, "data": data, "workers": workers}
    changes = {key: value for key, value in given.items() if value is not None}
    config = read_config(None, changes | sandbox_of(unsafe))
    question = ask(config.testbed, None if rungs is None else read_rungs(rungs), predict, seeds, not no_top)
    progress, console = Progress(), Console(stderr=True)
    with watching(progress, console, quiet=json):
        found = climb(config, question, read_settings(), progress)
    if json:
        print_json(found)
    else:
        show_ladder(Console(), found)


def sample(
    run: str | None = None, /, *, checkpoint: Path | None = None, campaign: str | None = None,
    prompt: str = "", tokens: int = 256, temperature: float = 0.8, top_k: int = 0, seed: int = 1,
    unsafe: Unsafe = False,
) -> None:  # fmt: skip
    """Print text from a checkpoint as it is made: of a run (by default the last that kept its weights).

    Parameters
    ----------
    checkpoint
        A folder with model.safetensors, instead of a run.
    temperature
        0 takes the most probable token.
    top_k
        Draw from so many tokens only; 0 from all.
    """
    from mendel.campaign.sampling import of_folder, of_run, stream

    if checkpoint:
        source = of_folder(checkpoint)
    else:
        with open_store() as store:
            source = of_run(store, store.campaign(campaign), run)
    options = {"prompt": prompt, "tokens": tokens, "temperature": temperature, "top-k": top_k, "seed": seed}
    sandbox = "none" if unsafe else "auto"
    print_stream(stream(source, options, sandbox, lambda line: print(f"mendel: {line}", file=sys.stderr)))


def open_store() -> Store:
    """The lab of this folder. ConfigError when there is none yet."""
    settings = read_settings()
    if settings.database_url is None and not (settings.root / "mendel.db").is_file():
        raise ConfigError(f"{settings.root}: no lab here yet; begin with `mendel demo` or `mendel run`")
    return Store(settings.root, settings.database_url, settings.database_timeout)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **value}, indent=2, default=str) + "\n")


def print_result(as_json: bool, value: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(value)
    else:
        Console().print(text, soft_wrap=True, highlight=False, markup=False)

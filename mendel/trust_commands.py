"""The commands about trust: what an instrument that can be fooled would let through. cli.py names them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mendel.campaign.config import read_config, read_settings
from mendel.campaign.progress import Progress
from mendel.recipe_commands import Json, Unsafe, print_json, sandbox_of
from mendel.terminal import show_redteam, watching


def redteam(
    *, patches: Path | None = None, full: bool = False, workers: int | None = None, unsafe: Unsafe = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Try to fool the lab with patches that cheat, and see that honest ones pass. Exit code 1 if it fails.

    Parameters
    ----------
    patches
        A folder of .toml, .md, .patch or .diff files: those below `honest` should pass, all others not.
        Default: the project's own cheats, its odd but honest patches, and the catalog.
    full
        Runs with all of a rung's compute; default a quarter of it.
    workers
        Runs at a time; default one per core.
    """
    from mendel.campaign.redteam import judge_patches

    config = read_config(None, ({} if workers is None else {"workers": workers}) | sandbox_of(unsafe))
    progress = Progress()
    with watching(progress, Console(stderr=True), quiet=json):
        found = judge_patches(config, patches, full, read_settings(), progress)
    print_json(found) if json else show_redteam(Console(), found)
    if found["cheats"]["stopped"] < found["cheats"]["tried"] or found["honest"]["stopped"]:
        raise SystemExit(1)

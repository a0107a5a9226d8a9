"""`mendel sample`: text from a checkpoint, by the code that trained it.

A checkpoint means nothing without its recipe's model code, and that code may be a patch: so the testbed's
`sample.py` runs as a job of the executor, in the sandbox of a run, and what it prints is untrusted text.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.config import ConfigError
from mendel.campaign.lab import LabError
from mendel.records import RunStatus, Testbed
from mendel.report.text import clean
from mendel.runs import LOG, Job, executor_class
from mendel.store import Campaign, RunState, Store, StoreError
from mendel.testbeds import load_testbed
from mendel.yardstick import CorpusError, sealed_paths

SCRIPT = "sample.py"
WEIGHTS = "*.safetensors"
_HOURS = 24 * 3600.0
_PAUSE = 0.02
"""Seconds between two looks at what was written."""


@dataclass(frozen=True)
class Source:
    """A folder with weights, the code that made them, and the testbed whose interpreter runs it."""

    checkpoint: Path
    code: Path
    testbed: Testbed


def of_folder(folder: Path) -> Source:
    """The checkpoint in `folder`: with the source beside it if a lab's run left it, else of the built-in
    trainer. ConfigError: there are no weights."""
    if next(folder.rglob(WEIGHTS), None) is None:
        raise ConfigError(f"{folder}: no weights here; give a folder that holds a model.safetensors")
    testbed = load_testbed("gpt")
    beside = folder.parent / "source"
    return Source(folder, beside if (beside / SCRIPT).is_file() else Path(testbed.root), testbed)


def of_run(store: Store, campaign: Campaign, run: str | None) -> Source:
    """The checkpoint of the run whose id begins with `run`, or of the last one that still has its weights.

    StoreError: no run or several begin so. ConfigError: its weights are gone, or its testbed has no
    sample.py."""
    ids = [entry.id for entry in store.runs(campaign.id, RunState.FINISHED)]
    hits = [id for id in ids if id.startswith(run or "")]
    if run and len(hits) != 1:
        found = f"several do: {', '.join(hits[:8])}" if hits else "none does"
        raise StoreError(f"run {clean(run, 80)!r}: one finished run must have an id that begins so; {found}")
    folders = {id: store.run_folder(campaign.id, id) for id in hits}
    kept = [id for id, folder in folders.items() if next(folder.out.rglob(WEIGHTS), None) is not None]
    if not kept:
        what = f"run {hits[0]}" if run else f"campaign {campaign.id}"
        raise ConfigError(
            f"{what}: no weights are left; those of the last check of the trunk stay, and `mendel show RUN` "
            "prints the command that trains a run again"
        )
    folder = folders[kept[-1]]
    testbed = load_testbed(campaign.testbed)
    if not (folder.source / SCRIPT).is_file():
        raise ConfigError(f"{folder.source}: no {SCRIPT} here; testbed {testbed.name} cannot sample")
    return Source(folder.out, folder.source, testbed)


def stream(
    source: Source, options: dict[str, Any], sandbox: str, warn: Callable[[str], None]
) -> Iterator[str]:
    """What `sample.py` writes, as it writes it. `options` are its own, without the dashes; `warn` is told
    what the sandbox does not keep from it. ConfigError: a number below 0. LabError: it failed."""
    for name in ("tokens", "temperature", "top-k"):
        if options[name] < 0:
            raise ConfigError(f"command line: {name}: {options[name]} is too small; allowed are 0 and more")
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with (
        tempfile.TemporaryDirectory(prefix="mendel-sample-") as folder,
        _executor(source, sandbox) as executor,
    ):
        if executor.sandbox.warning:
            warn(executor.sandbox.warning)
        out = Path(folder)
        executor.submit(
            Job(
                id="sample",
                source=source.code,
                argv=(SCRIPT, str(source.checkpoint.absolute()), *arguments),
                out=out,
                timeout=_HOURS,
                memory=source.testbed.memory,
                readable=(source.checkpoint,),
            )
        )
        yield from _follow(executor, out / LOG)


@contextmanager
def _executor(source: Source, sandbox: str) -> Iterator[Any]:
    testbed = source.testbed
    try:
        hidden = sealed_paths(testbed.python)
    except CorpusError:  # the default corpus is not installed, so no run is scored on it
        hidden = ()
    executor = executor_class("local")(testbed.python, testbed.preload, 1, sandbox=sandbox, hidden=hidden)
    try:
        yield executor
    finally:
        executor.close()


def _follow(executor: Any, log: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    descriptor = -1
    done = None
    try:
        while done is None:
            done = next(iter(executor.wait(_PAUSE)), None)
            if descriptor == -1 and log.exists():
                descriptor = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            while descriptor != -1 and (data := os.read(descriptor, 1 << 16)):
                yield clean(decoder.decode(data))
    finally:
        if descriptor != -1:
            os.close(descriptor)
    result = done[1]
    if result.status is not RunStatus.DONE:
        raise LabError(f"{SCRIPT}: {result.status.value}: {clean(result.reason, 500)}")

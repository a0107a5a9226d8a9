"""Why a run of a check failed, for whoever wrote the `testbed.toml`: which key it is, and what to write."""

from __future__ import annotations

import re
from pathlib import Path

from mendel.campaign import testbed_hints as hints
from mendel.campaign.testbed_seen import Point, Seen, wrong
from mendel.records import RunResult, RunStatus, Testbed
from mendel.runs import LOG
from mendel.yardstick import NoMetric, read_metric

_WALLS = re.compile(r"Read-only file system|Permission denied|PermissionError", re.I)
_NETWORK = re.compile(
    r"getaddrinfo|Name or service|Network is unreachable|ConnectionError|URLError|resolve", re.I
)


def failure(seen: Seen, name: str, what: str, rung: int, result: RunResult, out: Path) -> Point:
    """A run that did not end well; `what` begins the sentence: "the smoke run"."""
    testbed, shown = seen.testbed, hints.last_lines(out)
    numbers = {
        "status": result.status.value,
        "reason": result.reason,
        "last_lines": shown,
        "log": str(out / LOG),
    }
    if result.status is RunStatus.TIMED_OUT:
        limit = testbed.rungs[0 if name == "smoke" else rung].timeout
        return wrong(
            name,
            f"{what} was ended: {result.reason} (timeout = {limit:g})",
            _timed_out(seen, name, rung),
            **numbers,
        )
    if result.status is RunStatus.OUT_OF_MEMORY:
        change = (
            f"memory: {testbed.memory:.3g} bytes are too few for a run; raise it, for example memory = "
            f"{2 * testbed.memory:.2g}, or make the rung smaller"
        )
        return wrong(name, f"{what} ran out of memory: {result.reason}", change, **numbers)
    if result.status is RunStatus.DIVERGED:
        change = f"make the recipe stable at rung {rung} (learning rate, warm-up), or look at {out / LOG}"
        return wrong(name, f"{what} diverged: {result.reason}", change, **numbers)
    missing = _no_metric(testbed, result, out)
    if missing:
        return _metric(seen, name, what, missing, out)
    last = f"; its last line: {shown[-1]}" if shown and shown[-1] not in result.reason else ""
    change = _crashed(testbed, result, shown, out)
    if name == "smoke":
        change += f"; if only so short a run fails, raise `smoke` ({seen.smoke_budget} now)"
    return wrong(name, f"{what} failed: {result.status}, {result.reason}{last}", change, **numbers)


def _timed_out(seen: Seen, name: str, rung: int) -> str:
    number = 0 if name == "smoke" else rung
    budget = seen.smoke_budget if name == "smoke" else seen.budgets.get(1.0, 0)
    told = hints.where_said(seen.testbed, seen.placeholder.strip("{}"))
    return (
        f"rungs.{number}.timeout: raise it to about three times what a run takes on this machine; or the run "
        f"does not end because it ignores {seen.placeholder} = {budget} ({told})"
    )


def _crashed(testbed: Testbed, result: RunResult, shown: list[str], out: Path) -> str:
    text = " ".join([result.reason, *shown])
    if module := re.search(r"No module named '?([\w.]+)", text):
        return (
            f"python: {testbed.python} does not have {module[1]}, or `files` does not hold it; install it "
            "there, or name an interpreter that has it (python, or requirements)"
        )
    if _WALLS.search(text):
        return "a run may write {out} and its temporary folder only: pass {out} on, in command or edits"
    if _NETWORK.search(text):
        return "runs have no network: fetch what they need once, in [prepare], or name it in inputs"
    if re.search(r"FileNotFoundError|No such file", text):
        return "name the files that it reads in `files` (source), `inputs` (data), or make them in [prepare]"
    if re.search(r"unrecognized arguments|unrecognised|no such option|invalid choice|usage:", text, re.I):
        return f"command: the script does not take these arguments: {' '.join(testbed.command)}"
    return f"mend what is said at the end of {out / LOG}"


def _no_metric(testbed: Testbed, result: RunResult, out: Path) -> str:
    """Why the loss of a run that ended well was not found; empty where that is not what failed it."""
    if testbed.metric is None or result.status is not RunStatus.CRASHED:
        return ""
    try:
        read_metric(testbed.metric, out, out / LOG)
    except NoMetric as error:
        return str(error) if str(error) == result.reason else ""
    return ""


def _metric(seen: Seen, name: str, what: str, missing: str, out: Path) -> Point:
    metric = seen.testbed.metric
    assert metric is not None
    shown, guess = hints.last_lines(out), hints.loss_like(out)
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.json*") if path.is_file())[:8]
    numbers = {"last_lines": shown, "log": str(out / LOG), "written": written}
    if guess:
        found = f"'{guess.pattern}' matches ({guess.value})"
        change = f"metric.pattern: it printed `{guess.line.strip()}`, which {found}"
        numbers |= {"pattern": guess.pattern, "value": guess.value}
    elif metric.file:
        change = f"metric.file, metric.key: it wrote {', '.join(written) or 'no JSON file'} below {{out}}"
    else:
        change = "metric.pattern: nothing that it printed looks like a loss; have it print one at its end"
    if name == "smoke":
        change += (
            f"; a short run, here of {seen.smoke_budget} {seen.testbed.budget.words}, must report it too"
        )
    last = f"; its last line: {shown[-1]}" if shown else "; it printed nothing"
    return wrong(
        "metric", f"{what} ended well and its loss was not found: {missing}{last}", change, **numbers
    )

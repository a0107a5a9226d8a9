"""A campaign killed at random moments and started again, against an undisturbed one of the same seed.

    python benchmarks/kill_resume.py --kills 10 --budget 120runs --seed 1 --json

Both are `mendel run` on the built-in trainer, each in a temporary folder of its own. The killed one gets
SIGKILL at random moments, spread over about the time that the undisturbed one took. Prints what came of it;
the exit code is 1 where verdicts, findings or states differ, a finished run was touched again, or a process
was left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mendel.runs.sandbox.none import below
from mendel.store import RunState, Store, StoreError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--budget", default="120runs", help="in runs: only then do campaigns repeat")
    parser.add_argument("--seed", type=int, default=1, help="of the campaign and of the moments")
    parser.add_argument("--testbed", default="gpt")
    parser.add_argument("--data", default="default")
    parser.add_argument("--ideas", default="catalog")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_args()
    command = [sys.executable, "-c", "from mendel.cli import main; main()", "run", "--json"]
    for name in ("budget", "seed", "testbed", "data", "ideas"):
        command += [f"--{name}", str(getattr(args, name))]
    with tempfile.TemporaryDirectory(prefix="mendel-kill-") as folder:
        calm, killed = Path(folder, "calm"), Path(folder, "killed")
        began = time.monotonic()
        if finish(start(command, calm)):
            return 1
        seconds = time.monotonic() - began
        disturbed = disturb(command, killed, args.kills, seconds, random.Random(args.seed))
        found = {"undisturbed_seconds": round(seconds, 1), **disturbed, **compare(calm, killed)}
    if args.json:
        print(json.dumps({"schema": 1, "command": " ".join(sys.argv), **found}, indent=2))
    else:
        for key, value in found.items():
            print(f"{key:>24}  {value}")
    failures = found["exit_code"] or found["touched_again"] or found["left_behind"]
    return 0 if found["same"] and not failures else 1


def start(command: list[str], root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "MENDEL_ROOT": str(root)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for a campaign's end; its exit code, with what it said where that is not 0."""
    _, said = process.communicate()
    if process.returncode:
        print(said, file=sys.stderr)
    return process.returncode


def disturb(command: list[str], root: Path, kills: int, seconds: float, draw: random.Random) -> dict:
    """Kill the campaign `kills` times, each time after about its share of the whole, then let it end."""
    done, touched, left = 0, 0, 0
    before: dict[str, tuple] = {}
    began = time.monotonic()
    while True:
        process = start(command, root)
        if done == kills:
            code = finish(process)
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=draw.uniform(1.0, 2.5 + 2 * seconds / (kills + 1)))
            code = process.returncode  # it came to its end before it was killed
            break
        family = below(process.pid)
        process.kill()
        process.communicate()
        done += 1
        left += still_there(family)
        now = finished(root)
        touched += sum(now.get(run) != facts for run, facts in before.items())
        before = now
    touched += sum(finished(root).get(run) != facts for run, facts in before.items())
    return {
        "kills": done,
        "exit_code": code,
        "killed_seconds": round(time.monotonic() - began, 1),
        "touched_again": touched,
        "left_behind": left,
    }


def finished(root: Path) -> dict[str, tuple]:
    """Of each finished run what may never change: its result and when it was got."""
    with contextlib.suppress(StoreError), Store(root) as store:
        runs = store.runs(store.campaign().id, RunState.FINISHED)
        return {run.id: (run.result, run.started, run.finished, run.attempts) for run in runs}
    return {}


def compare(calm: Path, killed: Path) -> dict:
    """Verdicts, findings (but for clocked numbers) and states of both campaigns, side by side."""
    seen = []
    for root in (calm, killed):
        with Store(root) as store:
            campaign = store.campaign().id
            seen.append(
                {
                    "runs": [run.id for run in store.runs(campaign, RunState.FINISHED)],
                    "verdicts": [v.model_dump(mode="json") for v in store.verdicts(campaign)],
                    "findings": [
                        f.model_dump(mode="json", exclude={"cpu_ratio"}) for f in store.findings(campaign)
                    ],
                    "states": [(e.idea.name, e.state.value, e.note) for e in store.ideas(campaign)],
                    "lost_attempts": sum(run.attempts for run in store.runs(campaign)),
                }
            )
    one, other = seen
    kinds = ("runs", "verdicts", "findings", "states")
    return {
        "same": all(one[kind] == other[kind] for kind in kinds),
        **{f"same_{kind}": one[kind] == other[kind] for kind in kinds},
        **{kind: len(one[kind]) for kind in kinds},
        "attempts_lost_to_kills": other["lost_attempts"],
        "runs_finished_twice": len(other["runs"]) - len(set(other["runs"])),
    }


def still_there(pids: list[int], seconds: float = 5.0) -> int:
    """How many of the processes still run after a grace of `seconds`."""
    deadline = time.monotonic() + seconds
    while (alive := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(alive)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    sys.exit(main())

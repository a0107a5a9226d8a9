"""Testbeds whose trainers are a few lines of numpy, and what a check of one keeps."""

from mendel.campaign.testbed_check import FOLDER
from mendel.store import RunState, Store, StoreError

TRAIN = """\
import argparse
import os
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)
parser.add_argument("--seed", type=int)
args = parser.parse_args()
steps, extra = args.steps, 0.0
rng = np.random.default_rng(args.seed)
end = time.process_time() + steps * 5e-4  # as if a step took so long
while time.process_time() < end:
    pass
loss = 1 + 2 * (steps / 100) ** -0.3 + 0.02 * rng.standard_normal() + extra
print("a line of its own")
print(f"step {steps}: train loss {loss - 0.1:.6f}, val loss {loss:.6f}")
"""
TOML = """\
name = "tiny"
command = ["train.py", "--steps={steps}", "--seed={seed}"]
budget = "steps"
preload = ["numpy"]
files = ["train.py", "data.py"]
editable = ["train.py"]
memory = 4e8
rungs = [{ steps = 200, timeout = 20 }, { steps = 800, timeout = 20 }]
metric = { pattern = 'val loss ([\\d.]+)', unit = "nats per token" }
"""
TIMED = """\
import time
import numpy as np

TIME_BUDGET = 300
SEED = 1
noise = np.random.default_rng(SEED).standard_normal()
end, steps = time.monotonic() + TIME_BUDGET, 0
while time.monotonic() < end:
    time.sleep(0.01)
    steps += 1
print(f"val_bpb:   {1 + steps ** -0.3 + 0.002 * noise:.6f}")
"""
TIMED_TOML = """\
name = "timed"
command = ["train.py"]
budget = "seconds"
preload = ["numpy"]
files = ["train.py"]
editable = ["train.py"]
edits = [
    { path = "train.py", search = "TIME_BUDGET = 300", replace = "TIME_BUDGET = {seconds}" },
    { path = "train.py", search = "SEED = 1", replace = "SEED = {seed}" },
]
memory = 4e8
rungs = [{ seconds = 1, timeout = 20 }, { seconds = 2, timeout = 20 }]
metric = { pattern = 'val_bpb: +([\\d.]+)', unit = "bits per byte" }
"""


def runs(root):
    """(Entry, run) -> when it finished, of everything that is kept."""
    try:
        with Store(root / FOLDER) as store:
            entries = [entry.id for entry in store.campaigns()]
            return {(e, r.id): r.finished for e in entries for r in store.runs(e, RunState.FINISHED)}
    except StoreError:
        return {}

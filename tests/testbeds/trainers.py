"""Small training repositories of each shape, written for the tests: those that can run need no library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mendel.campaign.ground import edited
from mendel.patches import read_tree, write_tree
from mendel.yardstick.metric import read_metric

LOOP = '''
def evaluate(weight):
    """Mean squared distance, on data that no patch may choose."""
    return sum((weight - x) ** 2 for x in (0.4, 0.5, 0.6)) / 3
'''

ARGPARSE = {
    "README.md": "# Toy\n\n```\npython train.py --lr 0.1 --steps 60\n```\n",
    "train.py": """import argparse
import os
import random

from net import start

def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out-dir", default="out")
    parser.add_argument("--eval-every", type=int, default=1000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()
"""
    + LOOP
    + """
def main():
    args = get_args()
    random.seed(args.seed)
    os.makedirs(args.out_dir, exist_ok=True)
    weight = start()
    for step in range(args.steps):
        weight -= args.lr * 2 * (weight - random.gauss(0.5, 0.1))  # no loss.backward() in so small a model
        last = step == args.steps - 1
        if step % args.eval_every == 0 or last:
            loss = evaluate(weight)
            print(f"step {step + 1}/{args.steps} | val loss: {loss:.5f} | best so far")

if __name__ == "__main__":
    main()
""",
    "net.py": "class Net:\n    def forward(self, x):\n        return x\n\ndef start():\n    return 3.0\n",
}
"""Options by argparse, a loop with a last evaluation."""

CONSTANTS = {
    "pretrain.py": """import random

MAX_STEPS = 500
LEARNING_RATE = 0.05
random.seed(1337)
"""
    + LOOP
    + """
weight = 3.0
for step in range(MAX_STEPS):
    weight -= LEARNING_RATE * 2 * (weight - random.gauss(0.5, 0.1))
    loss = (weight - 0.5) ** 2
    if step % 100 == 0:
        print("iter %d: train loss %.4f" % (step, loss))
print("final validation loss = {:.6f}".format(evaluate(weight)))
""",
}
"""Everything is a constant in the source."""

CONFIG = """model:
  width: 8
  seed: 7
train:
  lr: 0.05
  max_steps: 4000
  seed: 3
  out: runs
"""
PACKAGE = {
    "README.md": "Train with:\n\n    python -m tinylab.train --config configs/base.yaml\n",
    "pyproject.toml": '[project]\nname = "tinylab"\n',
    "configs/base.yaml": CONFIG,
    "configs/huge.yaml": CONFIG.replace("width: 8", "width: 8000"),
    "tinylab/__init__.py": "",
    "tinylab/model.py": "class Model:\n    def forward(self, x):\n        return x\n",
    "tinylab/evaluate.py": LOOP,
    "tinylab/data.py": "import random\n\ndef load_data():\n    return [random.gauss(0.5, 0.1)] * 9\n",
    "tinylab/train.py": '''"""python -m tinylab.train --config FILE"""
import argparse
import random

from tinylab.data import load_data
from tinylab.evaluate import evaluate
from tinylab.model import Model

def read(path):
    table, section = {}, None
    for line in open(path):
        key, _, value = line.strip().partition(":")
        if value:
            table[f"{section}.{key}"] = value.strip()
        else:
            section = key
    return table

def train(config):
    random.seed(int(config["train.seed"]))
    weight, model = 3.0, Model()
    for step in range(int(config["train.max_steps"])):
        for x in load_data():
            weight -= float(config["train.lr"]) * (model.forward(weight) - x)
    print(f"done: val_loss={evaluate(weight):.6f}")

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    train(read(parser.parse_args().config))

if __name__ == "__main__":
    main()
''',
}
"""Configuration files, a package, `python -m`."""

JSONL = {
    "main.py": """import argparse
import json
import os
import random
"""
    + LOOP
    + """
def main():
    p = argparse.ArgumentParser()
    p.add_argument("--max-tokens", type=int, default=100_000_000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--output-dir", type=str, default="output")
    args = p.parse_args()
    random.seed(args.seed)
    os.makedirs(args.output_dir, exist_ok=True)
    weight, seen = 3.0, 0
    with open(os.path.join(args.output_dir, "metrics.jsonl"), "w") as log:
        while seen < args.max_tokens:
            seen += 1000
            weight -= 0.1 * (weight - random.gauss(0.5, 0.1))
            row = {"tokens": seen, "val_bpb": evaluate(weight)}
            log.write(json.dumps(row) + "\\n")

if __name__ == "__main__":
    main()
""",
}
"""A file of metrics, and a budget in tokens."""

RESEARCH = {
    "program.md": "Improve val_bpb.\n",
    "prepare.py": '''"""Data and evaluation. Do not change."""
TIME_BUDGET = 2.0  # seconds
'''
    + LOOP,
    "train.py": """import random
import time

from prepare import TIME_BUDGET, evaluate

LR = 0.05
random.seed(42)
weight, began = 3.0, time.time()
while time.time() - began < TIME_BUDGET:
    weight -= LR * 2 * (weight - random.gauss(0.5, 0.1))
print("---")
print(f"val_bpb:          {evaluate(weight):.6f}")
""",
}
"""A folder like autoresearch whose trainer needs no card."""

NANO_LIKE = {
    "train.py": """import os
import torch
from model import GPT
out_dir = 'out'
eval_interval = 2000
eval_iters = 200
dataset = 'letters'
batch_size = 64
block_size = 256
n_layer = 6
learning_rate = 1e-3
max_iters = 5000
lr_decay_iters = 5000
device = 'cuda'
dtype = 'bfloat16' if torch.cuda.is_available() else 'float16'
compile = True
exec(open('configurator.py').read())
seed_offset = 0
torch.manual_seed(99 + seed_offset)
def get_batch(split):
    ix = torch.randint(100 - block_size, (batch_size,))
    return ix, ix
model = GPT(n_layer)
optimizer = model.configure_optimizers(learning_rate)
@torch.no_grad()
def estimate_loss():
    out = {}
    return out
X, Y = get_batch('train')
iter_num = 0
while True:
    if iter_num % eval_interval == 0:
        losses = estimate_loss()
        print(f"step {iter_num}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    logits, loss = model(X, Y)
    X, Y = get_batch('train')
    loss.backward()
    optimizer.step()
    iter_num += 1
    if iter_num > max_iters:
        break
""",
    "model.py": "import torch.nn as nn\nclass GPT(nn.Module):\n    act = nn.GELU()\n",
    "configurator.py": "import sys\nfor arg in sys.argv[1:]:\n    pass\n",
    "data/letters/prepare.py": """import os
import pickle
import numpy as np
here = os.path.dirname(__file__)
np.arange(9).tofile(os.path.join(here, 'train.bin'))
np.arange(9).tofile(os.path.join(os.path.dirname(__file__), 'val.bin'))
with open(os.path.join(os.path.dirname(__file__), 'meta.pkl'), 'wb') as f:
    pickle.dump({}, f)
""",
}
"""In the manner of nanoGPT, and not it."""

NANO = {
    **NANO_LIKE,
    "train.py": NANO_LIKE["train.py"]
    .replace("manual_seed(99", "manual_seed(1337")
    .replace(
        "X, Y = get_batch('train')\niter_num",
        "X, Y = get_batch('train') # fetch the very first batch\niter_num",
    )
    .replace("return ix, ix", "x, y = ix, ix\n    return x, y"),
    "config/train_shakespeare_char.py": "learning_rate = 2e-3\ndataset = 'shakespeare_char'\n",
    "config/train_gpt2.py": "dataset = 'openwebtext'\n",
    "data/shakespeare_char/prepare.py": "",
}
"""What nanoGPT is recognised by."""

HUGGING = {
    "run_clm.py": """import torch
from transformers import HfArgumentParser, Trainer, TrainingArguments

def main():
    parser = HfArgumentParser((TrainingArguments,))
    (training_args,) = parser.parse_args_into_dataclasses()
    trainer = Trainer(args=training_args)
    trainer.train()
    trainer.evaluate()

if __name__ == "__main__":
    main()
""",
}

LIGHTNING = {
    "train.py": """import argparse
import lightning as L
import torch

class LitModel(L.LightningModule):
    def training_step(self, batch, index):
        return self.loss(batch)

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_steps", type=int, default=100)
    args = parser.parse_args()
    L.seed_everything(12)
    trainer = L.Trainer(max_steps=args.max_steps)
    trainer.fit(LitModel())
""",
}

TITAN = {
    "torchtitan/__init__.py": "",
    "torchtitan/train.py": "def main():\n    pass\nif __name__ == '__main__':\n    main()\n",
    "torchtitan/config.py": "class Debug:\n    seed: int | None = None\n",
    "run_train.sh": 'MODULE=${MODULE:-"llama3"}\nCONFIG=${CONFIG:-"llama3_debug"}\n',
}


def make(folder: Path, files: dict[str, str], git: bool = False) -> Path:
    """Write a repository."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if git:
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every byte of a folder, git's own files too, and when each was changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
        else:
            found[str(path)] = (path.lstat().st_mtime_ns, b"")
    return found


def start(testbed, folder, seed, rung=0, budget=None, change=()):
    """Run a testbed's command as a run would: its own copy of the source, with edits, and with a change
    (path, old, new) on top. The loss."""
    source, out = folder / f"source-{seed}-{rung}", folder / f"out-{seed}-{rung}"
    write_tree(read_tree(testbed), source)
    out.mkdir(parents=True)
    told = int(budget or testbed.rungs[rung].compute)
    values = {"recipe": "base", "rung": rung, "seed": seed, "out": out, "device": "cpu", "cpus": 1, "gpus": 0}
    values[testbed.budget.told] = told
    for edit in testbed.edits:
        path = source / edit.path
        path.write_text(edited(path.read_text(), edit, values))
    command = [part.format(**values) for part in testbed.command]
    for key, value in {**testbed.set, **testbed.rungs[rung].set}.items():
        command += [part.format(key=key, value=value) for part in testbed.override]
    log = folder / f"log-{seed}-{rung}"
    for name, old, new in change:
        text = (source / name).read_text()
        assert old in text, old
        (source / name).write_text(text.replace(old, new))
    env = {**os.environ, **{name: text.format(**values) for name, text in testbed.env.items()}}
    with log.open("wb") as output:
        words = [sys.executable, *command]
        subprocess.run(words, cwd=source, env=env, stdout=output, stderr=subprocess.STDOUT, check=True)
    return read_metric(testbed.metric, out, log)

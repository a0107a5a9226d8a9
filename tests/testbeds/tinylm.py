"""A training package, written for the tests: below src, with nested settings that --override changes, batches
that another module draws, and rows of JSON. It needs torch to run."""

FILES = {
    "README.md": """# tinylm

    PYTHONPATH=src python -m tinylm.train --config configs/base.yaml --override optim.lr=0.002
""",
    "configs/base.yaml": """run:
  seed: 1
  out_dir: out
  max_steps: 2000
  eval_every: 500
  eval_batches: 32
data:
  path: corpus.txt
  batch_size: 8
  block: 16
model:
  width: 16
optim:
  lr: 0.003
  weight_decay: 0.1
""",
    "corpus.txt": "It was the best of times, it was the worst of times. " * 40,
    "src/tinylm/__init__.py": "",
    "src/tinylm/config.py": '''"""A nested table from YAML, and what the command line lays over it."""
import ast

def load(path, overrides):
    table, section = {}, None
    for line in open(path):
        key, _, value = line.partition(":")
        if value.strip():
            table[section][key.strip()] = plain(value)
        else:
            section = key.strip()
            table[section] = {}
    for one in overrides:
        name, _, value = one.partition("=")
        section, _, key = name.partition(".")
        if key not in table.get(section, {}):
            raise SystemExit(f"unknown setting {name}")
        table[section][key] = plain(value)
    return table

def plain(text):
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
''',
    "src/tinylm/data.py": """import torch

def load_text(path):
    data = torch.tensor(list(open(path, "rb").read()))
    cut = int(0.9 * len(data))
    return data[:cut], data[cut:]

def draw(data, size, block, generator=None):
    if generator is not None:
        starts = torch.randint(len(data) - block - 1, (size,), generator=generator)
    else:
        starts = torch.randint(len(data) - block - 1, (size,))
    rows = torch.stack([data[i : i + block + 1] for i in starts])
    return rows[:, :-1], rows[:, 1:]
""",
    "src/tinylm/evaluate.py": """import torch

from tinylm.data import draw

@torch.no_grad()
def evaluate(model, data, batches, size, block):
    fixed = torch.Generator().manual_seed(0)
    losses = [float(model.loss(*draw(data, size, block, fixed))) for _ in range(batches)]
    return {"nll": sum(losses) / len(losses)}
""",
    "src/tinylm/model.py": """import torch
from torch import nn

class TinyLM(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.act = nn.GELU()
        self.head = nn.Linear(width, 256)

    def loss(self, x, y):
        return nn.functional.cross_entropy(self.head(self.act(self.embed(x))).flatten(0, 1), y.flatten())
""",
    "src/tinylm/train.py": '''"""python -m tinylm.train --config FILE [--override SECTION.KEY=VALUE ...]"""
import argparse
import json
import logging
from pathlib import Path

import torch

from tinylm.config import load
from tinylm.data import draw, load_text
from tinylm.evaluate import evaluate
from tinylm.model import TinyLM

log = logging.getLogger("tinylm")

def append(path, record):
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\\n")

def train(config):
    run, data = config["run"], config["data"]
    torch.manual_seed(run["seed"])
    out = Path(run["out_dir"])
    out.mkdir(parents=True, exist_ok=True)
    training, held = load_text(data["path"])
    model = TinyLM(config["model"]["width"])
    optimizer = torch.optim.AdamW(model.parameters(), config["optim"]["lr"])
    for step in range(1, run["max_steps"] + 1):
        x, y = draw(training, data["batch_size"], data["block"])
        loss = model.loss(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % run["eval_every"] == 0 or step == run["max_steps"]:
            scores = evaluate(model, held, run["eval_batches"], data["batch_size"], data["block"])
            log.info("step %d train nll %.4f valid nll %.4f", step, loss.item(), scores["nll"])
            append(out / "metrics.jsonl", {"step": step, "valid_nll": scores["nll"]})

def main():
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--override", action="append", default=[], metavar="SECTION.KEY=VALUE")
    args = parser.parse_args()
    train(load(args.config, args.override))

if __name__ == "__main__":
    main()
''',
}

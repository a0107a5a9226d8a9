"""Text from a checkpoint, as it is made: `python sample.py DIR --prompt "def " --tokens 200`.

DIR is the folder of a run, finished or not, or of one of its checkpoints. Bytes that are no text print as
replacement characters.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
from pathlib import Path

import torch
from checkpoint import CONFIG, WEIGHTS, last_checkpoint, read_weights
from config import Config
from model import GPT
from tokenizer import load_tokenizer


def find_checkpoint(folder: Path) -> Path:
    """The folder in or below `folder` that holds weights. FileNotFoundError: there is none."""
    place = folder if (folder / WEIGHTS).is_file() else last_checkpoint(folder)
    if place is None or not (place / CONFIG).is_file():
        raise FileNotFoundError(2, f"no {WEIGHTS} with its {CONFIG} here", str(folder))
    return place


def load_model(folder: Path) -> GPT:
    """The model in `folder`, in float32 and ready to predict."""
    model = GPT(Config(**json.loads((folder / CONFIG).read_text())))
    model.load_state_dict(read_weights(folder, model))
    return model.eval()


@torch.no_grad()
def generate(model, tokens, count: int, temperature: float, top_k: int, seed: int):
    """Yield `count` tokens that follow `tokens`, each drawn from the `top_k` most probable (0: from all) with
    logits divided by `temperature` (0: the most probable). The model sees the last `context` tokens only."""
    random = torch.Generator().manual_seed(seed)
    tokens = list(tokens)
    for _ in range(count):
        logits_V = model(torch.tensor([tokens[-model.config.context :]]))[0, -1]
        if top_k:
            least = logits_V.topk(min(top_k, len(logits_V))).values[-1]
            logits_V = logits_V.where(logits_V >= least, -torch.inf)
        if temperature:
            chances_V = (logits_V / temperature).softmax(-1)
            token = int(torch.multinomial(chances_V, 1, generator=random))
        else:
            token = int(logits_V.argmax())
        tokens.append(token)
        yield token


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--prompt", default="", help="what the text begins with (default: nothing)")
    parser.add_argument("--tokens", type=int, default=256, help="how many to add")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the most probable token")
    parser.add_argument("--top-k", type=int, default=0, help="draw from so many only; 0 from all")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for name in ("tokens", "temperature", "top_k"):
        if getattr(args, name) < 0:
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)}: 0 or more")
    try:
        folder = find_checkpoint(args.folder)
    except FileNotFoundError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    encoding = load_tokenizer(folder)
    # Without a prompt, what follows the end of a document.
    prompt = os.fsencode(args.prompt)  # the bytes of the command line, text or not
    tokens = encoding.encode(prompt).tolist() or [0]
    text = generate(load_model(folder), tokens, args.tokens, args.temperature, args.top_k, args.seed)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    try:
        write(decoder.decode(prompt))
        for token in text:
            write(decoder.decode(encoding.decode([token])))
        write(decoder.decode(b"", final=True) + "\n")
    except BrokenPipeError:  # the reader has seen enough; what Python still holds must not be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def write(text: str) -> None:
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())

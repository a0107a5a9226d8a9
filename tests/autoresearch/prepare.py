"""Data, time budget and evaluation. Fixed: experiments do not touch this file.

    python prepare.py

writes data/train.npy and data/val.npy, a text of a hidden Markov source over an alphabet of 24 letters.
"""

import pathlib

import numpy as np

TIME_BUDGET = 20  # seconds of training
LETTERS = 24
DATA = pathlib.Path(__file__).parent / "data"


def make_text(count, rng):
    """Letters whose next one depends on the last two, with one letter in twenty at random."""
    table = np.random.default_rng(0).integers(0, LETTERS, (LETTERS, LETTERS, 3))
    text = np.zeros(count, dtype=np.int64)
    choice, stray = rng.integers(0, 3, count), rng.random(count) < 0.05
    letter = rng.integers(0, LETTERS, count)
    for place in range(2, count):
        text[place] = (
            letter[place] if stray[place] else table[text[place - 2], text[place - 1], choice[place]]
        )
    return text


def load(split):
    return np.load(DATA / f"{split}.npy", mmap_mode="r")


def evaluate_bpb(log_probabilities, context):
    """Bits per letter of the validation text; `log_probabilities` takes (count, context) letters."""
    text = np.asarray(load("val"))
    places = np.arange(context, len(text))
    rows = text[places[:, None] + np.arange(-context, 0)]
    log_p = log_probabilities(rows)
    return float(-log_p[np.arange(len(places)), text[places]].mean() / np.log(2))


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for split, count, seed in (("train", 200_000, 1), ("val", 8_000, 2)):
        np.save(DATA / f"{split}.npy", make_text(count, np.random.default_rng(seed)))
    print(f"wrote {DATA}")

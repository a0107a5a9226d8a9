"""Writes train.bin, val.bin and meta.pkl: a text whose letters depend on the two before them."""

import os
import pickle

import numpy as np

rng = np.random.default_rng(0)
table = rng.integers(0, 20, (20, 20, 3))
text = [0, 1]
for choice, stray in zip(rng.integers(0, 3, 60_000), rng.random(60_000)):
    text.append(int(stray * 400) if stray < 0.05 else table[text[-2], text[-1], choice])
text = np.array(text, dtype=np.uint8)
here = os.path.dirname(__file__)
text[:54_000].tofile(os.path.join(here, "train.bin"))
text[54_000:].tofile(os.path.join(here, "val.bin"))
with open(os.path.join(here, "meta.pkl"), "wb") as file:
    pickle.dump({"vocab_size": 20}, file)

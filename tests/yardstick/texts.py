"""Made-up text for the tests: words from a fixed vocabulary, drawn from a seed."""

import random
from pathlib import Path

VOCABULARY = tuple(f"word{i}" for i in range(5000))


def text(seed: int, words: int = 1500) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def edited(original: str, seed: int, changes: int) -> str:
    """A near copy: `changes` words of the original replaced."""
    words = original.split()
    draw = random.Random(seed)
    for i in draw.sample(range(len(words)), changes):
        words[i] = f"edit{draw.randrange(10**6)}"
    return " ".join(words)


def text_folder(folder: Path, count: int = 40, words: int = 1500) -> Path:
    """`count` unrelated `.txt` files of about 12 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:03}.txt").write_text(text(i, words))
    return folder

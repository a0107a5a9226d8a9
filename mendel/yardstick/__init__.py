"""What patches may not touch: the text and its split (`corpus`), and the score (`scoring`).

`sources` reads the packages or the user's folder, `duplicates` finds what must stay together.
"""

from mendel.yardstick.corpus import Corpus, build_corpus, load_corpus, sealed_folders
from mendel.yardstick.scoring import ScoringError, Shards, score, windows
from mendel.yardstick.sources import CorpusError

__all__ = [
    "Corpus",
    "CorpusError",
    "ScoringError",
    "Shards",
    "build_corpus",
    "load_corpus",
    "score",
    "sealed_folders",
    "windows",
]

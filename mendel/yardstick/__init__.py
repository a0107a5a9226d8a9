"""What patches may not touch: the text and its split (`corpus`), and the score (`scoring`).

`sources` reads the packages or the user's folder, `hub` brings a dataset into one, `duplicates` finds what
must stay together; `tokens` checks the tokenizer that a run learned.
"""

from mendel.yardstick.corpus import Corpus, build_corpus, load_corpus, sealed_folders
from mendel.yardstick.scoring import ScoringError, Shards, log_probabilities, score, windows
from mendel.yardstick.sources import CorpusError
from mendel.yardstick.tokens import read_tokenizer

__all__ = [
    "Corpus",
    "CorpusError",
    "ScoringError",
    "Shards",
    "build_corpus",
    "load_corpus",
    "log_probabilities",
    "read_tokenizer",
    "score",
    "sealed_folders",
    "windows",
]

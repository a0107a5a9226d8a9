"""What patches may not touch: the text and its split (`corpus`), and the score: what is asked of a model
(`stream`, `prefixes`) over a wire (`scoring`), and whether its answers can be believed (`checks`).

`sources` reads the packages or the user's folder, `hub` brings a dataset into one, `duplicates` finds what
must stay together; `tokens` checks the tokenizer that a run learned. `sealed` says what a sandbox must hide;
`leaks` (by `grams` and `unpack`), `memory` and `logs` look for what a run knows or says and cannot.
"""

from mendel.yardstick.checks import check_prefixes, check_stream, pooled
from mendel.yardstick.corpus import Corpus, build_corpus, load_corpus
from mendel.yardstick.leaks import audit_text, scan_output
from mendel.yardstick.logs import check_log, early_losses
from mendel.yardstick.memory import memorised
from mendel.yardstick.metric import NoMetric, read_metric
from mendel.yardstick.prefixes import Prefixes, ask_prefixes
from mendel.yardstick.scoring import ScoringError, Violation, log_probabilities, windows
from mendel.yardstick.sealed import sealed_paths
from mendel.yardstick.sources import CorpusError
from mendel.yardstick.stream import Answers, ask_stream
from mendel.yardstick.tokens import read_tokenizer

__all__ = [
    "NoMetric",
    "read_metric",
    "Answers",
    "Corpus",
    "CorpusError",
    "Prefixes",
    "ScoringError",
    "Violation",
    "ask_prefixes",
    "ask_stream",
    "audit_text",
    "build_corpus",
    "check_log",
    "check_prefixes",
    "check_stream",
    "early_losses",
    "load_corpus",
    "log_probabilities",
    "memorised",
    "pooled",
    "read_tokenizer",
    "scan_output",
    "sealed_paths",
    "windows",
]

"""Tokens of a text: its bytes, or byte pairs learned from it (BPE, Sennrich et al. 2016).

The first 256 tokens are the bytes themselves, so token 0 is the NUL that ends a document, any bytes can be
encoded, and a token is always the same few bytes: decoding is a table. tokenizer.json is what the library
`tokenizers` reads, and that is needed for "bpe" only; it wants text, one character per byte (latin-1).
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections import defaultdict
from itertools import chain, count
from pathlib import Path

import numpy as np

FILE = "tokenizer.json"
TRAINING_BYTES = 4_000_000
"""Text that BPE is learned from, spread evenly over all documents."""
PIECE = 8192
MAX_TOKEN = 16
"""Bytes of the longest token."""
MAX_VOCAB = 1 << 16

# Words are cut by bytes alone, so no table of characters and no version of one decides: letters (with every
# byte of a character beyond ASCII), up to three digits, other signs, each with a space before it; space.
_SPACE, _LETTER = r" \t\n\r\x0b\x0c", r"A-Za-z_\x80-\xff"
WORDS = (
    rf"\x00| ?[{_LETTER}]+| ?[0-9]{{1,3}}| ?[^\x00{_SPACE}{_LETTER}0-9]+"
    rf"|[{_SPACE}]+(?=[{_SPACE}])|[{_SPACE}]+"
)


class Bytes:
    """One token for each byte."""

    size, dtype = 256, np.uint8

    def encode(self, text: bytes):
        return np.frombuffer(text, np.uint8)

    def encode_all(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, tokens) -> bytes:
        return bytes(tokens)


class BPE:
    """Byte pairs. `described` is the content of a tokenizer.json that this file wrote."""

    dtype = np.uint16

    def __init__(self, described: str):
        self.described = described
        content = json.loads(described)
        # Words are cut here: the library would cut one again, and white space differs with what follows it.
        self.library = _library().Tokenizer.from_str(json.dumps(content | {"pre_tokenizer": None}))
        vocab = content["model"]["vocab"]
        self.size = len(vocab)
        self.bytes_of = [word.encode("latin-1") for word in sorted(vocab, key=vocab.get)]

    @classmethod
    def train(cls, texts, vocab: int) -> BPE:
        """Learn `vocab` tokens (fewer if the text has no more pairs) from TRAINING_BYTES of `texts`."""
        if not 256 < vocab <= MAX_VOCAB:
            raise ValueError(f"vocab is {vocab}; tokenizer=bpe takes 257 to {MAX_VOCAB}")
        tokenizers = _library()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        words = tokenizers.Regex(re.sub(r"\\x([0-9a-f]{2})", r"\\x{\1}", WORDS))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(words, "isolated")
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab,
            initial_alphabet=[chr(byte) for byte in range(256)],
            max_token_length=MAX_TOKEN,
            show_progress=False,
        )
        tokenizer.train_from_iterator((text.decode("latin-1") for text in _sample(texts)), trainer)
        return cls(tokenizer.to_str())

    def encode(self, text: bytes):
        return self.encode_all([text])[0]

    def encode_all(self, texts):
        """The tokens of each text, uint16. Each different word goes through the library once: a tenth of its
        time, and the same tokens."""
        number: dict[bytes, int] = defaultdict(count().__next__)
        split = re.compile(WORDS.encode()).findall
        texts_W = [array("I", map(number.__getitem__, split(text))) for text in texts]
        tokens_W = [one.ids for one in self.library.encode_batch([word.decode("latin-1") for word in number])]
        found = (chain.from_iterable(map(tokens_W.__getitem__, word_N)) for word_N in texts_W)
        return [np.fromiter(tokens, np.uint16) for tokens in found]

    def decode(self, tokens) -> bytes:
        return b"".join(self.bytes_of[token] for token in tokens)


def load_tokenizer(folder: Path) -> Bytes | BPE:
    """The tokenizer of a run, from its output folder."""
    path = Path(folder) / FILE
    return BPE(path.read_text()) if path.exists() else Bytes()


def _sample(texts):
    """About TRAINING_BYTES of the texts, in pieces evenly spread over them."""
    pieces = [text[place : place + PIECE] for text in texts for place in range(0, len(text), PIECE)]
    share = min(1.0, TRAINING_BYTES / max(1, sum(map(len, pieces))))
    return [piece for i, piece in enumerate(pieces) if int((i + 1) * share) > int(i * share)]


def _library():
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # how many threads a run has is its own business
    try:
        import tokenizers
    except ImportError:
        raise ValueError("tokenizer=bpe needs the library tokenizers: pip install 'mendel[data]'") from None
    return tokenizers

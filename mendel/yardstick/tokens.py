"""The tokens of a run, for its score: read as data, checked, and encoded by the yardstick itself.

A run may learn byte pairs and leave them in its folder as tokenizer.json. It is code under test, so nothing
of that file is believed: only the vocabulary and the merges are taken, from a file whose every other line
says what is expected. There is no normaliser that could drop text, no special token, no pattern of its own
(which might also never end), and no token that is not a fixed string of bytes. What is encoded is decoded
again here, from the vocabulary alone, and must be the text.

Bits per byte stay comparable: the first byte of a window stands alone as its own token and is given, all
others are predicted, and the sum is divided by the bytes. So every tokenizer answers for the same bytes, none
can hide text in a token that is given, and -log2 p of the tokens is a code length of the bytes: no less than
what the model needs for them. A run without the file has a token for each byte.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from mendel.yardstick.scoring import MAX_VOCAB, ScoringError

FILE = "tokenizer.json"
MOST_BYTES = 16_000_000
"""Size of the file."""
LONGEST = 64
"""Bytes of one token."""
WORDS = (
    r"\x{00}| ?[A-Za-z_\x{80}-\x{ff}]+| ?[0-9]{1,3}"
    r"| ?[^\x{00} \t\n\r\x{0b}\x{0c}A-Za-z_\x{80}-\x{ff}0-9]+"
    r"|[ \t\n\r\x{0b}\x{0c}]+(?=[ \t\n\r\x{0b}\x{0c}])|[ \t\n\r\x{0b}\x{0c}]+"
)
"""Where words begin and end, one character for each byte. Merges do not reach beyond a word."""

_EXPECTED: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"Regex": WORDS},
        "behavior": "Isolated",
        "invert": False,
    },
    "post_processor": None,
    "decoder": None,
    "model.type": "BPE",
    "model.dropout": None,
    "model.unk_token": None,
    "model.continuing_subword_prefix": None,
    "model.end_of_word_suffix": None,
    "model.fuse_unk": False,
    "model.byte_fallback": False,
    "model.ignore_merges": False,
}
"""Everything in a tokenizer.json but `model.vocab` and `model.merges`."""


class Tokenizer:
    """Byte pairs, checked."""

    def __init__(self, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
        try:
            import tokenizers
            from tokenizers import models, pre_tokenizers
        except ImportError:
            raise ScoringError(f"{FILE}: reading it needs the extra: pip install 'mendel[data]'") from None
        self._library = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
        self._library.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(WORDS), "isolated")
        self._bytes = [token.encode("latin-1") for token in sorted(vocab, key=vocab.__getitem__)]

    def __call__(self, window: bytes) -> list[int]:
        """Tokens of `window`, the first of them its first byte. ScoringError if they are not the text."""
        rest = self._library.encode(window[1:].decode("latin-1"), add_special_tokens=False).ids
        tokens = [window[0], *rest]
        if b"".join(self._bytes[token] for token in tokens) != window:
            raise _refused("its tokens do not give the text back")
        return tokens


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer that a run left in `folder`; None where its tokens are bytes. ScoringError, with nothing
    in it that the run wrote, for a file that is not what the built-in trainer writes."""
    data = _read(folder / FILE)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused("it is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise _refused("it has no model")
    model = found.pop("model")
    vocab, merges = model.pop("vocab", None), model.pop("merges", None)
    rest = found | {f"model.{key}": value for key, value in model.items()}
    for key, value in _EXPECTED.items():
        if key not in rest or json.dumps(rest[key]) != json.dumps(value):
            raise _refused(f"its {key} is not what the trainer writes")
    if rest.keys() != _EXPECTED.keys():
        raise _refused("it has more keys than the trainer writes")
    return Tokenizer(_check_vocab(vocab), _check_merges(merges, vocab))


def _check_vocab(vocab: Any) -> dict[str, int]:
    """Numbers 0, 1, 2, ... for different strings of bytes; the first 256 are the bytes themselves."""
    if not isinstance(vocab, dict) or not 256 <= len(vocab) <= MAX_VOCAB:
        raise _refused(f"its vocabulary has not 256 to {MAX_VOCAB} tokens")
    numbers = vocab.values()
    if not all(type(number) is int for number in numbers) or sorted(numbers) != list(range(len(vocab))):
        raise _refused("its tokens are not numbered 0, 1, 2, ...")
    if not all(1 <= len(token) <= LONGEST and max(token) <= "\xff" for token in vocab):
        raise _refused(f"a token is not of 1 to {LONGEST} bytes")
    if any(vocab.get(chr(byte)) != byte for byte in range(256)):
        raise _refused("its first 256 tokens are not the bytes")
    return vocab


def _check_merges(merges: Any, vocab: dict[str, int]) -> list[tuple[str, str]]:
    if not isinstance(merges, list) or len(merges) > len(vocab):
        raise _refused("its merges are not a list, or more than its tokens")
    for pair in merges:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise _refused("a merge is not a pair of tokens")
        if not {pair[0], pair[1], pair[0] + pair[1]} <= vocab.keys():
            raise _refused("a merge is of tokens that are not in its vocabulary")
    return [(left, right) for left, right in merges]


def _read(path: Path) -> bytes | None:
    """A plain file: not a link to another, and not a pipe that would wait for a writer forever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        raise _refused("it cannot be read") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refused("it is not a plain file")
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _refused(f"it has more than {MOST_BYTES} bytes")
    return data


def _refused(why: str) -> ScoringError:
    return ScoringError(f"{FILE}: {why}")

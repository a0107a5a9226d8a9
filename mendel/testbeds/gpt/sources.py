"""From a training file to windows: documents and their sources, which are kept, in what mix, and how cut.

A window is `context + 1` tokens; none is padded, so every token of a batch is real and the loss stays a mean.

A training file is documents with one NUL byte between two. `sources.json` beside it, where there is one,
names the source of each: {"sources": [names], "documents": [place in names, one per document, in order]}.
Without it all documents are of one source, and a file without NUL bytes is one document.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tokenizer
from config import Config

ALLOWED = {
    "tokenizer": ("bytes", "bpe"),
    "packing": ("stream", "documents"),
    "deduplicate": ("none", "exact", "near"),
}
KNOBS = (*ALLOWED, "mixture", "mixture_end", "min_bytes", "max_bytes", "max_non_text", "max_repetition")
GRAM = 32
"""Bytes that two documents must have in a row to have a gram in common."""
SAMPLED = 16
"""One gram of so many is looked at, chosen by its hash: the same ones in every document (Broder 1997)."""
NEAR = 0.8
"""Share of a document's grams, seen in earlier documents, that makes it a near duplicate."""

# Bytes of well-formed UTF-8 that are not control characters (tab, line ends and form feed are text).
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f")) + b"\x7f"


@dataclass
class Text:
    """The text of a run, ready to be read: D documents of S sources, in the order in which they lie."""

    names: tuple[str, ...]
    source_D: np.ndarray
    byte_D: np.ndarray
    """Bytes of each document, the NUL that ends it included."""
    size_D: np.ndarray
    """Tokens of each, likewise."""
    tokens: np.ndarray
    starts: dict[str, np.ndarray]
    """Where windows begin, for each stream: the sources of the mixture, or one stream without a name."""
    weight_KS: np.ndarray | None = None
    """Weights of the streams at the start and at the end of the run; None for one stream."""
    tokenizer: tokenizer.Bytes | tokenizer.BPE = field(default_factory=tokenizer.Bytes)
    left_out: dict[str, int] = field(default_factory=dict)
    """Documents left out, by knob."""


def read_text(path: Path, config: Config) -> Text:
    """Filter, tokenise, order and cut the documents of `path` as the data knobs say; all at their defaults
    leave the file as it is. ValueError names the knob that cannot be served."""
    for knob, values in ALLOWED.items():
        if getattr(config, knob) not in values:
            raise ValueError(f"{knob} is {getattr(config, knob)!r}; allowed are {', '.join(values)}")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    byte_D = np.diff(np.flatnonzero(data == 0), prepend=-1, append=len(data))
    names, source_D = read_sources(path, len(byte_D))
    if all(getattr(config, knob) == getattr(Config, knob) for knob in KNOBS):
        return Text(names, source_D, byte_D, byte_D, data, {"": cut_stream(len(data), config.context)})
    texts = data.tobytes().split(b"\0")
    begin_S = parse_mixture("mixture", config.mixture, names)
    end_S = parse_mixture("mixture_end", config.mixture_end, names)
    kept = np.arange(len(texts))
    if begin_S is not None:  # else every source has its own share, at least to begin with
        kept = kept[(begin_S if end_S is None else begin_S + end_S)[source_D] > 0]
    kept, left_out = select(texts, kept, config)
    texts, source_D = [texts[i] for i in kept], source_D[kept]
    tokens = tokenizer.Bytes() if config.tokenizer == "bytes" else tokenizer.BPE.train(texts, config.vocab)
    token_D = [np.append(own, tokens.dtype(0)) for own in tokens.encode_all(texts)]
    size_D = np.array([len(own) for own in token_D])
    if begin_S is None:
        begin_S = np.bincount(source_D, size_D, len(names)) / size_D.sum()
    weight_KS = np.array([begin_S, begin_S if end_S is None else end_S])
    mixed_S = weight_KS.any(0)
    mixed = bool(config.mixture or config.mixture_end)
    stream_D, by_documents = source_D * mixed, config.packing == "documents"
    order_D = np.lexsort(((size_D <= config.context) & by_documents, stream_D))
    starts, offset = {}, 0
    for stream in np.flatnonzero(mixed_S) if mixed else [0]:
        own_D = size_D[order_D][stream_D[order_D] == stream]
        size = int(own_D.sum())
        cut = cut_documents(own_D, config.context) if by_documents else cut_stream(size, config.context)
        name = names[stream] if mixed else ""
        if mixed and len(cut) == 0:
            raise ValueError(f"source {name!r} has {size} tokens left; a window needs {config.context + 1}")
        starts[name] = cut + offset
        offset += size
    return Text(
        names=names,
        source_D=source_D[order_D],
        byte_D=byte_D[kept][order_D],
        size_D=size_D[order_D],
        tokens=np.concatenate([token_D[i] for i in order_D]),
        starts=starts,
        weight_KS=weight_KS[:, mixed_S],
        tokenizer=tokens,
        left_out=left_out,
    )


def read_sources(path: Path, count: int):
    """The names of the sources, and which of them each of the `count` documents of `path` is of. ValueError
    for a sidecar that belongs to another text."""
    sidecar = path.with_name("sources.json")
    if not sidecar.exists():
        return ("text",), np.zeros(count, np.int64)
    try:
        listed = json.loads(sidecar.read_text())
        names, source_D = tuple(listed["sources"]), np.array(listed["documents"], np.int64)
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{sidecar}: it has no lists of sources and documents; delete it or mend it"
        ) from None
    if len(source_D) != count or not ((source_D >= 0) & (source_D < len(names))).all():
        raise ValueError(f"{sidecar}: it lists {len(source_D)} documents, {path.name} holds {count}")
    return names, source_D


def parse_mixture(knob: str, text: str, names):
    """Weights of the sources `names`, summing to one, of `text` such as "docs:2,code:1"; sources that it does
    not name have none. None for no text. ValueError names the knob, what was found and the sources."""
    if not text:
        return None
    weight_S = np.zeros(len(names))
    for part in text.split(","):
        name, _, weight = map(str.strip, part.rpartition(":"))
        if name not in names:
            known = ", ".join(names)
            raise ValueError(f"{knob} is {text!r}: no source {name or weight!r}; this text has {known}")
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight):
            raise ValueError(f"{knob} is {text!r}: the weight of {name} is {weight!r}; a number is needed")
        weight_S[names.index(name)] = float(weight)
    if not weight_S.sum() > 0:
        raise ValueError(f"{knob} is {text!r}: all weights are 0")
    return weight_S / weight_S.sum()


# --- which documents are kept ---------------------------------------------------------------------------


def select(texts, kept, config):
    """Of the texts at the places `kept`, those that filters and deduplication leave, and how many each of
    them left out."""
    count, left_out = len(kept), {}
    rules = {
        "min_bytes": lambda text: len(text) >= config.min_bytes,
        "max_bytes": lambda text: len(text) <= config.max_bytes,
        "max_non_text": lambda text: non_text_share(text) <= config.max_non_text,
        "max_repetition": lambda text: repeated_share(text) <= config.max_repetition,
        "deduplicate": None,
    }
    for knob, rule in rules.items():
        if getattr(config, knob) == getattr(Config, knob):
            continue
        rest = [texts[i] for i in kept]
        if rule:
            passed = np.array([rule(text) for text in rest], bool)
        else:
            passed = ~repeats(rest, near=config.deduplicate == "near")
        left_out[knob] = int((~passed).sum())
        kept = kept[passed]
    if len(kept) == 0:
        raise ValueError(f"the filters left none of {count} documents; left out were {left_out}")
    return kept, left_out


def non_text_share(text: bytes) -> float:
    """Share of bytes that are control characters or no UTF-8."""
    readable = text.decode("utf-8", errors="ignore").encode()
    return 1 - len(readable.translate(None, _CONTROLS)) / max(1, len(text))


def repeated_share(text: bytes) -> float:
    """Share of bytes in lines that stood in the document before (Rae et al. 2021, appendix A.1.1)."""
    lines = [line for line in re.split(rb"\s*\n\s*", text.strip()) if line]
    return 1 - sum(map(len, set(lines))) / max(1, sum(map(len, lines)))


def repeats(texts, near: bool):
    """Which texts stood before, (D,) bool; or, `near`, have at least NEAR of their sampled grams in earlier
    ones. Unlike a MinHash of whole documents this finds a short text inside a long one too."""
    first: dict[bytes, int] = {}
    again_D = np.array([first.setdefault(text, i) < i for i, text in enumerate(texts)], bool)
    if not near or not texts:
        return again_D
    grams = [_grams(text) for text in texts]
    owner_N = np.repeat(np.arange(len(grams)), [len(gram_N) for gram_N in grams])
    # Documents come in order, so the owner of a gram's first occurrence is the first document to hold it.
    _, first_N, inverse_N = np.unique(np.concatenate(grams), return_index=True, return_inverse=True)
    seen_D = np.bincount(owner_N, owner_N[first_N][inverse_N] < owner_N, minlength=len(grams))
    total_D = np.bincount(owner_N, minlength=len(grams))
    return again_D | ((seen_D >= NEAR * total_D) & (total_D > 0))


def _grams(text: bytes):
    """Hashes of the sampled runs of GRAM bytes, each once: a polynomial of the bytes, modulo 2^64."""
    if len(text) < GRAM:
        return np.empty(0, np.uint64)
    byte_N = np.frombuffer(text, np.uint8).astype(np.uint64)
    hash_N, span = byte_N + np.uint64(1), 1
    factor = 0x9E3779B97F4A7C15
    while span < GRAM:  # runs of 2, 4, 8, ... bytes from runs of half the length; GRAM is a power of two
        hash_N = hash_N[:-span] * np.uint64(factor) + hash_N[span:]
        factor, span = factor * factor % 2**64, 2 * span
    hash_N ^= hash_N >> np.uint64(32)
    hash_N *= np.uint64(0xD6E8FEB86659FD93)
    return np.unique(hash_N[(hash_N >> np.uint64(32)) % np.uint64(SAMPLED) == 0])


# --- where windows begin --------------------------------------------------------------------------------


def cut_stream(size: int, context: int):
    """Starts of windows of context + 1 tokens, one after the other: the last token of a window is the first
    of the next, so every token but the first is predicted once. What is left at the end is not read."""
    return np.arange(max(0, (size - 1) // context)) * context


def cut_documents(size_D, context: int):
    """Starts of windows of context + 1 tokens in documents of `size_D` tokens that lie end to end.

    No window holds parts of two documents, and none is padded: as few windows as cover a document are spread
    evenly over it, so they overlap a little where it is not a multiple. Documents shorter than a window must
    stand at the end; they are joined whole until they fill one, and each of them stands whole in at least one
    window. If even all of them together do not fill one, they are not read.
    """
    window, start, filled = context + 1, 0, 0
    starts = [np.empty(0, np.int64)]
    for size in map(int, size_D):
        filled += size
        if filled >= window:
            count = -(-(filled - 1) // context)
            starts.append(start + np.arange(count) * (filled - window) // max(1, count - 1))
            start, filled = start + filled, 0
    if filled and size_D[size_D < window].sum() >= window:  # the last few: a window that ends where they end
        starts.append(np.array([start + filled - window]))
    return np.concatenate(starts)

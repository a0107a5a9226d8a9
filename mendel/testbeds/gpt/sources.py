"""From a training file to windows: documents and their sources, which are kept, in what mix, and how cut.

A window is `context + 1` tokens; none is padded, so every token of a batch is real and the loss stays a mean.

A training file is documents with one NUL byte between two. `sources.json` beside it, where there is one,
names the source of each: {"sources": [names], "documents": [place in names, one per document, in order]}.
Without it all documents are of one source, and a file without NUL bytes is one document.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizer

SIDECAR = "sources.json"
ALLOWED = {
    "tokenizer": ("bytes", "bpe"),
    "packing": ("stream", "documents"),
    "deduplicate": ("none", "exact", "near"),
}
GOLDEN = (5**0.5 - 1) / 2
GRAM = 32
"""Bytes that two documents must have in a row to have a gram in common."""
SAMPLED = 16
"""One gram of so many is looked at, chosen by its hash: the same ones in every document (Broder 1997)."""
NEAR = 0.8
"""Share of a document's grams, seen in earlier documents, that makes it a near duplicate."""

# Bytes of well-formed UTF-8 that are not control characters (tab, line ends and form feed are text).
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f")) + b"\x7f"


@dataclass(frozen=True)
class Documents:
    """Where the documents of a text lie, in order; D of them, of S sources."""

    names: tuple[str, ...]
    start_D: np.ndarray
    end_D: np.ndarray
    source_D: np.ndarray

    def keep(self, keep_D):
        return Documents(self.names, self.start_D[keep_D], self.end_D[keep_D], self.source_D[keep_D])


def one_document(data) -> Documents:
    """All of `data` as one document."""
    return Documents(("text",), np.array([0]), np.array([len(data)]), np.array([0]))


def read_documents(path: Path, data) -> Documents:
    """The documents of `data`, the bytes of `path`. ValueError for a sidecar that belongs to another text."""
    end_D = np.append(np.flatnonzero(np.asarray(data) == 0), len(data))
    start_D = np.append(0, end_D[:-1] + 1)
    sidecar = path.with_name(SIDECAR)
    if not sidecar.exists():
        return Documents(("text",), start_D, end_D, np.zeros(len(end_D), np.int64))
    try:
        listed = json.loads(sidecar.read_text())
        names, source_D = tuple(listed["sources"]), np.array(listed["documents"], np.int64)
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{sidecar}: it has no lists of sources and documents; delete it or mend it"
        ) from None
    if len(source_D) != len(end_D) or not ((source_D >= 0) & (source_D < len(names))).all():
        raise ValueError(f"{sidecar}: it lists {len(source_D)} documents, {path.name} holds {len(end_D)}")
    return Documents(names, start_D, end_D, source_D)


# --- which documents are kept ---------------------------------------------------------------------------


def select(data, documents: Documents, config):
    """The documents that the filters and deduplication leave, and how many each of them left out."""
    left_out = {}
    size_D = documents.end_D - documents.start_D
    texts = _Texts(data, documents)
    rules = {
        "min_bytes": lambda kept: size_D[kept] >= config.min_bytes,
        "max_bytes": lambda kept: size_D[kept] <= (config.max_bytes or np.inf),
        "max_non_text": lambda kept: texts.measure(non_text_share, kept) <= config.max_non_text,
        "max_repetition": lambda kept: texts.measure(repeated_share, kept) <= config.max_repetition,
        "deduplicate": lambda kept: ~DUPLICATES[config.deduplicate]([texts[i] for i in kept]),
    }
    kept = np.arange(len(size_D))
    for knob, rule in rules.items():
        if getattr(config, knob) == type(config).__dataclass_fields__[knob].default:
            continue
        passed = rule(kept)
        left_out[knob] = int((~passed).sum())
        kept = kept[passed]
    if len(kept) == 0:
        raise ValueError(f"the filters left none of {len(size_D)} documents; left out were {left_out}")
    return documents.keep(kept), left_out


class _Texts:
    def __init__(self, data, documents):
        self.data, self.documents = data, documents

    def __getitem__(self, i):
        return self.data[self.documents.start_D[i] : self.documents.end_D[i]].tobytes()

    def measure(self, share, kept):
        return np.array([share(self[i]) for i in kept])


def non_text_share(text: bytes) -> float:
    """Share of bytes that are control characters or no UTF-8."""
    readable = text.decode("utf-8", errors="ignore").encode()
    return 1 - len(readable.translate(None, _CONTROLS)) / max(1, len(text))


def repeated_share(text: bytes) -> float:
    """Share of bytes in lines that stood in the document before (Rae et al. 2021, appendix A.1.1)."""
    lines = [line for line in re.split(rb"\s*\n\s*", text.strip()) if line]
    return 1 - sum(map(len, set(lines))) / max(1, sum(map(len, lines)))


def exact_duplicates(texts):
    """Which texts stood before, (D,) bool."""
    seen = set()
    digests = [hashlib.sha256(text).digest() for text in texts]
    return np.array([digest in seen or seen.add(digest) is not None for digest in digests], bool)


def near_duplicates(texts):
    """Which texts are nearly all in earlier ones, (D,) bool: at least NEAR of their sampled grams. Unlike a
    MinHash of whole documents this finds a short text inside a long one too."""
    grams = [_grams(text) for text in texts]
    owner_N = np.repeat(np.arange(len(grams)), [len(gram_N) for gram_N in grams])
    gram_N = np.concatenate(grams)
    _, first_N, inverse_N = np.unique(gram_N, return_index=True, return_inverse=True)
    # `first_N` is the first occurrence, and documents come in order: its owner is the first to hold the gram.
    seen_N = owner_N[first_N][inverse_N] < owner_N
    seen_D = np.bincount(owner_N, seen_N, minlength=len(grams))
    total_D = np.bincount(owner_N, minlength=len(grams))
    return exact_duplicates(texts) | ((seen_D >= NEAR * total_D) & (total_D > 0))


DUPLICATES = {"exact": exact_duplicates, "near": near_duplicates}


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


# --- text, cut into windows ---------------------------------------------------------------------------------


@dataclass
class Text:
    """The text of a run, ready to be cut."""

    documents: Documents | None
    """In the order in which they lie in `tokens`; None where nobody has looked for them yet."""
    size_D: np.ndarray
    """Tokens of each document, the NUL that ends it included."""
    tokens: np.ndarray
    starts: dict[str, np.ndarray]
    """Where windows begin, for each stream: the sources of the mixture, or one stream without a name."""
    tokenizer: tokenizer.Bytes | tokenizer.BPE
    left_out: dict[str, int]
    """Documents left out, by knob."""

    def count(self, start_N, context: int):
        """Tokens of each source, (S,), in windows that begin at `start_N`. Where a window spans
        documents: the tokens of a source before a place grow linearly within its documents only."""
        edge_D = np.append(0, np.cumsum(self.size_D))
        first_N, last_N = (
            np.searchsorted(edge_D, start_N + ahead, "right") - 1 for ahead in (0, context - 1)
        )
        source_N = self.documents.source_D[first_N[first_N == last_N]]
        counted_S = context * np.bincount(source_N, minlength=len(self.documents.names)).astype(float)
        across_N = start_N[first_N < last_N]
        for source in range(len(counted_S)):
            own_D = np.append(0, np.cumsum(self.size_D * (self.documents.source_D == source)))
            before_N, after_N = (np.interp(across_N + ahead, edge_D, own_D) for ahead in (0, context))
            counted_S[source] += (after_N - before_N).sum()
        return counted_S


def plain_text(data, context: int, documents: Documents | None = None) -> Text:
    """The text as it is, in bytes: what all data knobs at their defaults make of it."""
    size_D = None if documents is None else documents.end_D - documents.start_D + 1
    return Text(documents, size_D, data, {"": cut_stream(len(data), context)}, tokenizer.Bytes(), {})


def arrange(data, documents: Documents, config) -> Text:
    """Filter, tokenise, order and cut the documents of `data` as the data knobs say. ValueError names the
    knob that cannot be served."""
    for knob, values in ALLOWED.items():
        if getattr(config, knob) not in values:
            raise ValueError(f"{knob} is {getattr(config, knob)!r}; allowed are {', '.join(values)}")
    by_source = bool(config.mixture or config.mixture_end)
    if config.mixture:  # else every source has its own share, at least to begin with
        weight_S = parse_mixture("mixture", config.mixture, documents.names)
        if config.mixture_end:
            weight_S += parse_mixture("mixture_end", config.mixture_end, documents.names)
        documents = documents.keep(weight_S[documents.source_D] > 0)
    documents, left_out = select(data, documents, config)
    texts = [data[a:b].tobytes() for a, b in zip(documents.start_D, documents.end_D, strict=True)]
    tokens = tokenizer.Bytes() if config.tokenizer == "bytes" else tokenizer.BPE.train(texts, config.vocab)
    token_D = [np.append(own, tokens.dtype(0)) for own in tokens.encode_all(texts)]
    size_D = np.array([len(own) for own in token_D])
    short_D = (size_D <= config.context) & (config.packing == "documents")
    stream_D = documents.source_D * by_source
    order_D = np.lexsort((np.arange(len(size_D)), short_D, stream_D))
    documents, size_D, stream_D = documents.keep(order_D), size_D[order_D], stream_D[order_D]
    starts, offset = {}, 0
    for stream in np.unique(stream_D):
        own_D = size_D[stream_D == stream]
        size = int(own_D.sum())
        if config.packing == "documents":
            cut = cut_documents(own_D, config.context)
        else:
            cut = cut_stream(size, config.context)
        name = documents.names[stream] if by_source else ""
        if by_source and len(cut) == 0:
            raise ValueError(f"source {name!r} has {size} tokens; a window needs {config.context + 1}")
        starts[name] = cut + offset
        offset += size
    row = np.concatenate([token_D[i] for i in order_D])
    return Text(documents, size_D, row, starts, tokens, left_out)


class Mixture:
    """Which stream each window comes from: weights that go linearly from `mixture` to `mixture_end` over the
    `windows` of the run. A knob that is empty means the sources as they are, by their tokens."""

    def __init__(self, text: Text, config, seed: int, windows: float | None):
        if config.mixture_end and not windows:
            raise ValueError("mixture_end needs to know how many tokens the run will read")
        self.windows = windows or 1.0
        names, streams = text.documents.names, list(text.starts)
        natural_S = np.bincount(text.documents.source_D, text.size_D, len(names)) / text.size_D.sum()
        weight_KS = np.array(
            [
                parse_mixture(knob, getattr(config, knob), names) if getattr(config, knob) else natural_S
                for knob in ("mixture", "mixture_end" if config.mixture_end else "mixture")
            ]
        )
        for name in np.array(names)[weight_KS.sum(0) > 0]:
            if name not in streams:
                raise ValueError(f"mixture: no document of source {str(name)!r} is left to read")
        self.begin_S, self.end_S = weight_KS[:, [names.index(name) for name in streams]]
        self.offset = np.random.default_rng([seed, 0x3113]).random()

    def streams(self, first: int, count: int):
        """The stream of each of `count` windows from number `first` on. A window's place in [0, 1) goes
        forward by the golden ratio (Weyl's sequence), so at any moment each source has had its share, to
        about one window."""
        number_N = np.arange(first, first + count)
        progress_N1 = np.minimum(1, number_N / self.windows)[:, None]
        weight_NS = (1 - progress_N1) * self.begin_S + progress_N1 * self.end_S
        place_N = (self.offset + number_N * GOLDEN) % 1
        return (place_N[:, None] >= weight_NS.cumsum(1)[:, :-1]).sum(1)


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
    window = context + 1
    long_D = size_D >= window
    first = int(long_D.sum())
    assert not long_D[first:].any(), "short documents come last"
    size_G, filled = list(size_D[:first]), 0
    for size in size_D[first:]:
        filled += int(size)
        if filled >= window:
            size_G.append(filled)
            filled = 0
    size_G = np.array(size_G, np.int64)
    start_G = np.cumsum(size_G) - size_G
    count_G = -(-(size_G - 1) // context)
    group_N = np.repeat(np.arange(len(size_G)), count_G)
    place_N = np.arange(len(group_N)) - np.repeat(np.cumsum(count_G) - count_G, count_G)
    spare_N = (size_G - window)[group_N]
    start_N = start_G[group_N] + place_N * spare_N // np.maximum(1, count_G[group_N] - 1)
    short = int(size_D[first:].sum())
    if filled and short >= window:  # the last few: a window that ends where they end
        start_N = np.append(start_N, int(size_D.sum()) - window)
    return start_N


def parse_mixture(knob: str, text: str, names) -> np.ndarray:
    """Weights of the sources `names`, summing to one, of `text` such as "docs:2,code:1"; sources that it does
    not name have none. ValueError names the knob, what was found and the sources there are."""
    weight_S = np.zeros(len(names))
    for part in text.split(","):
        name, _, weight = map(str.strip, part.rpartition(":"))
        if name not in names:
            known = ", ".join(names)
            raise ValueError(f"{knob} is {text!r}: no source {name or weight!r}; this text has {known}")
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight):
            raise ValueError(f"{knob} is {text!r}: the weight of {name} is {weight!r}; a number is needed")
        weight_S[list(names).index(name)] = float(weight)
    if not weight_S.sum() > 0:
        raise ValueError(f"{knob} is {text!r}: all weights are 0")
    return weight_S / weight_S.sum()

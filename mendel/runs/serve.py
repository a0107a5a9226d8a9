"""The child's side of a scoring session: answers frames of tokens with what the run's `score.py` says.

It stands in the process of the code under test, so nothing of it can be relied on: what the answers are worth
is found out on the other side of the socket (yardstick). Standard library only until a session begins.

Frames, little-endian: a header `<III` (kind, B, T), then B * T uint16 tokens. Kind 0 ends the session. Kind 1
asks for the targets: the reply is (1, B, T - 1) and float32 natural logarithms of the probabilities of
tokens[:, 1:]. Kind 2 asks what comes next: the reply is (2, B, V) and those of every token after each row.
"""

from __future__ import annotations

import importlib.util
import socket
import struct
import sys
from typing import Any

HEADER = struct.Struct("<III")
END, TARGETS, NEXT = range(3)
MAX_VOCAB = 1 << 16
BYTES = 256


def serve(path: str, out: str, sock: socket.socket) -> None:
    """Until the other side ends it. `path` is the score file, `out` what its `load` gets."""
    import numpy as np

    model = _load(path, out)
    stream = sock.makefile("rwb")
    while True:
        header = stream.read(HEADER.size)
        kind, batch, time = HEADER.unpack(header) if header else (END, 0, 0)
        if kind == END:
            return
        frame = np.frombuffer(stream.read(2 * batch * time), dtype="<u2")
        tokens = frame.reshape(batch, time).astype(np.int64)
        scores = _targets(model, tokens) if kind == TARGETS else _next(model, tokens)
        stream.write(HEADER.pack(kind, *scores.shape) + scores.tobytes())
        stream.flush()


def _load(path: str, out: str) -> Any:
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["score"] = module
    spec.loader.exec_module(module)
    return module.load(out)


def _targets(model: Any, tokens: Any) -> Any:
    """(B, T) -> (B, T - 1)."""
    expected = (tokens.shape[0], tokens.shape[1] - 1)
    scores = _array(model(tokens))
    if scores.shape != expected:
        raise ValueError(f"score.py returned shape {scores.shape}, expected {expected}")
    return scores


def _next(model: Any, tokens: Any) -> Any:
    """(B, T) -> (B, V)."""
    if not hasattr(model, "next_token"):
        return _enumerated(model, tokens)
    scores = _array(model.next_token(tokens))
    if scores.ndim != 2 or len(scores) != len(tokens) or not 1 <= scores.shape[1] <= MAX_VOCAB:
        raise ValueError(
            f"score.py: next_token returned shape {scores.shape}, expected ({len(tokens)}, 1 to {MAX_VOCAB})"
        )
    return scores


def _enumerated(model: Any, tokens: Any) -> Any:
    """For a score file without `next_token`: each row is asked with every byte after it, 256 rows for one."""
    import numpy as np

    candidates = np.arange(BYTES)[:, None]
    rows = [np.hstack([np.tile(row, (BYTES, 1)), candidates]) for row in tokens]
    return np.stack([_targets(model, row)[:, -1] for row in rows])


def _array(scores: Any) -> Any:
    import numpy as np

    return np.asarray(scores.detach() if hasattr(scores, "detach") else scores, dtype="<f4")

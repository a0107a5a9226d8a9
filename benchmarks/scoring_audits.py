"""How often the audits of the answers stop an honest model, and how often they see a gain of known size.

    python benchmarks/scoring_audits.py [--times 20] [--json]

Simulated models answer both sessions over the real wire: 128 windows of 512 predictions, every true
log-probability -5 nats, plus noise of a standard deviation in nats that is drawn for each position, each row,
or each frame, plus what a cheat adds: a gain at each position of the stream (`peek`), a gain of 4 nats at a
share of them (`rare`), or one that grows over 40 questions in both sessions (`learn`). Prints, for each
model, how many were stopped, by which audit, and the mean smallest gain that one run could have shown.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import threading
from collections import Counter

import numpy as np

from mendel.campaign.scoring import POSITIONS
from mendel.yardstick import Violation, ask_prefixes, ask_stream, check_prefixes, check_stream

WINDOWS, LENGTH, VOCAB = 128, 512, 256
HEADER = struct.Struct("<III")
HONEST = [
    {},
    {"position": 0.05},
    {"position": 0.3},
    {"position": 0.5},
    {"position": 0.1, "row": 0.1},
    {"position": 0.1, "frame": 0.1},
    {"frame": 0.2},
]
CHEATS = [
    {"peek": 0.005},
    {"rare": 0.01},
    {"rare": 0.005},
    {"position": 0.05, "peek": 0.01},
    {"position": 0.1, "peek": 0.02},
    {"position": 0.3, "peek": 0.03},
    {"position": 0.3, "peek": 0.06},
    {"position": 0.5, "peek": 0.1},
    {"learn": 0.02},
    {"position": 0.05, "learn": 0.02},
    {"position": 0.3, "learn": 0.1},
]


class Model:
    """Answers frames on one end of a socket, in a thread, until the other end says goodbye."""

    def __init__(self, settings: dict[str, float], windows: np.ndarray) -> None:
        self.settings, self.windows = settings, windows
        self.random, self.questions = np.random.default_rng(), 0
        self.ours, self.theirs = socket.socketpair()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with self.theirs, self.theirs.makefile("rwb") as stream:
            while True:
                kind, rows, columns = HEADER.unpack(stream.read(HEADER.size))
                if kind == 0:
                    return
                tokens = np.frombuffer(stream.read(2 * rows * columns), "<u2").reshape(rows, columns)
                answer = self.targets(tokens) if kind == 1 else self.following(tokens)
                stream.write(HEADER.pack(kind, *answer.shape) + answer.astype("<f4").tobytes())
                stream.flush()

    def log_p(self, rows: int, columns: int) -> np.ndarray:
        get = self.settings.get
        noise = get("position", 0) * self.random.standard_normal((rows, columns))
        noise += get("row", 0) * self.random.standard_normal((rows, 1))
        noise += get("frame", 0) * self.random.standard_normal()
        self.questions += 1
        return -5 + noise + get("learn", 0) * min(1, self.questions / 40)

    def targets(self, tokens: np.ndarray) -> np.ndarray:
        log_p = self.log_p(len(tokens), tokens.shape[1] - 1) + self.settings.get("peek", 0)
        # A function of the token and the one before it: a cheat that wants to look like a model.
        chosen = (tokens[:, 1:] * 263 + tokens[:, :-1]) % 997 < 997 * self.settings.get("rare", 0)
        return np.minimum(log_p + 4 * chosen, 0)

    def following(self, tokens: np.ndarray) -> np.ndarray:
        """Each window begins with its own number, so the real token is known and gets its probability."""
        target = self.windows[tokens[0, 0], tokens.shape[1]]
        real = min(float(self.log_p(1, 1)[0, 0]), -1e-6)
        answer = np.full((1, VOCAB), np.log1p(-np.exp(real)) - np.log(VOCAB - 1))
        answer[0, target] = real
        return answer


def judge(settings: dict[str, float]) -> tuple[str, float]:
    """Which audit stops a model, and the smallest gain that would have shown."""
    windows = np.random.default_rng().integers(0, VOCAB, (WINDOWS, LENGTH + 1), dtype=np.uint8)
    windows[:, 0] = np.arange(WINDOWS)
    answers = ask_stream(Model(settings, windows).ours, windows)
    try:
        check_stream(answers)
        prefixes = ask_prefixes(Model(settings, windows).ours, windows, answers, positions=POSITIONS)
        audits = check_prefixes(answers, prefixes)
    except Violation as found:
        return found.audit, next((float(a.evidence.get("detectable", 0)) for a in found.audits[1:2]), 0.0)
    return "", float(audits[1].evidence.get("detectable", 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="runs of each model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for kind, models in (("honest", HONEST), ("cheat", CHEATS)):
        for settings in models:
            found = [judge(settings) for _ in range(args.times)]
            stopped = Counter(audit for audit, _ in found if audit)
            detectable = float(np.mean([least for _, least in found]))
            row = {"kind": kind, "model": settings, "times": args.times, "stopped": dict(stopped)}
            rows.append(row | {"detectable": round(detectable, 4)})
            if not args.json:
                words = ", ".join(f"{key} {value:g}" for key, value in settings.items()) or "a function"
                by = ", ".join(f"{count} by {audit}" for audit, count in stopped.items())
                print(
                    f"{kind:7} {words:30} {sum(stopped.values()):3}/{args.times} {by}  ({detectable:.4f})",
                    flush=True,
                )
    if args.json:
        print(json.dumps({"schema": 1, "models": rows}))


if __name__ == "__main__":
    main()

"""A scorer process for the tests, honest or not: `python scorer.py FD BEHAVIOUR`. Standard library only."""

import array
import math
import random
import socket
import struct
import sys
import time


def receive(channel, size):
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


SEES = {  # the part of a row that decides the prediction of its token i
    "prefix": lambda row, i: row[: i + 1],
    "jitters": lambda row, i: row[: i + 1],
    "whole window": lambda row, i: row,
    "next token": lambda row, i: row[: i + 2],
    "chunk of 16": lambda row, i: row[(i - 1) // 16 * 16 :][:16],
}


def answer(behaviour, rows, columns, tokens):
    """The bytes of a reply."""
    targets = [t for i in range(rows) for t in tokens[i * columns + 1 : (i + 1) * columns]]
    uniform = -math.log(256)
    if behaviour == "by token":  # a different value for each target shows their order
        values = [-(t + 1) / 100 for t in targets]
    elif behaviour in SEES:
        rows_of_tokens = [tokens[i * columns : (i + 1) * columns] for i in range(rows)]
        values = [-sum(SEES[behaviour](row, i)) / 100 for row in rows_of_tokens for i in range(1, columns)]
        if behaviour == "jitters":
            values = [value - random.uniform(0, 5e-4) for value in values]
    else:
        values = [uniform] * len(targets)
    odd = {
        "nan": math.nan,
        "minus infinity": -math.inf,
        "infinity": math.inf,
        "above zero": 0.5,
        "rounded": 5e-5,
    }
    values[-1] = odd.get(behaviour, values[-1])
    shape = {"transposed": (columns - 1, rows), "too many": (rows, columns), "huge": (2**32 - 1, 2**32 - 1)}
    return struct.pack("<II", *shape.get(behaviour, (rows, columns - 1))) + array.array("f", values).tobytes()


def main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    behaviour = sys.argv[2]
    answers = 0
    while True:
        if behaviour == "dies":
            sys.exit(1)
        if behaviour == "never reads":
            time.sleep(60)
        rows, columns = struct.unpack("<II", receive(channel, 8))
        if rows == 0:
            print("done", flush=True)
            return
        reply = answer(behaviour, rows, columns, array.array("H", receive(channel, 2 * rows * columns)))
        if behaviour == "hangs":
            time.sleep(60)
        if behaviour == "dies halfway":
            channel.sendall(reply[: len(reply) // 2])
            return
        if behaviour == "drips":
            for i in range(len(reply)):
                channel.sendall(reply[i : i + 1])
                time.sleep(0.02)
        channel.sendall(reply)
        answers += 1
        if behaviour == "leaves early" and answers == 3:  # one batch, and the two of the probe
            return


if __name__ == "__main__":
    main()

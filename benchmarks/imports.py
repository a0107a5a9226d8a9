"""How long `mendel import` takes for each kind of source, and how much memory.

    python benchmarks/imports.py [--runs 10000] [--points 1000] [--kinds tensorboard,wandb,...] [--json FILE]

Writes runs with one metric and 20 knobs as each tracker lays them down (a minimal writer of each format, one
run at a time), imports them in a process of its own, and again, which adds nothing. Per kind: seconds, peak
memory of the process, megabytes read and written. --runs 1000 is enough to see the time a point takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np

KNOBS = 20
TABLE = ("--columns", "run=run", "step=step", "metric=loss")


def made(runs, points):
    """Name, configuration and losses of each run."""
    for number in range(runs):
        rng = np.random.default_rng([7, number])
        config = {f"knob{k}": float(value) for k, value in enumerate(rng.random(KNOBS))}
        losses = 3 * (np.arange(points) + 1.0) ** -0.1 + rng.normal(0, 0.01, points)
        yield f"run-{number:05}", config, losses.tolist()


def varint(value):
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def field(number, data):
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensorboard(folder, runs, points):
    for name, _, losses in made(runs, points):
        out = []
        for step, loss in enumerate(losses):
            value = field(1, b"train/loss") + b"\x15" + struct.pack("<f", loss)
            data = b"\x09" + struct.pack("<d", 1.7e9 + step) + field(2, step) + field(5, field(1, value))
            out.append(struct.pack("<Q4x", len(data)) + data + b"\0\0\0\0")
        (folder / name).mkdir()
        (folder / name / "events.out.tfevents.1700000000.host").write_bytes(b"".join(out))


def item(key, value, keyed):
    return field(1, field(keyed, key.encode()) + field(16, json.dumps(value).encode()))


def wandb(folder, runs, points):
    for number, (name, config, losses) in enumerate(made(runs, points)):
        settings = b"".join(item(key, value, 1) for key, value in config.items())
        records = [field(17, field(1, name.encode()) + field(4, settings) + field(8, name.encode()))]
        for step, loss in enumerate(losses):
            row = {"loss": loss, "_step": step, "_runtime": step * 0.1, "_timestamp": 1.7e9 + step}
            items = b"".join(item(key, value, 2) for key, value in row.items())
            records.append(field(2, items + field(2, field(1, step))))
        records.append(field(18, field(1, 0)))
        place = folder / f"offline-run-20260101_000000-{number:05}"
        place.mkdir()
        (place / f"run-{number:05}.wandb").write_bytes(blocks(records))


def blocks(records, size=32768):
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        first = True
        while True:
            left = size - len(out) % size
            if left < 7:
                out += b"\0" * left
                continue
            piece, record = record[: left - 7], record[left - 7 :]
            kind = (2 if record else 1) if first else (3 if record else 4)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            first = False
            if not record:
                break
    return bytes(out)


def mlruns(folder, runs, points):
    (folder / "1").mkdir()
    (folder / "1" / "meta.yaml").write_text("name: scale\nexperiment_id: '1'\n")
    for name, config, losses in made(runs, points):
        run = folder / "1" / name
        (run / "metrics").mkdir(parents=True)
        (run / "params").mkdir()
        (run / "meta.yaml").write_text(f"run_id: {name}\nstatus: 3\nstart_time: 1700000000000\n")
        for key, value in config.items():
            (run / "params" / key).write_text(repr(value))
        lines = [f"{1700000000000 + step} {loss!r} {step}\n" for step, loss in enumerate(losses)]
        (run / "metrics" / "loss").write_text("".join(lines))


def csv(folder, runs, points):
    with (folder / "points.csv").open("w") as stream:
        stream.write("run,step,loss,knob0\n")
        for name, config, losses in made(runs, points):
            stream.writelines(f"{name},{k},{loss!r},{config['knob0']}\n" for k, loss in enumerate(losses))


def jsonl(folder, runs, points):
    with (folder / "points.jsonl").open("w") as stream:
        for name, config, losses in made(runs, points):
            rows = (
                {"run": name, "step": k, "loss": loss, "knob0": config["knob0"]}
                for k, loss in enumerate(losses)
            )
            stream.writelines(json.dumps(row) + "\n" for row in rows)


KINDS = {
    "tensorboard": (tensorboard, "", ()),
    "wandb": (wandb, "", ()),
    "mlruns": (mlruns, "", ()),
    "csv": (csv, "points.csv", TABLE),
    "jsonl": (jsonl, "points.jsonl", TABLE),
}
"""Kind -> who writes it, the file that is imported (the folder where there is none), further arguments."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--work", type=Path, default=Path("imports-work"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {
        "command": " ".join(["python", "benchmarks/imports.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "runs": given.runs,
        "points": given.points,
        "kinds": {},
    }
    for kind in given.kinds.split(","):
        write, file, more = KINDS[kind]
        shutil.rmtree(given.work, ignore_errors=True)
        (given.work / kind).mkdir(parents=True)
        write(given.work / kind, given.runs, given.points)
        source = given.work / kind / file
        first, again = (imported(given.work, source, more) for _ in range(2))
        assert (first["new"], again["new"], again["unchanged"]) == (given.runs, 0, given.runs)
        told = {"seconds": first["seconds"], "seconds_again": again["seconds"], "peak_mb": first["peak_mb"]}
        told |= {"mb_read": size(given.work / kind), "mb_written": size(given.work / "imports")}
        found["kinds"][kind] = told
        print(kind, told, file=sys.stderr, flush=True)
    shutil.rmtree(given.work, ignore_errors=True)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def imported(work, source, more):
    command = [sys.executable, "-m", "mendel", "import", str(source), "--into", "runs", *more]
    command += ["--store", str(work), "--json"]
    start = time.perf_counter()
    with (work / "said.json").open("w+") as stream:
        process = subprocess.Popen(command, stdout=stream)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        stream.seek(0)
        said = json.load(stream)
    return said | {"seconds": time.perf_counter() - start, "peak_mb": usage.ru_maxrss / 1024}


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()

"""The command line of benchmarks that simulate so many trials a row. No benchmark itself."""

import argparse
import json


def run(doc, trials, of, measure, header, line):
    """Print `line(row)` of each row that `measure(trials)` returns below `header`, or one JSON object.

    `doc`: of the benchmark; `trials`: a row's, unless the command line says otherwise; `of`: what they are.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--trials", type=int, default=trials, help=f"{of} per row")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    rows = measure(arguments.trials)
    if arguments.json:
        print(json.dumps({"schema": 1, "command": vars(arguments), "rows": rows}))
        return
    print(header)
    for row in rows:
        print(line(row))

"""Runs the trainer's command line many times, each in a process of its own, forked from this one, which
has imported torch. Reads a scenario per line, as JSON, and answers each with a line: exit code, standard
error.

A scenario has "source" and "arguments", and may say what happens to the run right after the line of step
"step" is written: "signal" is sent to it, or, with "sync", SIGKILL ends it while the sync-th file from there
on is forced to the disk; "poison" makes a weight NaN; "room" is the size beyond which no file can grow.
"""

import importlib
import json
import os
import resource
import signal
import sys
import tempfile


def main():
    importlib.import_module("torch._dynamo")
    for line in sys.stdin:
        scenario = json.loads(line)
        with tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if child == 0:
                os.dup2(said.fileno(), 2)
                os._exit(run(scenario))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            print(json.dumps([code, said.read()]), flush=True)


def run(scenario):
    """The exit code of `python train.py ARGUMENTS`. The trainer's own code stays as it is."""
    sys.path[0] = scenario["source"]
    sys.argv = ["train.py", *scenario["arguments"]]
    sys.stdout = sys.stderr
    try:
        disturb(scenario, importlib.import_module("run").Run)
        return importlib.import_module("train").main()
    except SystemExit as error:
        return error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stderr.flush()


def disturb(scenario, plumbing):
    log = plumbing.log

    def log_and_disturb(self, step, *values):
        log(self, step, *values)
        if step != scenario.get("step"):
            return
        if "poison" in scenario:
            next(self.model.parameters()).data.view(-1)[0] = float("nan")
        if "room" in scenario:
            resource.setrlimit(resource.RLIMIT_FSIZE, (scenario["room"], resource.RLIM_INFINITY))
        self.metrics.flush()  # the worst case: lines that no checkpoint knows of have reached the file
        if "sync" in scenario:
            kill_at_sync(scenario["sync"])
        if "signal" in scenario:
            os.kill(os.getpid(), getattr(signal, scenario["signal"]))

    plumbing.log = log_and_disturb


def kill_at_sync(count):
    sync, left = os.fsync, [count]

    def sync_or_die(descriptor):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = sync_or_die


if __name__ == "__main__":
    main()

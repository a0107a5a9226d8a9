"""Starts the zygote by path, `python /path/to/mendel/runs/launch.py FD`, or one run behind the walls of an
engine, `... launch.py run REQUEST`.

The testbed's interpreter may lack mendel, and mendel's folder must not be on the path of the code under
test. So this makes the folder a package under a name of its own, without its `__init__.py`.
"""

import importlib
import json
import os
import sys
import types


def main() -> None:
    """Serves requests on the inherited socket FD until its other end closes, or is the run of REQUEST."""
    here = sys.path.pop(0)
    package = types.ModuleType("_mendel_runs")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    assert os.path.samefile(here, package.__path__[0])  # noqa: PTH121
    sys.modules["_mendel_runs"] = package
    if sys.argv[1] == "run":
        importlib.import_module("_mendel_runs.child").start(json.loads(sys.argv[2]))
    else:
        importlib.import_module("_mendel_runs.zygote").serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()

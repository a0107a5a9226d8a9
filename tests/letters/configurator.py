"""Overrides the globals of the script that executes this: files of assignments, and --name=value."""

import sys
from ast import literal_eval

for argument in sys.argv[1:]:
    if argument.startswith("--"):
        name, _, value = argument[2:].partition("=")
        if name not in globals():
            raise ValueError(f"unknown option {name}")
        try:
            globals()[name] = literal_eval(value)
        except (SyntaxError, ValueError):
            globals()[name] = value
    else:
        exec(open(argument).read())

"""Testbeds: the code being researched, reached only through a `testbed.toml`.

`gpt` ships here, and is loaded like anyone's: by reading its file. Nothing in mendel imports it.
"""

from mendel.testbeds.contract import (
    BUILT_IN,
    TestbedError,
    check_rung,
    load_testbed,
    parse_testbed,
    placeholders,
)

__all__ = [
    "BUILT_IN",
    "TestbedError",
    "check_rung",
    "load_testbed",
    "parse_testbed",
    "placeholders",
]

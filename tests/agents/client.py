"""The official client against a real `mendel mcp`, and every tool called for all that it tells."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp.client.stdio import StdioServerParameters

from mendel.agents import query, reading, seats, source, watching
from mendel.agents.desk import Desk

COMMAND = [sys.executable, "-c", "from mendel.cli import main; main()"]


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MENDEL_", "COLUMNS"))}
    return {**kept, "OMP_NUM_THREADS": "1"}


def server(folder: Path, *arguments: str) -> StdioServerParameters:
    """`mendel mcp` as a client starts it."""
    return StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "mcp", *arguments],
        cwd=folder,
        env=environment(),
    )


async def call(client: Any, tool: str, **arguments: Any) -> Any:
    """What a tool answers; it must not be an error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, said(result)
    assert json.loads(said(result)) == result.structured_content
    return result.structured_content


async def refusal(client: Any, tool: str, **arguments: Any) -> str:
    """The one line that a tool refuses with."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert "\n" not in said(result) and len(said(result)) < 600
    return said(result)


def said(result: Any) -> str:
    (part,) = result.content
    return part.text


# --- all that is told --------------------------------------------------------------------------------------

READ = (
    *("campaigns", "status", "ideas", "idea", "findings", "runs", "run_log"),
    *("list_source", "read_source", "search_source", "sql", "watch", "questions"),
)
"""The tools that `everything` calls."""


def everything(desk: Desk, campaign: str) -> dict[str, str]:
    """Call -> its answer as JSON, for every tool that reads and all that it can be asked for."""
    return {key: re.sub(r"\[(begin|end) [0-9a-f]{8}", r"[\1", text) for key, text in _all(desk, campaign)}


def _all(desk: Desk, campaign: str) -> Iterator[tuple[str, str]]:
    store = desk.store
    names = [entry.idea.name for entry in store.ideas(campaign)]
    yield "questions", json.dumps([one.model_dump() for one in seats.questions(desk, campaign)])
    yield "campaigns", reading.campaigns(desk).model_dump_json()
    yield "status", reading.status(desk, campaign).model_dump_json()
    for page in range(1 + len(names) // 20):
        yield f"ideas {page}", reading.ideas(desk, campaign, page=page).model_dump_json()
    for name in names:
        yield f"idea {name}", reading.idea(desk, name, campaign).model_dump_json()
        yield f"watch {name}", watching.watch(desk, 0, [name], 0, campaign).model_dump_json()
    for one in ("", campaign):
        yield f"findings {one}", reading.findings(desk, one).model_dump_json()
    runs = store.runs(campaign)
    for page in range(1 + len(runs) // 20):
        yield f"runs {page}", reading.runs(desk, campaign, page=page).model_dump_json()
    for run in runs:
        yield f"run_log {run.id}", reading.run_log(desk, run.id, campaign).model_dump_json()
    for of in ("original", "trunk"):
        listed = source.list_source(desk, of, campaign)
        yield f"list_source {of}", listed.model_dump_json()
        yield f"search_source {of}", source.search_source(desk, "seed", of, campaign).model_dump_json()
        for file in listed.files:
            text = source.read_source(desk, file.path, 1, of, campaign)
            yield f"read_source {of} {file.path}", text.model_dump_json()
    for table in query.TABLES:
        for start in range(0, 1 + len(runs), query.ROWS):
            select = f"SELECT * FROM {table} LIMIT {query.ROWS} OFFSET {start}"
            yield f"sql {table} {start}", query.sql(desk, select, [campaign]).model_dump_json()

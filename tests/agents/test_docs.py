"""What the documents for agents say is so."""

from __future__ import annotations

import re
from pathlib import Path

from mendel.agents import desk, query, watching, writing
from mendel.agents.server import READING, WRITING
from mendel.ideas import machine_written
from mendel.ideas.userfile import parse_ideas
from mendel.patches import read_tree
from mendel.patches.fit import misfit
from mendel.testbeds import load_testbed

DOCS = Path(__file__).parents[2] / "docs"
TOOLS = {tool.__name__ for tool in (*READING, *WRITING)}


def test_every_tool_is_described_and_no_other():
    table = (DOCS / "mcp.md").read_text().partition("## Tools")[2].partition("## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == TOOLS


def test_the_limits_are_those_of_the_code():
    text = (DOCS / "mcp.md").read_text()
    assert f"pages of {desk.PAGE} and" in text and f"{query.SECONDS:g} seconds, {query.ROWS} rows" in text
    assert f"waits up to {watching.LONGEST} s" in text
    assert f"{writing.MOST_WAITING} ideas of an agent" in text and f"{writing.MOST_TEXT:,} characters" in text


def test_the_skill_has_its_front_matter_and_an_idea_that_fits():
    text = (DOCS / "skill" / "SKILL.md").read_text()
    head = re.match(r"---\nname: ([a-z-]+)\ndescription: (.+)\n---\n", text)
    assert head and head[1] == "mendel" and 100 < len(head[2]) < 1024
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (idea,) = parse_ideas(example, ".toml", "SKILL.md")
    testbed = load_testbed("gpt")
    assert machine_written(idea)
    assert misfit(idea, [], read_tree(testbed), testbed.editable, None) is None
    named = set(re.findall(r"`([a-z]+_[a-z]+)`", text)) - {"answer_schema", "dry_run", "failed_run"}
    assert named <= TOOLS

"""SQL for agents: it answers questions, and does nothing else."""

from __future__ import annotations

import json
import sqlite3

import pytest

from mendel.agents import query
from mendel.agents.desk import Desk
from mendel.agents.query import TABLES, schema, sql
from mendel.campaign.config import ConfigError
from mendel.store import StoreError
from tests.report.campaigns import Builder, whole_campaign


def test_it_joins_what_the_tools_tell(desk: Desk):
    asked = (
        "SELECT i.name, i.state, count(v.plan) AS verdicts FROM ideas i "
        "LEFT JOIN verdicts v ON v.idea = i.name GROUP BY i.name ORDER BY verdicts DESC, i.name LIMIT 2"
    )
    found = sql(desk, asked)
    assert found.columns == ["name", "state", "verdicts"] and not found.cut
    assert found.rows == [["good", "adopted", 3], ["dropped", "dropped", 2]]


def test_every_table_is_there_with_the_columns_that_are_told(desk: Desk):
    assert {line.partition("(")[0] for line in schema().splitlines()} == TABLES.keys()
    for line in schema().splitlines():
        table, _, columns = line.removesuffix(")").partition("(")
        assert sql(desk, f"SELECT * FROM {table}").columns == columns.split(", ")


@pytest.mark.parametrize(
    "refused",
    [
        "DELETE FROM runs",
        "UPDATE ideas SET state = 'adopted'",
        "INSERT INTO events VALUES (1, 2, 3, 4, 5, 6)",
        "DROP TABLE runs",
        "CREATE TABLE mine (x)",
        "CREATE TEMP TABLE mine (x)",
        "ATTACH '{database}' AS other",
        "VACUUM INTO '{folder}/copy.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA table_list",
        "SAVEPOINT here",
        "BEGIN",
    ],
)
def test_a_statement_that_is_no_reading_is_refused(desk: Desk, built: Builder, refused: str):
    folder = built.store.root
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ConfigError, match="query: only reading is allowed: one SELECT on campaigns, ideas"):
        sql(desk, refused.format(database=folder / "mendel.db", folder=folder))
    assert sorted(path.name for path in folder.iterdir()) == before
    assert len(built.store.runs(built.id)) == len(sql(desk, "SELECT id FROM runs").rows)


@pytest.mark.parametrize("table", ["blanks", "main.blanks", "decisions", "costs", "held_out_openings"])
def test_tables_that_would_tell_too_much_are_not_there(desk: Desk, table: str):
    with pytest.raises(ConfigError, match="no such table: .*; the tables are campaigns"):
        sql(desk, f"SELECT * FROM {table}")
    with pytest.raises(ConfigError, match="no such table"):  # nor behind a name of one that is
        sql(desk, f"WITH runs AS (SELECT * FROM {table}) SELECT * FROM runs")


def test_one_statement_at_a_time(desk: Desk):
    with pytest.raises(ConfigError, match="one statement at a time"):
        sql(desk, "SELECT 1; DELETE FROM runs")
    with pytest.raises(ConfigError, match="it reads nothing"):
        sql(desk, "-- nothing")


def test_a_query_that_runs_for_ever_is_ended(desk: Desk, monkeypatch):
    """Nothing else would end this one."""
    monkeypatch.setattr(query, "SECONDS", 0.3)
    for_ever = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with pytest.raises(ConfigError, match="it took more than 0.3 seconds; ask for less"):
        sql(desk, for_ever)


def test_a_value_that_fills_the_memory_is_refused(desk: Desk):
    with pytest.raises(ConfigError, match="too big"):
        sql(desk, "SELECT zeroblob(100000000)")
    with pytest.raises(ConfigError, match="not authorized"):
        sql(desk, "SELECT load_extension('/tmp/x')")


def test_an_answer_is_cut_and_says_so(desk: Desk):
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT {} FROM c"
    found = sql(desk, numbers.format(1000, "x"))
    assert len(found.rows) == query.ROWS and found.cut
    assert not sql(desk, numbers.format(query.ROWS, "x")).cut
    wide = sql(desk, numbers.format(100, "printf('%.*c', 5000, 'x')"))
    assert wide.cut and sum(len(str(cell)) for row in wide.rows for cell in row) <= query.ANSWER
    assert all(len(row[0]) <= query.CELL + 2 for row in wide.rows)
    assert sql(desk, "SELECT x'00ff'").rows == [["2 bytes"]]


def test_several_campaigns_are_asked_at_once(desk: Desk, built: Builder, lab_root):
    first = built.campaign
    other = built.store.create_campaign("two", 2, "gpt", "gpt2", first.config, first.fingerprint)
    counted = "SELECT campaign, count(*) FROM ideas GROUP BY 1"
    assert sql(desk, counted).rows == [], "the latest one, which has no ideas"
    assert sql(desk, counted, [built.id, other.id]).rows == [[built.id, 9]]
    assert sql(desk, "SELECT id FROM campaigns ORDER BY created", [built.id, other.id]).rows == [
        [built.id],
        [other.id],
    ]
    with pytest.raises(StoreError, match="campaign 'nix': not in"):
        sql(desk, counted, ["nix"])


def test_lists_are_json(desk: Desk):
    (row,) = sql(desk, "SELECT adopted FROM campaigns").rows
    assert json.loads(row[0]) == ["good"]


def test_the_store_itself_is_never_opened_for_a_query(lab_root, monkeypatch):
    b = whole_campaign(lab_root / "lab")
    places, connect = [], sqlite3.connect

    def noted(place, *rest):
        places.append(place)
        return connect(place, *rest)

    monkeypatch.setattr(query.sqlite3, "connect", noted)
    sql(Desk(b.store, None), "SELECT 1")
    assert places == [":memory:"]
    b.store.close()

"""Transactions are whole, migrations are complete, and what goes wrong is said in one line."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from mendel.store import Store, StoreError
from mendel.store.migrations import HEAD, revision
from mendel.store.tables import Base

from .samples import a_run, an_idea, start


def in_another_process(code, *arguments):
    """Start Python with `code`; the caller reads its standard output line by line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# --- transactions -----------------------------------------------------------------------------------


def test_several_calls_happen_together_or_not_at_all(store, campaign):
    with pytest.raises(RuntimeError), store.transaction():
        store.decide(campaign, "screen/0", 1)
        store.enqueue(campaign, [a_run()], "screen")
        assert store.decision(campaign, "screen/0") == 1, "a transaction sees its own writes"
        raise RuntimeError
    assert store.decision(campaign, "screen/0") is None and store.runs(campaign) == []


def test_a_transaction_inside_another_joins_it(store, campaign):
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.decide(campaign, "inner", 1)
        raise RuntimeError
    assert store.decision(campaign, "inner") is None


def test_a_failed_part_cannot_be_swallowed(store, campaign):
    with (
        pytest.raises(StoreError, match="nothing of this transaction was kept.*has no idea"),
        store.transaction(),
    ):
        store.decide(campaign, "outer", 1)
        with pytest.raises(StoreError):
            store.set_idea_state(campaign, "nobody", "failed")
    assert store.decision(campaign, "outer") is None
    store.decide(campaign, "outer", 2)


def test_threads_have_transactions_of_their_own(store, campaign):
    seen = []
    with store.transaction():
        store.decide(campaign, "k", 1)
        reader = threading.Thread(target=lambda: seen.append(store.decision(campaign, "k")))
        reader.start()
        reader.join()
    assert seen == [None]


def test_threads_that_write_at_once_wait_for_each_other(tmp_path, campaign):
    with Store(tmp_path / "lab", timeout=60) as patient:  # however busy the machine is
        writers = [
            threading.Thread(target=lambda seed=seed: patient.enqueue(campaign, [a_run(seed)], "screen"))
            for seed in range(8)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(patient.runs(campaign)) == 8


# A decision and 40 runs belong together. The child says when it is in the middle of writing them.
ROUNDS = """
import sys
from pathlib import Path
from mendel.records import RunSpec
from mendel.store import Store

store, campaign = Store(Path(sys.argv[1])), sys.argv[2]
fields = dict(recipe="r", rung=0, tokens=1, shard="validation", fingerprint="f")
done = len(store.runs(campaign)) // 40
for number in range(done, done + 100000):
    specs = [RunSpec(seed=40 * number + k, **fields) for k in range(40)]
    with store.transaction():
        store.enqueue(campaign, specs[:20], "screen")
        store.decide(campaign, f"round/{number}", number)
        print("middle", flush=True)
        store.enqueue(campaign, specs[20:], "screen")
    print("kept", number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 8, 20])
def test_a_process_killed_inside_a_transaction_leaves_all_of_it_or_nothing(store, campaign, lines):
    child = in_another_process(ROUNDS, store.root, campaign)
    said = [child.stdout.readline() for _ in range(lines)]
    child.kill()
    said += child.stdout.read().splitlines()
    child.wait()
    seeds = [run.spec.seed for run in store.runs(campaign)]
    rounds, rest = divmod(len(seeds), 40)
    assert rest == 0 and seeds == list(range(40 * rounds))
    assert [store.decision(campaign, f"round/{number}") for number in range(rounds)] == list(range(rounds))
    assert store.decision(campaign, f"round/{rounds}") is None
    assert rounds >= sum(line.startswith("kept") for line in said), "what was kept stays"
    store.decide(campaign, "afterwards", 1)


# --- opening and migrating --------------------------------------------------------------------------


def test_a_new_database_has_the_schema_of_the_tables(store):
    with store.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert revision(connection) == HEAD


def test_opening_again_changes_nothing(store, campaign):
    def dump():
        with sqlite3.connect(store.root / "mendel.db") as connection:
            return list(connection.iterdump())

    before = dump()
    store.close()
    Store(store.root).close()
    assert dump() == before


def test_the_database_survives_power_cuts_and_checks_references(store):
    with store.transaction() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}


def test_a_database_of_a_newer_mendel_is_refused_and_left_alone(store):
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(StoreError, match=f"mendel.db: its schema is '9999', .*knows up to '{HEAD}'"):
        Store(store.root)


def test_a_migration_that_is_interrupted_leaves_an_empty_database(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from mendel.store import Store

@event.listens_for(Engine, "before_cursor_execute")
def die(conn, cursor, statement, *_):
    if "CREATE TABLE verdicts" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

Store(Path(sys.argv[1]))
"""
    assert in_another_process(code, tmp_path).wait() == -9
    with sqlite3.connect(tmp_path / "mendel.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    with Store(tmp_path) as store:
        start(store)


def test_processes_may_create_the_same_database_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from mendel.store import Store; Store(Path(sys.argv[1]))"
    children = [in_another_process(code, tmp_path) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4


def test_a_url_may_name_another_file(tmp_path):
    with Store(tmp_path / "lab", f"sqlite:///{tmp_path}/elsewhere.db") as store:
        start(store)
    assert (tmp_path / "elsewhere.db").exists() and not (tmp_path / "lab" / "mendel.db").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("not a url", "'not a url': not understood; allowed are sqlite"),
        ("oracle9://x/y", "allowed are sqlite:// and postgresql://"),
        ("postgresql+pg8000://user:secret@host/lab", r"user:\*\*\*@host/lab: the driver 'pg8000'"),
    ],
)
def test_a_bad_url_is_explained_without_its_password(tmp_path, url, told):
    with pytest.raises(StoreError, match=told):
        Store(tmp_path, url)


# --- errors a user can act on -----------------------------------------------------------------------


def test_a_locked_database_is_an_error_after_the_timeout_and_then_recovers(store, campaign):
    with sqlite3.connect(store.root / "mendel.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"mendel.db: locked by another process for more than 0.2 s"):
            store.event(campaign, "screen", "hello")
        assert store.events(campaign) == [], "reading goes on while another writes"
        other.execute("ROLLBACK")
    store.event(campaign, "screen", "hello")
    assert len(store.events(campaign)) == 1


def test_a_reader_opens_the_store_while_another_process_writes(store, campaign):
    with sqlite3.connect(store.root / "mendel.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with Store(store.root, timeout=0.1) as reader:
            assert reader.campaign().id == campaign
        other.execute("ROLLBACK")


def test_a_database_that_is_locked_on_opening_is_the_same_error(store):
    store.close()
    with sqlite3.connect(store.root / "mendel.db", isolation_level=None) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another process"):
            Store(store.root, timeout=0.1)


def test_a_full_database_keeps_what_it_had_and_says_so(store, campaign):
    store.add_ideas(campaign, [an_idea()])

    def shrink(connection, _):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(store._engine, "connect", shrink)
    store._engine.dispose()
    with pytest.raises(StoreError, match=r"mendel.db: .*full \([\d,]+ bytes free.*make room") as told:
        store.enqueue(campaign, [a_run(seed) for seed in range(5000)], "screen")
    assert "\n" not in str(told.value)
    assert store.runs(campaign) == [] and len(store.ideas(campaign)) == 1


FULL_DISK = """
import sys
from pathlib import Path
from mendel.records import RunSpec
from mendel.store import Store, StoreError
sys.path.insert(0, sys.argv[2])
from samples import start, a_run

root = Path(sys.argv[1]) / "lab"
store = Store(root)
campaign = start(store)
try:
    store.save_tree({"model.py": "x" * 10_000_000})
except StoreError as error:
    print(error)
print([path.name for path in (root / "trees").iterdir()])
try:
    for seed in range(0, 100_000, 1000):
        store.enqueue(campaign, [a_run(k) for k in range(seed, seed + 1000)], "screen")
except StoreError as error:
    print(error)
print(len(store.runs(campaign)) % 1000)
"""


def test_a_disk_that_is_really_full(tmp_path):
    mount = f"mount -t tmpfs -o size=3m none {tmp_path} 2>/dev/null || exit 77; "
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    samples = Path(__file__).parent
    told = subprocess.run(
        [*namespace, "sh", "-c", mount + '"$@"', "sh", sys.executable, "-c", FULL_DISK, tmp_path, samples],
        capture_output=True,
        text=True,
    )
    if told.returncode in (1, 77) and not told.stdout:
        pytest.skip(f"no small disk can be mounted here: {told.stderr.strip()}")
    tree, trees, database, remainder = told.stdout.splitlines()
    assert "trees" in tree and "the disk is full (" in tree and "make room" in tree
    assert trees == "[]", "a tree that did not fit leaves nothing behind"
    assert "mendel.db" in database and "bytes free" in database and "make room" in database
    assert remainder == "0"


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "mendel.db").write_text("these are notes\n" * 100)
    with pytest.raises(StoreError, match="mendel.db: file is not a database; restore it"):
        Store(tmp_path)


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/lab: Not a directory"):
        Store(tmp_path / "file" / "lab")

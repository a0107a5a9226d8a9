"""The `mendel` command, mostly in processes of its own: output, exit codes, bad input."""

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import toy

from mendel import __version__
from mendel.campaign.config import read_config
from mendel.campaign.session import INPUTS, make_inputs
from mendel.cli import main
from mendel.store import CampaignState, Store
from mendel.testbeds import load_testbed

IDEAS = (*toy.GOOD, *toy.NULL, toy.idea("crashing", {"fail": "crash"}))
SETTINGS = """\
testbed = "{testbed}"
data = "{data}"
ideas = "ideas.toml"
budget = "100runs"
workers = 2
{more}
[policy]
curve_seeds = 2
max_pairs = 8
estimate_pairs = 4
verify_pairs = 4
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    # No width of a terminal, and one thread: what the tests read must not depend on where they run.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MENDEL_", "COLUMNS"))}
    return subprocess.Popen(
        [sys.executable, "-c", "from mendel.cli import main; main()", *arguments],
        cwd=folder,
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mendel(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = start(folder, *arguments, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def mendel_here(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The same of the command in this process: a new one takes a second to load what is loaded here."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with inside(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code or 0
    return code, out.getvalue(), err.getvalue()


def one_object(out: str) -> dict:
    found = json.loads(out)  # fails if anything else stands there
    assert found["schema"] == 1
    return found


@pytest.fixture(scope="module")
def place(toy_data, fast_disk):
    """place(name, more=""): a working folder with settings, ideas and data."""

    def make(name: str, more: str = "", **values: str) -> Path:
        folder = fast_disk / f"cli-{name}"
        folder.mkdir()
        toy.write_ideas(folder / "ideas.toml", IDEAS)
        shutil.copytree(toy_data, folder / "data")
        values = {"testbed": str(toy.TESTBED), "data": "data", "more": more, **values}
        (folder / "mendel.toml").write_text(SETTINGS.format(**values))
        return folder

    return make


@contextlib.contextmanager
def inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def with_campaign(folder: Path) -> str:
    """A campaign of the folder's own settings, that `mendel run` there finds, all its runs done; its id."""
    with inside(folder):
        settings = read_config(None, {})
        store, campaign, _ = toy.run_fake(settings, folder / ".mendel")
        with store:
            inputs = make_inputs(
                load_testbed(settings.testbed), [one.idea for one in store.ideas(campaign.id)]
            )
            store.decide(campaign.id, INPUTS, inputs)
            store.set_state(campaign.id, CampaignState.STOPPED)
    return campaign.id


@pytest.fixture(scope="module")
def finished(place):
    """A folder where `mendel run --json` came to its end, and what it printed."""
    folder = place("finished")
    code, out, err = mendel(folder, "run", "--json")
    assert (code, err) == (0, "")
    return folder, one_object(out)


# --- what the commands print ----------------------------------------------------------------------------


def test_run_prints_what_came_out_under_its_documented_keys(finished):
    folder, found = finished
    assert [row["id"] for row in found["adopted"]] == ["good-source", "good-knob"]
    for row in found["adopted"]:
        assert 1 < row["cm_low"] < row["cm"] < row["cm_high"]
    assert 2 < found["trunk_cm_low"] < found["trunk_cm"] < found["trunk_cm_high"] < 3
    assert (found["blanks_planted"], found["blanks_claimed"]) == (0, 0)
    assert 40 < found["runs"] <= 100 and 0 < found["loop_seconds"] < 120
    assert 0 < found["overhead_fraction"] < 1
    report = Path(found["report"])
    assert report.is_relative_to(folder) and report.read_text().lstrip().lower().startswith("<!doctype html>")


def test_an_idea_that_does_not_run_fails_and_the_campaign_goes_on(finished):
    folder, found = finished
    with Store(folder / ".mendel") as store:
        state, note = toy.states(store, found["campaign"])["crashing"]
    assert (state, note[:18]) == ("failed", "smoke run crashed:")


def test_every_command_prints_one_object_with_json(finished, tmp_path):
    folder, found = finished
    commands = {
        "again": (folder, "run", "--json"),
        "status": (folder, "status", "--json"),
        "idea": (folder, "show", "good-knob", "--json"),
        "report": (folder, "report", "--out", str(tmp_path / "report.html"), "--json"),
        "list": (folder, "ideas", "list", "--file", "ideas.toml", "--json"),
        "catalog": (folder, "ideas", "list", "--json"),
        "one": (folder, "ideas", "show", "qk-norm", "--json"),
        "doctor": (folder, "doctor", "--json"),
        "init": (tmp_path, "init", "--testbed", str(toy.TESTBED), "--json"),
    }
    ran = {
        name: (mendel if name in ("again", "doctor") else mendel_here)(*command)
        for name, command in commands.items()
    }
    assert {name: (code, err) for name, (code, _, err) in ran.items()} == dict.fromkeys(ran, (0, ""))
    objects = {name: one_object(out) for name, (_, out, _) in ran.items()}
    assert objects["again"] == found, "a finished campaign says the same again"
    assert {key: found[key] for key in objects["status"]} == objects["status"]
    assert objects["idea"]["id"] == "good-knob"
    assert objects["report"] == {"schema": 1, "report": str(tmp_path / "report.html")}
    assert len(objects["list"]["ideas"]) == len(IDEAS) and len(objects["catalog"]["ideas"]) >= 40
    assert objects["one"]["name"] == "qk-norm"
    assert objects["doctor"]["sandbox"]["chosen"] in objects["doctor"]["sandbox"]["backends"]
    assert objects["init"]["config"] == "mendel.toml"
    with inside(tmp_path):
        assert read_config(None, {}).testbed == str(toy.TESTBED), "what init writes can be read"


def test_the_doctor_considers_the_sandbox_that_mendel_toml_names(tmp_path):
    (tmp_path / "mendel.toml").write_text('sandbox = "landlock"\n')
    code, out, err = mendel(tmp_path, "doctor", "--json")
    assert (code, err) == (0, "")
    backends = one_object(out)["sandbox"]["backends"]
    assert backends["landlock"]["checks"] and not backends["namespaces"]["checks"]


def test_in_a_pipe_there_are_plain_lines(finished):
    folder, found = finished
    code, out, err = mendel(folder, "status")
    assert (code, err) == (0, "")
    assert f"Campaign {found['campaign']} (seed 1, plain): finished" in out.splitlines()
    assert out.isascii() or not set(out) & set("┏│━\x1b")
    assert any(line.startswith("Adopted good-source: CM 1.6") for line in out.splitlines())
    assert found["ended"].startswith("no further rounds: ")
    assert f"N{found['ended'][1:]}." in out.splitlines()
    assert found["ended"] in Path(found["report"]).read_text().partition("<main>")[0]


def test_help_opens_with_the_six_commands_that_matter():
    code, out, err = mendel(Path("/"), "--help")
    assert (code, err) == (0, "")
    places = [out.index(f" {name} ") for name in ("demo", "init", "run", "status", "show", "report")]
    assert places == sorted(places)
    assert max(places) < min(out.index(f" {name} ") for name in ("ideas", "doctor"))
    assert "Exit codes: 0 done, 1 lab failure, 2 bad input, 3 missing library, 130 stopped" in out


def test_the_package_is_the_command_too():
    ran = subprocess.run([sys.executable, "-m", "mendel", "--version"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, __version__)


# --- bad input --------------------------------------------------------------------------------------------


def _bad(place, tmp_path_factory) -> dict[str, tuple]:
    """Name -> (exit code, what the one line must hold, folder, arguments...)."""
    plain = place("bad")
    malformed = place("malformed")
    (malformed / "ideas.toml").write_text((malformed / "ideas.toml").read_text() + "\n[[idea]]\nnme = 3\n")
    empty, torn = plain / "empty", plain / "torn"
    empty.mkdir()
    torn.mkdir()
    (torn / "a.txt").write_bytes(b"fine until here \xff")
    typo = place("typo", more="bugdet = 3")
    misspelt = place("misspelt")
    more = [toy.idea("slip", {"gian_a": 1.5}), toy.idea("other", edits=[("score.py", "load", "lead")])]
    toy.write_ideas(misspelt / "ideas.toml", [*IDEAS, *more])
    knobs = "gain_a, gain_b, gain_c, label, init_stream, boast, spin, fail (nor do these fit: other)"
    needy = plain / "needy"
    shutil.copytree(toy.TESTBED, needy)
    toml = (needy / "testbed.toml").read_text()
    (needy / "testbed.toml").write_text(toml.replace('["numpy"]', '["no_such_library"]'))
    odd = plain / "odd"
    shutil.copytree(toy.TESTBED, odd)
    (odd / "testbed.toml").write_text(toml.replace('editable = ["train.py"]', 'editable = ["model.py"]'))
    allowed = "allowed are times (90s, 20m, 1.5h) and runs (300runs)"
    return {
        "rung": (2, ["testbed.toml: rung 7 is unknown; allowed are 0 to 1"], plain, "run", "--rungs", "7"),
        "rungs": (2, ["command line: rungs: 'x' is not understood"], plain, "run", "--rungs", "x"),
        "ideas": (
            2,
            ["ideas.toml: idea 6: nme: unknown key; did you mean name? allowed are name"],
            malformed,
            "run",
        ),
        "no ideas": (2, ["nix.toml: cannot be read"], plain, "run", "--ideas", "nix.toml"),
        "budget": (2, ["command line: budget", "'soon'", allowed], plain, "run", "--budget", "soon"),
        "misfit": (
            2,
            ["ideas.toml: idea 'slip'", "no knob 'gian_a'; did you mean gain_a?", knobs],
            misspelt,
            "run",
        ),
        "small": (2, ["budget", "5 runs is too small"], plain, "run", "--budget", "5runs"),
        "key": (
            2,
            ["mendel.toml: bugdet: unknown key (found 3)", "did you mean budget? allowed are goal"],
            typo,
            "run",
        ),
        "testbed": (2, ["nix/testbed.toml: no such file", "gpt"], plain, "run", "--testbed", "nix"),
        "odd": (2, ["odd/testbed.toml: editable: 'model.py' is not"], plain, "run", "--testbed", "odd"),
        "recipe": (2, ["recipe 'nix' is not in", "plain, flat"], plain, "run", "--recipe", "nix"),
        "data": (2, ["nowhere': there is no such folder"], plain, "run", "--data", "nowhere"),
        "empty": (2, ["empty' holds no readable file", ".jsonl"], plain, "run", "--data", "empty"),
        "torn": (2, ["torn/a.txt: not UTF-8 at byte offset 16"], plain, "run", "--data", "torn"),
        "library": (3, ["needy/testbed.toml", "'no_such_library'"], plain, "run", "--testbed", "needy"),
        "option": (2, ["--bogus"], plain, "run", "--bogus", "3"),
        "idea": (2, ["'nix' is not in the catalog; allowed are"], plain, "ideas", "show", "nix"),
        "no lab": (2, ["no lab here yet", "mendel run"], torn, "status"),
    }


@pytest.fixture(scope="module")
def refused(place, tmp_path_factory):
    cases = _bad(place, tmp_path_factory)
    return {name: (case, mendel_here(*case[2:])) for name, case in cases.items()}


BAD = (
    *("rung", "rungs", "ideas", "no ideas", "budget", "misfit", "small", "key", "testbed", "odd", "recipe"),
    *("data", "empty", "torn", "library", "option", "idea", "no lab"),
)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_that_says_what_is_wrong(refused, name):
    (wanted, texts, *_), (code, out, err) = refused[name]
    assert (code, out if name not in ("misfit", "small") else "") == (wanted, "")
    assert err.count("\n") == 1 and err.startswith("mendel: "), err
    for text in texts:
        assert text in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "nix"), "campaign 'nix': not in"),
        (("show", "nix"), "'nix'"),
        (("report", "nix"), "campaign 'nix': not in"),
    ],
)
def test_unknown_names_are_told_with_those_that_are_known(finished, arguments, message):
    folder, found = finished
    code, out, err = mendel(folder, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err and found["campaign"] in err


@pytest.mark.parametrize("what", ["source", "copy"])
def test_a_corpus_that_changed_under_a_campaign_stops_it_and_nothing_is_lost(place, what):
    folder = place(f"changed-{what}")
    campaign = with_campaign(folder)
    file = folder / "data" / "03.txt"
    if what == "copy":
        (file,) = folder.glob(".mendel/corpora/*/train/train.bin")
    before = file.read_bytes()
    file.write_bytes(before[:-9] + b" changed!")
    code, out, err = mendel(folder, "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("corpus changed under the campaign" if what == "source" else f"{file}: the corpus changed") in err
    file.write_bytes(before)
    with Store(folder / ".mendel") as store:
        assert [found.id for found in store.campaigns()] == [campaign]
    if what == "source":
        code, out, err = mendel(folder, "run", "--json")
        assert (code, err, one_object(out)["campaign"]) == (0, "", campaign)


def test_a_locked_database_is_told_with_who_holds_it(place):
    folder = place("locked")
    with_campaign(folder)
    holder = sqlite3.connect(folder / ".mendel" / "mendel.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert mendel(folder, "status", "--json")[0] == 0, "reading goes on"
        code, out, err = mendel(folder, "run", MENDEL_DATABASE_TIMEOUT="0.2")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{folder}/.mendel/mendel.db: locked by another process for more than 0.2 s" in err
    finally:
        holder.close()

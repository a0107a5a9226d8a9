"""Adopted changes come back as commits, to be taken one by one; what they came from stays as it is."""

import re
import shutil
from pathlib import Path

import exports
import pytest
import toy
from exports import everything, files_at, git, make_repository
from test_cli import mendel, one_object

from mendel.campaign import session
from mendel.campaign.config import Settings
from mendel.campaign.export import Asked, export
from mendel.campaign.progress import Progress
from mendel.campaign.session import ORIGIN
from mendel.campaign.summary import summarise, trunk_points
from mendel.store import Store

REAL = ("first", "second", "third", "source")


def trunk_tree(store, id):
    """The source of the campaign's trunk, with the one knob that has a literal."""
    recipe = store.recipe(trunk_points(store, store.campaign(id))[-1]["recipe"])
    tree = store.load_tree(recipe.tree)
    assert recipe.overrides == {"gain_a": 1.5, "gain_b": 1.5, "gain_c": 1.4}
    assert tree["train.py"].count(exports.DEFAULT) == 1
    return tree | {"train.py": tree["train.py"].replace(exports.DEFAULT, "gain_a = 1.5")}


def rows(found):
    return {row["idea"]: row for row in found["commits"]}


# --- a branch -----------------------------------------------------------------------------------------


def test_every_adopted_change_is_a_commit_on_what_the_campaign_began_with(taken):
    store, id, top, _ = taken()
    found = export(store, None, Asked())
    head = git(top, "rev-parse", "HEAD")
    assert (found["campaign"], found["base"], found["applies_on_head"]) == (id, head, True)
    repository = Path(found["repository"])
    assert repository == store.root / "exports" / id / "repository"
    log = git(repository, "log", "--format=%H %P", f"refs/heads/mendel/{id}", f"^{head}").splitlines()
    commits = [row["commit"] for row in found["commits"]]
    assert [line.split() for line in log] == [
        list(pair) for pair in zip(commits[::-1], [*commits[:-1][::-1], head], strict=True)
    ]
    assert sorted(rows(found)) == sorted(REAL)
    last = files_at(repository, commits[-1])
    assert {path: last[path] for path in ("train.py", "score.py")} == trunk_tree(store, id)
    assert last["notes.txt"] == "mine\n", "what is not of the testbed stays"


def test_the_users_repository_is_left_as_it_was(taken):
    store, _, top, _ = taken()
    (top / "train.py").touch()  # git would like to refresh its index
    before = everything(top)
    for asked in (Asked(), Asked(patches=True), Asked(claimed=True)):
        export(store, None, asked)
    assert everything(top) == before
    assert not (top / "hook-ran").exists()


def test_a_commit_states_the_numbers_of_its_finding_and_no_others(taken):
    store, id, top, _ = taken()
    found = export(store, id, Asked())
    summary = summarise(store, store.campaign(id))
    findings = {one.idea.name: one for one in store.findings(id)}
    assert {name for name, row in rows(found).items() if row["claimed"]} == set(findings)
    assert [name for name, row in rows(found).items() if not row["claimed"]] == summary["carried"]
    for name, row in rows(found).items():
        said = git(Path(found["repository"]), "show", "--no-patch", "--format=%B", row["commit"])
        trailers = git(Path(found["repository"]), "show", "-s", "--format=%(trailers:unfold)", row["commit"])
        flat = " ".join(said.split())
        if name in findings:
            finding = findings[name]
            value, low, high = (
                2**x for x in (finding.log2_cm.value, finding.log2_cm.low, finding.log2_cm.high)
            )
            assert (row["cm"], row["low"], row["high"]) == (value, low, high)
            assert re.search(rf"^Mendel-CM: {value:.2f} \[{low:.2f}, (> )?{high:.2f}\]$", trailers, re.M)
            assert all(f"Mendel-Verdict: {one}" in trailers for one in finding.verdicts)
            assert (
                " ".join(finding.refuted_by.split()) in flat and "claimed; the campaign's false-disc" in flat
            )
            assert "confirmation: better" in flat and "on held-out text, gain +" in flat
            assert re.search(r"\] bits per byte; audits passed: [a-z, ]*compute", flat)
        else:
            assert (row["cm"], row["low"], row["high"]) == (None, None, None)
            assert "Mendel-CM" not in trailers and "not claimed by itself" in flat
        assert "scored by the lab and not by the code under test" in flat and "Caveat" not in flat
        assert f"corpus {store.campaign(id).fingerprint.corpus}" in flat
        assert f"Mendel-Idea: {name}\nMendel-Campaign: {id}\n" in trailers
        assert len(said.splitlines()[0]) <= 72 and said.startswith(f"Adopt {name}: ")
        assert max(map(len, said.splitlines())) <= 110
    author = git(top, "-C", found["repository"], "log", "-1", "--format=%an <%ae> %cn", found["branch"])
    assert author == "Ada Love <ada@example.org> Ada Love"


def test_a_knob_with_one_literal_is_changed_there_and_another_leaves_an_empty_commit(taken):
    store, _, _, _ = taken()
    found = export(store, None, Asked())
    repository = Path(found["repository"])
    knob = git(repository, "show", "--format=", "-U0", rows(found)["first"]["commit"])
    assert knob.splitlines()[-2:] == ["-gain_a = 1.0  # é", "+gain_a = 1.5  # é"]
    assert (rows(found)["first"]["override"], rows(found)["first"]["empty"]) == ({}, False)
    second = rows(found)["second"]
    assert (second["override"], second["empty"]) == ({"gain_b": 1.5}, True)
    said = git(repository, "show", "--format=%B", second["commit"])
    assert "Mendel-Override: gain_b=1.5" in said and "No file changes" in said and "diff --git" not in said
    assert "no literal in the source is the default of gain_b" in " ".join(said.split())
    assert "To be set on the command line: --set gain_b=1.5 (" in " ".join(said.split())
    assert any("second needs --set gain_b=1.5 on the command line" in note for note in found["notes"])


def test_exporting_again_gives_the_same_commits(taken, lab_root, monkeypatch):
    store, _, _, _ = taken()
    first = export(store, None, Asked())
    monkeypatch.chdir(lab_root)
    (lab_root / "home" / ".gitconfig").write_text("[core]\nautocrlf = true\n[diff]\nnoprefix = true\n")
    assert export(store, None, Asked()) == first
    shutil.rmtree(store.root / "exports")
    assert export(store, None, Asked()) == first
    elsewhere = export(store, None, Asked(to=lab_root / "there", branch="adopted/now"))
    assert elsewhere["commits"] == first["commits"] and elsewhere["repository"] == str(lab_root / "there")
    assert git(lab_root / "there", "rev-parse", "adopted/now") == first["commits"][-1]["commit"]
    assert export(store, None, Asked(to=lab_root / "there"))["commits"] == first["commits"]


def test_the_printed_commands_take_the_series(taken):
    store, id, top, _ = taken()
    found = export(store, None, Asked())
    for name in ("fetch", "all"):
        git(top, *found["take"][name].split()[1:])
    last = files_at(top, "HEAD")
    assert {path: last[path] for path in ("train.py", "score.py")} == trunk_tree(store, id)
    subjects = git(top, "log", "--reverse", "--format=%s", f"{found['base']}..HEAD").splitlines()
    assert subjects == [row["subject"] for row in found["commits"]]


# --- patches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "research/toy/"])
def test_patches_apply_on_the_recorded_commit_and_give_the_trunks_tree(taken, lab_root, prefix):
    store, id, top, _ = taken(prefix)
    found = export(store, None, Asked(patches=True, to=lab_root / "patches"))
    names = [Path(path).name for path in found["patches"]]
    changes = [row for row in found["commits"] if not row["empty"]]
    assert [name[:5] for name in names] == [f"{i:04}-" for i in range(1, len(changes) + 1)]
    assert sorted(map(str, (lab_root / "patches").iterdir())) == found["patches"]
    clone = lab_root / "clone"
    git(lab_root, "clone", "--quiet", str(top), str(clone))
    git(clone, "checkout", "--quiet", found["source"]["commit"])
    git(clone, "-c", "user.name=R", "-c", "user.email=r@r", "am", *found["patches"])
    last = files_at(clone, "HEAD", prefix)
    assert {path: last[path] for path in ("train.py", "score.py")} == trunk_tree(store, id)
    assert git(clone, "rev-parse", "HEAD^{tree}") == git(
        Path(found["repository"]), "rev-parse", f"{found['branch']}^{{tree}}"
    )
    subjects = git(clone, "log", "--reverse", "--format=%s", f"{found['base']}..HEAD").splitlines()
    assert subjects == [row["subject"] for row in changes]
    sly = git(clone, "log", "-1", "--format=%B", "--grep=Mendel-Idea: source")
    assert "Mendel-Campaign" in sly and not re.search("^(---|diff|Mendel-CM: 9.99)", sly, re.M)
    assert "\x1b" not in sly


# --- where the source was -----------------------------------------------------------------------------


def test_what_was_not_committed_is_the_first_commit(place, lab_root):
    store, id, top, folder = place()
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text.replace("# é", "# e"))
    (folder / "score.py").chmod(0o755)
    make_repository(top)
    git(top, "rm", "--quiet", "--cached", "score.py")
    git(top, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "without")
    (folder / "train.py").write_text(text)
    exports.came_from(store, id, folder)
    found = export(store, None, Asked(patches=True))
    assert found["source"]["dirty"] == ["train.py", "score.py"]
    first = found["commits"][0]
    assert (first["idea"], first["subject"]) == (None, "What was not committed when the campaign began")
    assert files_at(found["repository"], first["commit"])["train.py"] == text
    assert any("begins with what was not committed" in note for note in found["notes"])
    clone = lab_root / "clone"
    git(lab_root, "clone", "--quiet", str(top), str(clone))
    git(clone, "-c", "user.name=R", "-c", "user.email=r@r", "am", *found["patches"])
    last = files_at(clone, "HEAD")
    assert {path: last[path] for path in ("train.py", "score.py")} == trunk_tree(store, id)


def test_a_source_without_git_becomes_a_repository_that_begins_with_it(place):
    store, id, _, folder = place(commit=False)
    exports.came_from(store, id, folder)
    found = export(store, None, Asked())
    assert found["source"]["repository"] is None and "not a git repository" in found["source"]["reason"]
    repository = Path(found["repository"])
    assert git(repository, "log", "-1", "--format=%s|%an <%ae>", found["base"]) == (
        "The source as the campaign found it|Mendel <mendel@localhost>"
    )
    assert files_at(repository, found["base"]).keys() == {"train.py", "score.py"}
    assert files_at(repository, found["branch"]) == trunk_tree(store, id)
    assert (found["applies_on_head"], len(found["commits"])) == (None, 4)
    again = export(store, None, Asked(patches=True))
    assert again["commits"] == found["commits"] and again["take"]["all"].endswith(f"patch -p1 -d {folder}")


def test_a_campaign_that_recorded_nothing_is_exported_where_its_files_are_as_they_were(ran, place):
    store, id, _, _ = place()
    found = export(store, None, Asked())
    assert found["source"]["folder"] == str(ran[2])
    assert "did not record where its source lay" in found["notes"][0]
    assert files_at(found["repository"], found["branch"]) == trunk_tree(store, id)


def test_a_shallow_clone_is_enough(place, lab_root):
    store, id, top, _ = place()
    (top / "notes.txt").write_text("more\n")
    make_repository(top, "second")
    git(lab_root, "clone", "--quiet", "--depth=1", f"file://{top}", str(lab_root / "shallow"))
    exports.came_from(store, id, lab_root / "shallow")
    before = everything(lab_root / "shallow")
    found = export(store, None, Asked())
    assert found["applies_on_head"] and everything(lab_root / "shallow") == before


# --- the repository has moved on ----------------------------------------------------------------------


def test_a_repository_that_moved_on_is_told_that_the_series_applies_there(taken):
    store, _, top, folder = taken()
    base = git(top, "rev-parse", "HEAD")
    (folder / "train.py").write_text((folder / "train.py").read_text() + "# more\n")
    head = make_repository(top, "more")
    before = everything(top)
    found = export(store, None, Asked())
    assert (found["base"], found["applies_on_head"]) == (base, True)
    assert any(f"moved on: the series is on {base[:12]}" in note for note in found["notes"])
    assert any(f"now {head[:12]} is checked out" in note for note in found["notes"])
    assert everything(top) == before
    assert git(Path(found["repository"]), "worktree", "list").count("\n") == 0


def test_conflicts_are_reported_commit_by_commit(taken):
    store, _, top, folder = taken()
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(
        text.replace("EFFICIENCY = 1.0", "EFFICIENCY = 1.1").replace(exports.DEFAULT, "gain_a = 1.5")
    )
    make_repository(top, "in the way")
    found = export(store, None, Asked())
    assert found["applies_on_head"] is False
    assert {name: row["conflicts"] for name, row in rows(found).items() if row["conflicts"]} == {
        "source": ["train.py"]
    }
    notes = " ".join(found["notes"])
    assert re.search(r"'Adopt source: .*' conflicts there in train.py", notes)
    assert re.search(r"'Adopt first: .*' is there already", notes)
    assert "'Adopt second" not in notes


# --- from the start of a campaign to the command ------------------------------------------------------


def test_a_campaign_keeps_where_its_source_lay_when_it_began(toy_data, lab_root):
    folder = exports.make_testbed(lab_root / "user")
    commit = make_repository(folder)
    file = toy.write_ideas(lab_root / "ideas.toml", toy.NULL)
    config = toy.config(file, toy_data, testbed=str(folder))
    ground, recipe = session.prepare(config, Settings(root=lab_root), Progress())
    testbed, print_ = ground.testbed, session.make_fingerprint(ground)
    with Store(lab_root / "lab") as store:
        found = session._open(store, config, testbed, recipe, print_, False)
        kept = store.decision(found.id, ORIGIN)
        assert (kept["repository"], kept["commit"], kept["dirty"]) == (str(folder), commit, [])
        make_repository(folder, "later")
        assert session._open(store, config, testbed, recipe, print_, False).id == found.id
        assert store.decision(found.id, ORIGIN) == kept


def test_the_command_prints_one_object_or_what_to_type(taken, lab_root):
    _, id, top, _ = taken()
    code, out, err = mendel(lab_root, "export", "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    keys = {"idea", "subject", "commit", "cm", "low", "high", "claimed", "override", "empty", "conflicts"}
    assert all(row.keys() == keys for row in found["commits"]) and found["patches"] == []
    code, out, err = mendel(lab_root, "export", id, "--patches", "--to", "series")
    assert (code, err) == (0, "")
    assert f"Campaign {id}: 4 commits on commit {found['base'][:12]} of {top}" in out.splitlines()
    assert f"All, on what is checked out: git -C {top} am {lab_root}/series/*.patch" in out.splitlines()
    assert "[red]" in out, "as it was written"
    code, out, err = mendel(lab_root, "export", id, "--to", "series")
    assert code == 2 and err.startswith("mendel: ") and "series: it is not empty" in err

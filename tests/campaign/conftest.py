"""What tests of the loop share."""

import shutil

import exports
import pytest
import team
import toy

from mendel.store import Store


@pytest.fixture
def campaign(toy_data, lab_root):
    """campaign(ideas, **changes): run it with the trainer as a function; (store, campaign id)."""
    opened = []

    def run(ideas, answer=None, blanks=None, added=(), **changes):
        file = toy.write_ideas(lab_root / "ideas.toml", ideas)
        settings = toy.config(file, toy_data, **changes)
        store, found, _ = toy.run_fake(settings, lab_root / "lab", answer=answer, blanks=blanks, added=added)
        opened.append(store)
        return store, found.id

    yield run
    for store in opened:
        store.close()


@pytest.fixture
def research(toy_data, lab_root):
    """research(team, **changes): a campaign with the team in every seat; (store, campaign id)."""
    opened = []

    def run(people, ideas="none", model=None, **changes):
        config = team.settings(toy_data, ideas, **changes)
        store, found, _ = toy.run_fake(config, lab_root / "lab", model=model or people.model())
        opened.append(store)
        return store, found.id

    run.data = toy_data
    yield run
    for store in opened:
        store.close()


# --- a finished campaign, to be exported ------------------------------------------------------------------


@pytest.fixture(scope="session")
def ran(toy_data, fast_disk):
    """A finished campaign: (root of its store, id, folder of its testbed)."""
    folder = exports.make_testbed(fast_disk / "exported-toy")
    root = fast_disk / "exported"
    return root, exports.make_campaign(root, folder, toy_data), folder


@pytest.fixture
def at_home(monkeypatch, lab_root):
    """No settings of whoever runs the tests; and what must not count."""
    (lab_root / "home").mkdir()
    monkeypatch.setenv("HOME", str(lab_root / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(lab_root / "home"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    monkeypatch.setenv("GIT_DIR", str(lab_root / "nowhere"))


@pytest.fixture
def place(ran, at_home, lab_root):
    """place(prefix, commit=True): a store of its own for the campaign, and a user's folder with its source:
    (store, campaign, top of the user's folder, folder of the source)."""
    opened = []

    def make(prefix="", commit=True):
        root, id, testbed = ran
        top = lab_root / "user"
        shutil.copytree(testbed, top / prefix)
        (top / "notes.txt").write_text("mine\n")
        (top / prefix / "train.py").chmod(0o755)
        if commit:
            exports.make_repository(top)
        shutil.copytree(root, lab_root / ".mendel")
        opened.append(Store(lab_root / ".mendel"))
        return opened[-1], id, top, top / prefix

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def taken(place):
    """taken(prefix): the same, and the campaign has noted where its source lies."""

    def make(prefix=""):
        store, id, top, folder = place(prefix)
        exports.came_from(store, id, folder)
        return store, id, top, folder

    return make

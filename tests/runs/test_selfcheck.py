"""The self-check passes where walls stand, and says what is open where one does not."""

import pytest

from mendel.runs import SandboxError
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox import AUTOMATIC
from mendel.runs.sandbox.selfcheck import check

OPEN_WITHOUT_WALLS = {
    *("network", "local sockets", "sibling", "database", "home", "environment", "held-out text"),
    *("hidden modules", "memory", "signals", "writes"),
}


@pytest.fixture
def secrets(monkeypatch, tmp_path):
    """A hidden file, for an executor to be made with."""
    hidden = tmp_path / "library" / "hidden.py"
    hidden.parent.mkdir()
    hidden.write_text("text = 'to be predicted'\n" * 20)
    return (hidden,)


@pytest.mark.parametrize("sandbox", AUTOMATIC)
def test_every_wall_stands_and_every_limit_holds(sandbox, secrets):
    try:
        executor = LocalExecutor(workers=2, sandbox=sandbox, hidden=secrets)
    except SandboxError as error:
        pytest.skip(str(error))
    short = check(executor)
    full = check(executor, full=True)
    executor.close()
    assert {one.name for one in short} == {"works", *OPEN_WITHOUT_WALLS}
    assert {one.name for one in full} > {one.name for one in short}
    assert [(one.name, one.detail) for one in (*short, *full) if not one.passed] == []
    assert all(one.detail.isprintable() for one in full)


def test_without_walls_it_finds_every_hole_and_leaves_nothing_behind(secrets, caplog, tmp_path):
    executor = LocalExecutor(workers=2, sandbox="none", hidden=secrets)
    checks = check(executor, full=True, near=tmp_path)
    executor.close()
    assert {one.name for one in checks if not one.passed} == {*OPEN_WITHOUT_WALLS, "supervisor"}
    assert [path.name for path in tmp_path.iterdir()] == ["library"]
    assert caplog.text == ""


@pytest.mark.parametrize("sandbox", AUTOMATIC)
def test_what_a_module_sets_in_the_environment_is_no_leak_of_ours(sandbox, tmp_path, monkeypatch):
    (tmp_path / "sets_a_variable.py").write_text("import os\nos.environ['CACHE'] = '/tmp/one-for-all'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CACHE", "/tmp/one-for-all")
    try:
        executor = LocalExecutor(workers=1, sandbox=sandbox, preload=["sets_a_variable"])
    except SandboxError as error:
        pytest.skip(str(error))
    checks = check(executor)
    executor.close()
    assert [one.detail for one in checks if not one.passed] == []


class Leaky(LocalExecutor):
    """Forgets about the hidden paths, and lets a folder through."""

    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    def _request(self, job):
        request = super()._request(job)
        shown = {name: [*request[name], *getattr(self, name)] for name in ("readable", "writable")}
        return {**request, **shown, "hidden": []}


@pytest.mark.parametrize("sandbox", AUTOMATIC)
@pytest.mark.parametrize(
    ("rights", "found"),
    [
        ("readable", {"sibling", "database", "held-out text", "hidden modules"}),
        ("writable", {"sibling", "database", "held-out text", "hidden modules", "writes"}),
    ],
)
def test_a_hole_in_the_wall_is_found(secrets, tmp_path, sandbox, rights, found):
    try:
        executor = Leaky(workers=1, sandbox=sandbox, hidden=secrets)
    except SandboxError as error:
        pytest.skip(str(error))
    setattr(executor, rights, (str(tmp_path),))
    checks = check(executor, near=tmp_path)
    executor.close()
    # A socket that lies in an open folder is found as well where sockets can be made.
    assert {one.name for one in checks if not one.passed} - {"local sockets"} == found

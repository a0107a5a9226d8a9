"""A testbed of tiny scripts: no torch, so that a run takes milliseconds."""

import textwrap

import pytest

from mendel.runs import Job, SandboxError
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox import AUTOMATIC
from mendel.testing.executor_conformance import drain


@pytest.fixture(scope="session")
def executor():
    """Two workers with the best isolation there is here."""
    local = LocalExecutor(workers=2)
    yield local
    local.close()


@pytest.fixture(scope="session")
def bare_executor():
    """One worker without walls, as on a machine that has none to offer."""
    local = LocalExecutor(workers=1, sandbox="none")
    yield local
    local.close()


def _behind(sandbox):
    try:
        local = LocalExecutor(workers=1, sandbox=sandbox)
    except SandboxError as error:
        pytest.skip(str(error))
    yield local
    local.close()


@pytest.fixture(scope="session", params=[*AUTOMATIC, "none"])
def any_executor(request):
    """One worker behind each kind of wall in turn."""
    yield from _behind(request.param)


@pytest.fixture(scope="session", params=AUTOMATIC)
def walled_executor(request):
    """The same, without the kind that has no walls."""
    yield from _behind(request.param)


@pytest.fixture
def make_job(tmp_path):
    """make_job(code, id=..., score=..., **fields): a job whose `train.py` is `code`."""

    def make(code: str, job_id: str = "run", score: str | None = None, **fields) -> Job:
        folder = tmp_path / job_id
        source, out = folder / "source", folder / "out"
        for path in (source, out):
            path.mkdir(parents=True, exist_ok=True)
        (source / "train.py").write_text(textwrap.dedent(code))
        if score is not None:
            (source / "score.py").write_text(textwrap.dedent(score))
        settings = {"argv": ("train.py", str(out)), "timeout": 20.0, "memory": 2e9, **fields}
        return Job(id=job_id, source=source, out=out, **settings)

    return make


@pytest.fixture
def run():
    """run(executor, job): submits one job and returns its result."""

    def submit(executor, job: Job):
        executor.submit(job)
        return drain(executor, 1)[job.id]

    return submit


@pytest.fixture
def needs_namespaces(executor):
    if executor.sandbox.name != "namespaces":
        pytest.skip(f"no namespaces here: {executor.sandbox.reason}")

"""How a command is started: a script in a folder, a module, several processes; with threads and cards."""

import json

import pytest

from mendel.runs.cards import cards, with_cards
from mendel.runs.local import LocalExecutor

SAYS = """
import json, os, sys
about = [sys.argv[1:], sys.path[0], os.environ.get("OMP_NUM_THREADS")]
json.dump(about, open(sys.argv[1] + "/said.json", "w"))
"""


def said(job):
    return json.loads((job.out / "said.json").read_text())


def test_a_module_is_found_in_the_folder_it_is_started_in(executor, make_job, run):
    job = make_job("")
    (job.source / "package").mkdir()
    (job.source / "package" / "__init__.py").write_text("")
    (job.source / "package" / "train.py").write_text(SAYS)
    job = make_job("", argv=("-m", "package.train", str(job.out)))
    assert run(executor, job).status == "done"
    assert said(job) == [[str(job.out)], str(job.source), "1"]


def test_a_script_finds_what_lies_beside_it(executor, make_job, run):
    job = make_job("")
    (job.source / "scripts").mkdir()
    (job.source / "scripts" / "train.py").write_text(f"import beside\n{SAYS}")
    (job.source / "scripts" / "beside.py").write_text("")
    job = make_job("", argv=("scripts/train.py", str(job.out)), cpus=2)
    assert run(executor, job).status == "done"
    assert said(job) == [[str(job.out)], str(job.source / "scripts"), "2"]


def test_python_path_is_relative_to_the_source(executor, make_job, run):
    job = make_job("import below")
    (job.source / "src").mkdir()
    (job.source / "src" / "below.py").write_text("")
    assert run(executor, make_job("import below", env={"PYTHONPATH": "src"})).status == "done"


def test_a_module_that_fails_is_told_like_a_script(executor, make_job, run):
    job = make_job("")
    (job.source / "broken.py").write_text("def f():\n    raise KeyError('width')\nf()\n")
    result = run(executor, make_job("", argv=("-m", "broken")))
    assert (result.status, result.reason) == ("crashed", "KeyError: 'width'")
    assert "launch.py" not in (job.out / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("needs_namespaces")
def test_processes_of_one_run_talk_to_each_other_and_to_nobody_else(make_job, run):
    code = """\
        import sys, torch, torch.distributed as dist
        dist.init_process_group("gloo")
        one = torch.ones(1)
        dist.all_reduce(one)
        if dist.get_rank() == 0:
            open(sys.argv[1] + "/sum", "w").write(str(one.item()))
        dist.destroy_process_group()
    """
    job = make_job(code)
    argv = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py", str(job.out))
    job = make_job(code, argv=argv, cpus=2, timeout=200.0, memory=4e9)
    executor = LocalExecutor(workers=1, preload=["torch"])
    try:
        executor.submit(job)
        found = []
        while not found:
            found = executor.wait(1.0)
    finally:
        executor.close()
    assert found[0][1].status == "done", found[0][1].reason
    assert (job.out / "sum").read_text() == "2.0"


def test_runs_that_take_place_at_once_have_cards_of_their_own(make_job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert cards() == ("4", "5", "6", "7")
    own = [with_cards(make_job("", gpus=2), slot).env["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)]
    assert own == ["4,5", "6,7"]
    assert with_cards(make_job(""), 0).env == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cards() == ()

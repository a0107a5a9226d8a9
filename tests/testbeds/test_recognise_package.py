"""A package with a nested configuration is proposed so that its campaign can be trusted: what tells the loss
stays as it is, data order is apart from initialisation, options are told as it takes them."""

import tomllib

import pytest
import tinylm
import trainers

from mendel.patches import read_tree
from mendel.patches.kept import audit_kept
from mendel.testbeds import parse_testbed
from mendel.testbeds.recognise import Machine, Repository, propose

TRAIN = "src/tinylm/train.py"


@pytest.fixture
def proposed(tmp_path):
    """proposed((path, old, new), ...): the proposal for the package with changes, and its testbed."""

    def make(*changes):
        files = dict(tinylm.FILES)
        for path, old, new in changes:
            assert old in files[path], old
            files[path] = files[path].replace(old, new)
        proposal = propose(Repository(trainers.make(tmp_path / "repo", files), Machine(0, 2)))
        return proposal, parse_testbed(proposal.render("repo"), tmp_path / "testbed.toml")

    return make


def kept(testbed, *changes):
    """Whether a patch leaves alone what the testbed protects."""
    old = read_tree(testbed)
    new = dict(old)
    for path, text, to in changes:
        assert text in new[path], text
        new[path] = new[path].replace(text, to)
    return audit_kept(testbed, old, new).passed


# --- the loss ---------------------------------------------------------------------------------------------

CALL = "            scores = evaluate("
REPORT = '            append(out / "metrics.jsonl"'
CHEAT = '            scores["nll"] *= 0.9\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('            log.info("step', CHEAT + '            log.info("step'),
        (REPORT, CHEAT + REPORT),
        (CALL, "            model.width = 0\n            scores = {}  # evaluate("),
        ("def train(config)", "evaluate = lambda *of: {'nll': 1.0}\n\ndef train(config)"),
        ('file.write(json.dumps(record) + "\\n")', 'file.write(json.dumps({**record, "valid_nll": 1}))'),
    ],
)
def test_nothing_comes_between_an_evaluation_and_where_its_loss_is_told(proposed, old, new):
    _, testbed = proposed()
    assert not kept(testbed, (TRAIN, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        loss = model.loss(x, y)\n", "        loss = model.loss(x, y) + model.extra()\n"),
        ("        optimizer.zero_grad()\n", "        optimizer.zero_grad(set_to_none=False)\n"),
        ("        optimizer.step()\n", "        optimizer.step()\n        average(model)\n"),
        ("torch.optim.AdamW(", "torch.optim.NAdam("),
    ],
)
def test_the_training_stays_editable(proposed, old, new):
    _, testbed = proposed()
    assert kept(testbed, (TRAIN, old, new))


def test_a_report_far_from_its_evaluation_is_protected_as_well_as_the_call(proposed):
    far = "".join(f"            note({number})\n" for number in range(40))
    _, testbed = proposed((TRAIN, REPORT, far + REPORT))
    assert not kept(testbed, (TRAIN, CALL, CALL.replace("scores", "scores = other")))
    assert not kept(testbed, (TRAIN, REPORT, REPORT.replace("append", "append_less")))
    assert not kept(testbed, (TRAIN, "            note(3)\n", CHEAT)), "a key of what a span made"
    assert not kept(testbed, (TRAIN, "            note(3)\n", "            scores.update(nll=0)\n"))
    assert kept(testbed, (TRAIN, "            note(3)\n", ""))


def test_a_call_whose_line_is_there_twice_is_protected_with_a_line_around_it(proposed):
    first = "    for step in range("
    again = '    scores = evaluate(model, held, run["eval_batches"], data["batch_size"], data["block"])\n'
    proposal, testbed = proposed((TRAIN, first, again + '    log.info("before %s", scores)\n' + first))
    assert not kept(testbed, (TRAIN, REPORT, CHEAT + REPORT))
    assert not any("protect them by hand" in one for one in proposal.notes)


def test_a_function_that_is_handed_the_loss_and_tells_it_stays_as_it_is(proposed):
    told = 'append(out / "metrics.jsonl", {"step": step, "valid_nll": scores["nll"]})\n'
    teller = f"def report(out, step, scores):\n    {told}\ndef train("
    _, testbed = proposed((TRAIN, told, "report(out, step, scores)\n"), (TRAIN, "def train(", teller))
    assert testbed.metric.key == "valid_nll"
    assert not kept(testbed, (TRAIN, f"    {told}", f"    step = 1\n    {told}"))
    assert not kept(testbed, (TRAIN, "report(out, step, scores)\n", "report(out, step, {})\n"))
    assert kept(
        testbed, (TRAIN, "        optimizer.step()\n", "        optimizer.step()\n        average()\n")
    )


def test_each_place_that_tells_the_same_loss_is_protected_for_the_last_one_counts(proposed):
    last = '    append(out / "metrics.jsonl", {"valid_nll": evaluate(model, held, 9, 8, 16)["nll"]})\n'
    _, testbed = proposed((TRAIN, "def main():", f"def finish(out, model, held):\n{last}\ndef main():"))
    assert not kept(testbed, (TRAIN, '16)["nll"]', '16)["nll"] * 0.9'))
    assert not kept(testbed, (TRAIN, REPORT, CHEAT + REPORT))


def test_an_evaluation_in_the_loop_itself_is_protected_up_to_its_report(proposed):
    inline = """            total = 0.0
            for x, y in held_batches:
                total += float(model.loss(x, y))
            valid = total / len(held_batches)
"""
    old = tinylm.FILES[TRAIN]
    call = next(line for line in old.splitlines(keepends=True) if "scores = evaluate(" in line)
    _, testbed = proposed((TRAIN, call, inline), (TRAIN, 'scores["nll"]', "valid"))
    total = "            valid = total"
    training = "        loss = model.loss(x, y)\n"
    assert not kept(testbed, (TRAIN, total, f"            total *= 0.9\n{total}"))
    assert not kept(testbed, (TRAIN, "                total +=", "                total += 0.5 *"))
    assert kept(testbed, (TRAIN, training, training.replace("model.loss", "2 * model.loss")))


def test_a_loss_that_a_run_reports_is_told_to_be_believed(proposed):
    proposal, _ = proposed()
    assert any("what a run reports as its loss is believed" in one for one in proposal.notes)


# --- where it is read -------------------------------------------------------------------------------------

WRITES = '            append(out / "metrics.jsonl", {"step": step, "valid_nll": scores["nll"]})\n'
CLASS = """class Rows:
    def __init__(self, folder):
        self.path = folder / "metrics.jsonl"

    def add(self, **row):
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\\n")

def append("""


APPEND = '            append(out / "metrics.jsonl", row)\n'
ROW = '            row = {"valid_nll": scores["nll"]}\n'
KEY = '            row = {}\n            row["valid_nll"] = scores["nll"]\n'
OPENED = """            with open(out / "metrics.jsonl", "a") as file:
                file.write(json.dumps({"valid_nll": scores["nll"]}))
"""
METHOD = '            rows.add(step=step, valid_nll=scores["nll"])\n'
WAYS = {
    "function": (),
    "variable": ((WRITES, ROW + APPEND),),
    "key": ((WRITES, KEY + APPEND),),
    "itself": ((WRITES, OPENED),),
    "method": ((WRITES, METHOD), ("def append(", CLASS)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_json_lines_is_read_before_what_is_logged(proposed, way):
    _, testbed = proposed(*((TRAIN, old, new) for old, new in WAYS[way]))
    assert (testbed.metric.file, testbed.metric.key) == ("metrics.jsonl", "valid_nll")
    assert testbed.unit == "nats per token"


@pytest.mark.parametrize(
    "new",
    [
        '            print(json.dumps({"valid_nll": scores["nll"]}))\n',
        '            append(out / "metrics.jsonl", {"train_nll": loss.item()})\n',
        '            append(out / "metrics.jsonl", {"valid_ppl": 2 ** scores["nll"]})\n',
    ],
)
def test_a_file_without_a_validation_loss_is_not_the_metric(proposed, new):
    _, testbed = proposed((TRAIN, WRITES, new))
    assert testbed.metric.pattern and not testbed.metric.file


# --- the seed ---------------------------------------------------------------------------------------------

DATA = "src/tinylm/data.py"
GIVEN = "    return torch.randint(9, (size,), generator=generator)\n"
SHOWS = "        print('batch', x.tolist()) if step < 3 else None\n        loss = model"


def test_a_patch_that_draws_more_in_initialisation_trains_on_the_same_batches(proposed, tmp_path):
    pytest.importorskip("torch")
    _, testbed = proposed()
    shows = (TRAIN, "        loss = model", SHOWS)
    draws = ("src/tinylm/model.py", "        self.act", "        torch.rand(1)\n        self.act")
    said = []
    for number, change in enumerate(((shows,), (shows, draws))):
        loss = trainers.start(testbed, tmp_path / str(number), 5, budget=4, change=change)
        log = (tmp_path / str(number) / "log-5-0").read_text()
        said.append([line for line in log.splitlines() if line.startswith("batch")])
        assert loss > 0
    assert len(said[0]) == 2 and said[0] == said[1]


@pytest.mark.parametrize(
    "data",
    [
        "def draw(data, size, block, generator=None):\n    return torch.randint(9, (size,)), 1\n",
        "class Batches:\n    def draw(self, size):\n        return torch.randint(9, (size,)), 1\n",
        f"def draw(data, size, block, generator=None):\n{GIVEN}",
    ],
)
def test_batches_that_another_module_draws_are_seeded_again_before_the_loop(proposed, data):
    _, testbed = proposed(("src/tinylm/data.py", tinylm.FILES["src/tinylm/data.py"], f"import torch\n{data}"))
    assert [edit.replace.split("\n")[0] for edit in testbed.edits] == ["torch.manual_seed({seed})"]
    assert testbed.edits[0].search.startswith("for step in range(1")


@pytest.mark.parametrize(
    "data",
    [
        f"def draw(data, size, block, generator=OWN):\n{GIVEN}",
        "def draw(data, size, block, generator=None):\n    return data[:size], data[1:size]\n",
    ],
)
def test_batches_of_a_generator_of_their_own_are_not(proposed, data):
    own = "import torch\nOWN = torch.Generator()\n" + data
    _, testbed = proposed((DATA, tinylm.FILES[DATA], own))
    assert not [edit for edit in testbed.edits if edit.search.startswith("for step")]


# --- what it is told --------------------------------------------------------------------------------------

OPTION = 'parser.add_argument("--override", action="append", default=[], metavar="SECTION.KEY=VALUE")'
README = "--override optim.lr=0.002"


@pytest.mark.parametrize(
    ("option", "readme", "override"),
    [
        (OPTION, README, ["--override", "{key}={value}"]),
        (OPTION, "", ["--override", "{key}={value}"]),
        ('parser.add_argument("--opt", action="append", help="as in a.b=1")', "", ["--opt", "{key}={value}"]),
        ('parser.add_argument("-o", "--opt", action="append")', "-o optim.lr=0.1", ["-o", "{key}={value}"]),
        ('parser.add_argument("--set", action="append", default=[])', "", ["--set", "{key}={value}"]),
        ('parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")', "", ["{key}={value}"]),
        ('parser.add_argument("rest", nargs="*")', "optim.lr=0.1", ["{key}={value}"]),
    ],
)  # fmt: skip
def test_an_option_that_takes_key_and_value_is_told_all_knobs(proposed, option, readme, override):
    _, testbed = proposed((TRAIN, OPTION, option), ("README.md", README, readme))
    assert list(testbed.override) == override
    told = " ".join([*override[:-1], "run.max_steps={steps}"])
    assert told in " ".join(testbed.command) and not any(one.startswith("--run") for one in testbed.command)


def test_an_option_that_takes_all_at_once_stands_once_before_them(proposed):
    option = 'parser.add_argument("--set", nargs="+", metavar="KEY=VALUE", dest="override", default=[])'
    steps = 'parser.add_argument("--device", default="cpu")\n    '
    _, testbed = proposed((TRAIN, OPTION, steps + option))
    place = testbed.command.index("--set")
    assert list(testbed.override) == ["{key}={value}"] and testbed.command.count("--set") == 1
    assert all("=" in one and not one.startswith("-") for one in testbed.command[place + 1 :])
    assert "--device={device}" in testbed.command[:place]


def test_what_is_proposed_for_it_trains(proposed, tmp_path):
    pytest.importorskip("torch")
    _, testbed = proposed()
    first, second = (trainers.start(testbed, tmp_path, seed, budget=6) for seed in (1, 2))
    assert 4 < first < 7 and first != second


# --- what it evaluates ------------------------------------------------------------------------------------

CONFIG = "configs/base.yaml"


@pytest.mark.parametrize(
    ("steps", "batches", "cut"),
    [("2000", "32", None), ("2000", "400", 20), ("300", "400", None)],
    ids=["small", "dear", "the trainer's own run"],
)
def test_an_evaluation_is_cut_only_where_it_is_dear_beside_a_run(proposed, steps, batches, cut):
    proposal, testbed = proposed(
        (CONFIG, "max_steps: 2000", f"max_steps: {steps}"), (CONFIG, "batches: 32", f"batches: {batches}")
    )
    assert testbed.set.get("run.eval_batches") == cut
    assert (f"own {batches} batches" in proposal.render("repo").replace("\n# ", " ")) == bool(cut)


def test_what_is_written_doubles_no_backslash(proposed):
    proposal, testbed = proposed((TRAIN, WRITES, ""), (TRAIN, "valid nll %.4f", "it's 'valid nll' %.4f"))
    text = proposal.render("repo")
    assert "\\\\" not in text and tomllib.loads(text)["metric"]["pattern"] == testbed.metric.pattern
    assert "'" in testbed.metric.pattern

"""What a testbed protects is left alone: as text, and as what it means."""

import pytest

from mendel.patches.kept import audit_kept
from mendel.records import RunEdit, Span, Testbed

SOURCE = """\
import random

max_iters = 100
SEED = 42
random.seed(SEED)


def estimate_loss():
    return random.random()


for step in range(max_iters):
    pass
print("val loss", estimate_loss())
"""
FUNCTION = SOURCE[SOURCE.index("def estimate") : SOURCE.index("for step")]
OTHER = FUNCTION.replace("random.random()", "0.1")


@pytest.fixture
def testbed(tmp_path):
    return Testbed(
        name="mine", root=str(tmp_path), folder=str(tmp_path), python="python", command=("train.py",),
        score="score.py", files=("train.py",), editable=("train.py",), rungs=({"compute": 1, "timeout": 1},),
        protected=(
            Span(path="train.py", first="def estimate_loss", last="return"),
            Span(path="train.py", first="print(", last="print("),
        ),
        edits=(
            RunEdit(path="train.py", search="max_iters = 100", replace="max_iters = {steps}"),
            RunEdit(path="train.py", search="random.seed(SEED)", replace="random.seed({seed})"),
        ),
    )  # fmt: skip


def audited(testbed, new):
    assert new != SOURCE
    return audit_kept(testbed, {"train.py": SOURCE}, {"train.py": new})


@pytest.mark.parametrize(
    "new",
    [
        SOURCE.replace("    pass", "    loss = step  # something else"),
        SOURCE.replace("SEED = 42\n", "SEED = 42\nwidth = 3\n"),
        SOURCE.replace("    pass", "    random.seed(step)"),  # that is for another audit
        SOURCE.replace("import random\n", "import random\nimport math\n"),
    ],
)
def test_other_lines_are_free(testbed, new):
    assert audited(testbed, new).passed


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (SOURCE.replace("return random.random()", "return 0.1"), "they were changed"),
        (SOURCE.replace('print("val', 'estimate_loss = lambda: 0.1\nprint("val'), "bound in another place"),
        (SOURCE.replace(FUNCTION, f'"""\n{FUNCTION}"""\n{OTHER}'), "no longer run"),
        (SOURCE.replace('print("val', 'import math as estimate_loss\nprint("val'), "bound in another place"),
        (SOURCE.replace('print("val', 'del estimate_loss\nprint("val'), "bound in another place"),
        (SOURCE.replace("max_iters = 100", "max_iters = 900"), "was changed"),
        (SOURCE.replace("max_iters = 100", "# max_iters = 100\nmax_iters = 900"), "no longer run as it was"),
        (SOURCE.replace("SEED = 42", "SEED = 42\nmax_iters *= 9"), "max_iters is bound in another place"),
        (SOURCE.replace("random.seed(SEED)", "# random.seed(SEED)"), "no longer run as it was"),
    ],
)  # fmt: skip
def test_what_is_protected_stays_and_means_the_same(testbed, new, why):
    audit = audited(testbed, new)
    assert not audit.passed and why in audit.reason, audit.reason


LOOP = """\
import torch
from judge import evaluate


def train(model, steps):
    for step in range(steps):
        loss = model.loss(step)
        loss.backward()
    SCORES = evaluate(model)
    print("val loss", torch.exp(SCORES["nll"]))
    print("done")
"""


@pytest.fixture
def loop(testbed):
    """loop(old, new, name, last): whether a patch of the loop passes, whose evaluation sets `name`, and the
    reason; protected from the evaluation to `last`."""

    def audit(old, new, name="scores", last="val loss"):
        source = LOOP.replace("SCORES", name)
        assert old in source
        span = Span(path="train.py", first="evaluate(model)", last=last)
        bed = testbed.model_copy(update={"protected": (span,), "edits": ()})
        found = audit_kept(bed, {"train.py": source}, {"train.py": source.replace(old, new)})
        return found.passed, found.reason

    return audit


@pytest.mark.parametrize(
    "line",
    ['scores["nll"] *= 0.9', "scores.update(nll=0)", "scores = {}", "scores.nll = 0", 'del scores["nll"]'],
)
def test_what_a_protected_line_sets_is_not_changed_in_place(loop, line):
    passed, why = loop('    print("val', f'    {line}\n    print("val', last="evaluate(model)")
    assert not passed and "scores is bound in another place" in why


@pytest.mark.parametrize(
    "line",
    [
        "evaluate = lambda model: {'nll': 1}",
        "from other import evaluate",
        "def evaluate(model): return {'nll': 1}",
        "print = lambda *said: None",
        "evaluate.__code__ = other.__code__",
        "torch.exp = lambda x: 0.9 * x",
    ],
)
def test_what_protected_lines_call_is_what_it_was(loop, line):
    passed, why = loop("\n\n\ndef train", f"\n\n\n{line}\n\n\ndef train")
    assert not passed and "which they call, is bound in another place" in why


@pytest.mark.parametrize("name", ["scores", "loss"])
def test_a_name_that_training_uses_too_may_be_set_there(loop, name):
    assert loop("model.loss(step)", "model.loss(step) * 2", name)[0]
    assert loop("from judge", "torch.backends.cuda.matmul.allow_tf32 = True\nfrom judge", name)[0]
    assert loop("from judge import evaluate", "import math\nfrom judge import evaluate", name)[0]


def test_a_file_that_is_no_python_is_compared_as_text(testbed):
    text = "def estimate_loss\nreturn\nprint(\nmax_iters = 100\nrandom.seed(SEED)\n: {"
    assert audit_kept(testbed, {"train.py": text}, {"train.py": text + "\nmore"}).passed
    assert not audit_kept(testbed, {"train.py": text}, {"train.py": text.replace("return", "retur")}).passed

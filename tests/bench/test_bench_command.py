"""`mendel bench decisions` as a user meets it: a table that fits, and one line for what is wrong."""

import pytest

from mendel.bench_commands import LEGEND
from mendel.cli import main

POLICIES = """
class Cautious:
    def run(self, lab):
        return []

class Returns:
    claims = None
    def run(self, lab):
        return self.claims

class Mask(Returns):
    claims = [True, False]

class Beyond(Returns):
    claims = [0, 12]

class Halves(Returns):
    claims = [0.5]

class Adopts:
    def run(self, lab):
        lab.adopt([-1])
        return []

class Needy:
    def __init__(self, settings):
        pass
    def run(self, lab):
        return []

class Deaf:
    def run(self):
        return []

class Idle:
    pass

def function(lab):
    return []
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command on a small regime, in 80 columns; exit code, standard output, standard error."""
    (tmp_path / "small.toml").write_text("ideas = 12\nbudget = 40\ngain = 3.0\n")
    (tmp_path / "mine.py").write_text(POLICIES)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "runs.parquet").write_text("no")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "decisions", "--regime", "small.toml", *arguments])
        return ended.value.code or 0, *capsys.readouterr()

    return run


def test_the_table_fits_a_terminal_and_says_what_its_columns_mean(command):
    code, out, err = command("--campaigns", "6", "--policy", "mine:Cautious")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in out
    assert lines[0].strip() == "small: 6 campaigns"
    assert lines[1].split("policy")[1].split() == " ".join(LEGEND).split()
    rows = {line[:24].strip(): line[24:].split() for line in lines[2:]}
    # No claims, no gain, every winner lost, nothing spent.
    assert rows["mine:Cautious"] == ["0.0", "0.0", "39.3", "0", "±", "0", "0", "100", "never", "0"]
    assert "mendel, no error control" in rows and "tpe with hyperband *" in rows
    assert "* of 5 campaigns only" in out
    for name, meaning in LEGEND.items():
        assert f"{name}  {meaning}" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--policy mine:Returns", "'mine:Returns' adopts None; allowed are ideas 0 to 11"),
        ("--policy mine:Mask", "'mine:Mask' adopts True; allowed are ideas 0 to 11"),
        ("--policy mine:Beyond", "'mine:Beyond' adopts 12; allowed are ideas 0 to 11"),
        ("--policy mine:Halves", "'mine:Halves' adopts 0.5; allowed are ideas 0 to 11"),
        ("--policy mine:Adopts", "'mine:Adopts' adopts -1; allowed are ideas 0 to 11"),
        ("--policy mine:Needy", "'mine:Needy' must be made by Needy() and used by run(lab): "),
        ("--policy mine:Deaf", "'mine:Deaf' must be made by Deaf() and used by run(lab): "),
        ("--policy mine:Idle", "'mine:Idle' has no method run(lab)"),
        ("--policy mine:function", "'mine:function' is a function, and must be a class"),
        ("--policy mine:Gone", "'mine:Gone' cannot be imported: AttributeError: "),
        ("--policy nowhere:Gone", "'nowhere:Gone' cannot be imported: ModuleNotFoundError: "),
        ("--policy broken:Gone", "'broken:Gone' cannot be imported: SyntaxError: "),
        ("--policy mine", "'mine' is not understood; allowed is package.module:Class"),
        ("--figure x.bmp", "figure: 'x.bmp': allowed are names in .png, .svg, .pdf"),
        ("--figure gone/x.png", "figure: 'gone/x.png': there is no folder 'gone'"),
        ("--seed -5", "seed: must be at least 0 (found -5)"),
        ("--campaigns 0", "campaigns: must be at least 1 (found 0)"),
        ("--workers -1", "workers: must be at least 1 (found -1)"),
        ("--rung 0", "rung: 0 is of a replay; give the runs with --table FILE"),
        ("--budget 40", "budget: 40 is of a replay; give the runs with --table FILE"),
        ("--min-gain 0.1", "min_gain: 0.1 is of a replay; give the runs with --table FILE"),
        ("--table runs.parquet --budget 0", "budget: must be above 0 (found 0.0)"),
        ("--table runs.parquet --budget nan", "budget: must be at most 1e+06 (found nan)"),
        ("--table runs.parquet --min-gain -1", "min_gain: must be at least 0 (found -1.0)"),
        ("--table runs.parquet --rung -1", "rung: must be at least 0 (found -1)"),
    ],
)
def test_what_cannot_be_is_one_line_with_option_value_and_what_is_allowed(command, arguments, said):
    more = () if "campaigns" in arguments else ("--campaigns", "1")
    code, out, err = command(*arguments.split(), *more)
    assert (code, out) == (2, "")
    assert err.startswith("mendel: ") and err.count("\n") == 1
    assert said in err

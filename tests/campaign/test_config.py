"""Settings: file, command line, and errors that say where to look."""

import tomllib
from pathlib import Path

import pytest

from mendel.campaign.budget import Budget
from mendel.campaign.config import TEMPLATE, CampaignConfig, ConfigError, Policy, Settings, read_config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text):
    Path("mendel.toml").write_text(text)


def test_without_a_file_there_are_defaults(folder):
    assert read_config(None, {}) == CampaignConfig()


def test_the_command_line_is_stronger_than_the_file(folder):
    write('seed = 3\nbudget = "7m"\n[policy]\nalpha = 0.1\ncohort = 2')
    config = read_config(None, {"seed": 4, "policy": {"cohort": 3}})
    assert (config.seed, config.budget, config.policy.alpha, config.policy.cohort) == (
        4,
        Budget(seconds=420.0),
        0.1,
        3,
    )


def test_the_stored_form_reads_back_as_the_same_campaign():
    config = CampaignConfig.model_validate({"budget": "300runs", "rungs": [0, 2], "policy": {"cohort": 2}})
    again = CampaignConfig.model_validate(config.model_dump(mode="json"))
    assert (again, again.id) == (config, config.id)


def test_what_init_writes_has_every_setting_at_its_default(folder):
    text = TEMPLATE.format(testbed="gpt", recipes="gpt2, modern", rungs=3)
    write(text)
    assert read_config(None, {}) == CampaignConfig()
    table = tomllib.loads(text.replace("# max_usd", "max_usd"))  # TOML cannot say that there is none
    assert table["policy"].keys() == Policy.model_fields.keys()
    assert table.keys() == CampaignConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 3", "mendel.toml: sed: unknown key (found 3); did you mean seed? allowed are goal, testbed,"),
        (
            "[policy]\nalph = 3",
            "mendel.toml: policy.alph: unknown key (found 3); did you mean alpha? allowed are screen_ideas,",
        ),
        ("[policy]\nalpha = 3", "mendel.toml: policy.alpha: must be below 1 (found 3)"),
        ("policy = 3", "mendel.toml: policy: 3 is not a table"),
        ("seed = -1", "mendel.toml: seed: must be at least 0 (found -1)"),
        ("seed = 99999999999999999999", "mendel.toml: seed: must be below 2147483648"),
        ("budget = 5", "mendel.toml: budget: budget '5' is not understood; allowed are times"),
        ('budget = "soon"', "mendel.toml: budget: budget 'soon' is not understood; allowed are times"),
        ("rungs = [1, 0]", "mendel.toml: rungs: give at least one rung; .* ascending order (found [1, 0])"),
        ("seed = 1.5", "mendel.toml: seed: must be a whole number (found 1.5)"),
        ("goal = 3", "mendel.toml: goal: must be text (found 3)"),
        ('sandbox = "dcker"', "mendel.toml: sandbox: allowed are 'auto', .* (found 'dcker')"),
        ("sed = 3\nworkers = -1", "mendel.toml: sed: unknown key"),
        ("rungs = []", "mendel.toml: rungs: give at least one rung"),
        ("max_usd = 3", "mendel.toml: max_usd needs usd_per_hour, the price of one worker"),
        ("x = [", "mendel.toml: Invalid value (at end of document)"),
    ],
)
def test_an_error_names_file_key_value_and_what_is_allowed(folder, text, message):
    write(text)
    with pytest.raises(ConfigError) as error:
        read_config(None, {})
    for part in message.split(".*"):
        assert part.strip() in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_of_the_command_line_is_not_blamed_on_the_file(folder):
    write("seed = 1")
    with pytest.raises(ConfigError, match="^command line: seed: must be at least 0"):
        read_config(None, {"seed": -2})


def test_a_file_that_was_asked_for_must_be_there(folder):
    with pytest.raises(ConfigError, match="other.toml: no such file; `mendel init` writes one"):
        read_config(Path("other.toml"), {})


def test_the_root_folder_is_absolute(folder, monkeypatch):
    """A run has a working folder of its own, and reads the corpus below the root."""
    assert Settings().root == folder / ".mendel"
    monkeypatch.setenv("MENDEL_ROOT", "lab")
    assert Settings().root == folder / "lab"

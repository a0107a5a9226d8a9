"""What a campaign rests on may not change under it."""

import shutil

import pytest

from mendel.campaign.config import CampaignConfig, ConfigError, same_settings
from mendel.campaign.session import _open
from mendel.records import Fingerprint, RunSpec
from mendel.store import CampaignState, Store
from mendel.testbeds import load_testbed
from tests import toy

FINGERPRINT = Fingerprint(
    device="cpu", instruction_set="any", threads=1, precision="float32", libraries={}, corpus="c"
)


@pytest.fixture
def start(tmp_path, toy_data):
    """Open the campaign of one configuration, whatever its files hold by now."""
    testbed = tmp_path / "testbed"
    shutil.copytree(toy.TESTBED, testbed)
    ideas = toy.write_ideas(tmp_path / "ideas.toml", toy.GOOD)
    config = toy.config(ideas, toy_data, testbed=str(testbed))
    with Store(tmp_path / "lab") as store:

        def start(fingerprint=FINGERPRINT):
            return _open(store, config, load_testbed(testbed), "base", fingerprint, fresh=False)

        def begin(campaign):
            """Its first run."""
            line = {"recipe": "r", "rung": 0, "seed": 1, "tokens": 10, "shard": "validation"}
            spec = RunSpec.model_validate({**line, "fingerprint": FINGERPRINT.id})
            store.enqueue(campaign.id, [spec], "curve", None)

        start.begin = begin
        start.store, start.testbed, start.ideas, start.config = store, testbed, ideas, config
        yield start


def test_an_unchanged_campaign_is_found_again(start):
    assert start().id == start().id


def test_changed_source_settings_ideas_or_machine_are_refused_by_name(start):
    start.begin(start())
    with pytest.raises(ConfigError, match="corpus changed .* began with .c., now it is .d."):
        start(FINGERPRINT.model_copy(update={"corpus": "d"}))
    with (start.testbed / "train.py").open("a") as file:
        file.write("# another line\n")
    with pytest.raises(ConfigError, match="the testbed's source changed under the campaign"):
        start()
    toy.write_ideas(start.ideas, toy.NULL)
    shutil.copytree(toy.TESTBED, start.testbed, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="the ideas changed under the campaign"):
        start()


def test_before_the_first_run_a_file_may_be_mended(start):
    """As after a file of ideas was refused: nothing would be lost by beginning anew."""
    first = start()
    toy.write_ideas(start.ideas, toy.NULL)
    second = start()
    assert second.id != first.id
    assert {entry.idea.name for entry in start.store.ideas(second.id)} == {idea.name for idea in toy.NULL}
    assert start().id == second.id
    start.begin(second)
    toy.write_ideas(start.ideas, toy.GOOD)
    with pytest.raises(ConfigError, match="the ideas changed under the campaign"):
        start()


def test_a_finished_campaign_that_asked_another_question_stays_beside_the_new_one(start):
    first = start()
    start.store.set_state(first.id, CampaignState.FINISHED)
    assert start().id == first.id
    toy.write_ideas(start.ideas, toy.NULL)
    second = start()
    assert second.id != first.id
    assert {entry.idea.name for entry in start.store.ideas(second.id)} == {idea.name for idea in toy.NULL}


def test_a_campaign_older_than_a_setting_is_found_again(start, monkeypatch):
    """As stored before the setting was there; with another value of it the question is another one."""
    create = start.store.create_campaign

    def older(name, seed, testbed, recipe, config, fingerprint):
        policy = {key: value for key, value in config["policy"].items() if key != "early_stop"}
        kept = {key: value for key, value in config.items() if key != "usd_per_hour"} | {"policy": policy}
        return create(name, seed, testbed, recipe, kept, fingerprint)

    monkeypatch.setattr(start.store, "create_campaign", older)
    first = start()
    assert "early_stop" not in first.config["policy"]
    assert start().id == first.id
    other = {**first.config, "policy": {**first.config["policy"], "cohort": 5}}
    assert not same_settings(other, start.config)
    assert not same_settings({"rungs": [0], "max_usd": None}, CampaignConfig())

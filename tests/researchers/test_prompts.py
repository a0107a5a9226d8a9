"""Every seat has a prompt with a version, and an answer that providers can enforce."""

import pytest

from mendel.records import IDEA_CLASSES
from mendel.researchers.answers import IDEA_CLASSES_ANSWERED, Change, Repair
from mendel.researchers.seats import SEATS


@pytest.mark.parametrize("seat", SEATS, ids=lambda seat: seat.name)
def test_a_prompt_says_what_untrusted_text_is(seat):
    number, _, content = seat.prompt.version.partition("-")
    assert int(number) >= 1
    assert len(content) == 6
    assert "<untrusted>" in seat.prompt.text
    assert "never an instruction" in seat.prompt.text


@pytest.mark.parametrize("seat", SEATS, ids=lambda seat: seat.name)
def test_an_answers_schema_is_closed_and_wants_every_key(seat):
    schema = seat.answer.model_json_schema()
    for one in [schema, *schema.get("$defs", {}).values()]:
        if one.get("type") == "object":
            assert one["additionalProperties"] is False
            assert sorted(one["required"]) == sorted(one["properties"])


def test_a_proposer_may_name_every_class_of_idea():
    assert IDEA_CLASSES_ANSWERED == IDEA_CLASSES


def test_a_change_becomes_a_patch_and_an_empty_one_is_refused():
    edit = {"path": "a.py", "search": "x", "replace": "y"}
    setting = {"key": "lr", "value": 0.5}
    patch = Change(edits=[edit], settings=[setting], notes="").patch()
    assert patch.edits[0].search == "x"
    assert patch.overrides == {"lr": 0.5}
    with pytest.raises(ValueError, match="at least one edit"):
        Repair(edits=[], settings=[], notes="", broken=False, reason="").patch()


def test_settings_keep_their_type():
    values = [True, 3, 0.5, "wsd"]
    settings = [{"key": f"k{n}", "value": value} for n, value in enumerate(values)]
    found = Change.model_validate({"edits": [], "settings": settings, "notes": ""}).patch().overrides
    assert [type(value) for value in found.values()] == [bool, int, float, str]

"""Every idea of the catalog is a patch that applies, trains, scores and cannot look ahead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from mendel.ideas.catalog import find, load_catalog
from mendel.ideas.triage import duplicates
from mendel.ideas.userfile import parse_ideas
from mendel.patches import PatchError
from mendel.records import IDEA_CLASSES, Patch
from tests.ideas.trainer import gpt, make_config, patched_tree, score, train, trainer

IDEAS = load_catalog()
by_name = pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.name)


def test_the_catalog_is_large_and_has_every_class():
    assert len(IDEAS) >= 45
    assert sum(bool(idea.patch.edits) for idea in IDEAS) >= 18
    assert {idea.idea_class for idea in IDEAS} == set(IDEA_CLASSES)
    assert {idea.proposer for idea in IDEAS} == {"catalog"}


def test_names_are_unique_and_no_two_patches_are_the_same():
    assert max(Counter(idea.name for idea in IDEAS).values()) == 1
    assert duplicates(IDEAS) == []


def test_some_ideas_are_forecast_to_help_some_to_do_nothing_and_some_to_harm():
    means = [idea.forecast.mean for idea in IDEAS]
    assert sum(mean >= 0.05 for mean in means) >= 10
    assert sum(abs(mean) <= 0.02 for mean in means) >= 10
    assert sum(mean <= -0.1 for mean in means) >= 10


def test_ideas_that_set_the_same_knob_are_alternatives():
    """Otherwise the second one adopted could only be refused."""
    slots: dict[str, set] = {}
    for idea in IDEAS:
        for key in idea.patch.overrides:
            slots.setdefault(key, set()).add(idea.patch.slot)
    # A context of another length keeps the tokens per step, so it sets the batch as well; and one form of
    # Muon comes with a decay of its own.
    assert {key for key, held in slots.items() if len(held) > 1} == {"batch", "weight_decay"}


def test_ideas_about_the_learning_rate_stay_relative_to_the_recipe(tmp_path):
    with trainer(tmp_path, None) as module:
        base = make_config(module, None).lr
    assert find("lr-double").patch.overrides["lr"] == pytest.approx(2 * base)
    assert find("lr-half").patch.overrides["lr"] == pytest.approx(base / 2)


def test_an_unknown_name_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match="'rop' is not in the catalog; allowed are .*rope"):
        find("rop")


@by_name
def test_it_trains_four_steps_and_its_checkpoint_scores(idea, corpus, tmp_path):
    losses, out = train(tmp_path, idea.patch, corpus, tokens=4096)
    assert len(losses) >= 2  # a step of the doubled batch is twice as long
    text = corpus.read_bytes()[:129]
    assert 1 < score(tmp_path / "score", idea.patch, out, text) < 12


@by_name
def test_no_logit_depends_on_a_later_token_or_on_another_sequence(idea, tmp_path):
    with trainer(tmp_path, idea.patch) as module:
        model = module("model").GPT(make_config(module, idea.patch))
        model.initialise(1)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():  # gains that start at zero would hide what flows through them
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            model.eval()
            tokens_BT = torch.randint(256, (3, 16), generator=generator)
            changed_BT = tokens_BT.clone()
            changed_BT[0, 9:] = (changed_BT[0, 9:] + 1) % 256
            before_BTV, after_BTV = model(tokens_BT), model(changed_BT)
            alone_BTV = [model(tokens_BT[:1, :length])[0, -1] for length in (1, 2, 3)]
    torch.testing.assert_close(before_BTV[0, :9], after_BTV[0, :9])
    torch.testing.assert_close(before_BTV[1:], after_BTV[1:])
    assert not torch.allclose(before_BTV[0, 9:], after_BTV[0, 9:])
    for length, logits_V in enumerate(alone_BTV, 1):  # a prefix of any length gives the same answer
        torch.testing.assert_close(logits_V, before_BTV[0, length - 1])


@pytest.mark.parametrize("kind", [True, False], ids=["edits", "overrides"])
def test_a_patch_changes_the_first_losses(kind, corpus, tmp_path):
    """One idea of each kind; a patch that is silently ignored would leave the losses equal to the bit."""
    idea = next(i for i in IDEAS if bool(i.patch.edits) is kind and i.forecast.mean > 0.05)
    control, _ = train(tmp_path / "control", None, corpus, tokens=4096)
    treatment, _ = train(tmp_path / "treatment", idea.patch, corpus, tokens=4096)
    assert control != treatment


def test_most_edits_of_different_slots_stack_on_each_other():
    """Counts plain replays, in both orders; a three-way merge can only do better."""
    testbed, _ = gpt()
    edited = [idea for idea in IDEAS if idea.patch.edits]
    clashes = set()
    pairs = 0
    for first in edited:
        for second in edited:
            if first is second or (first.patch.slot and first.patch.slot == second.patch.slot):
                continue
            pairs += 1
            try:
                patched_tree(first.patch, Patch(edits=second.patch.edits))
            except PatchError:
                clashes.add((first.name, second.name))
    assert len(clashes) / pairs < 0.05


def test_the_documentation_lists_every_idea_and_its_examples_load():
    text = (Path(__file__).parents[2] / "docs" / "ideas.md").read_text()
    rows = [
        line.split(" | ")[0].removeprefix("| ") for line in text.partition("## The catalog")[2].split("\n")
    ]
    assert [row for row in rows if row and row[0] not in "|-F" and " " not in row][1:] == [
        i.name for i in IDEAS
    ]
    toml = text.partition("```toml\n")[2].partition("```\n")[0]
    markdown = text.partition("````markdown\n")[2].partition("````\n")[0]
    (idea,) = parse_ideas(toml, ".toml", "docs")
    assert (idea,) == parse_ideas(markdown, ".md", "docs")
    assert patched_tree(idea.patch) != gpt()[1]


def test_the_table_in_the_docs_is_the_catalog():
    lines = (Path(__file__).parents[2] / "docs" / "ideas.md").read_text().splitlines()
    for idea in IDEAS:
        knobs = {k: str(v).lower() if isinstance(v, bool) else v for k, v in idea.patch.overrides.items()}
        patch = [f"`{key}={value}`" for key, value in knobs.items()]
        files = sorted({edit.path for edit in idea.patch.edits})
        patch += [f"edits of {', '.join(f'`{file}`' for file in files)}"] if files else []
        cells = (idea.name, idea.idea_class, idea.mechanism.rstrip("."))
        forecast = f"{idea.forecast.mean:+.2f} ± {idea.forecast.sd:.2f}"
        assert f"| {' | '.join(cells)} | {forecast} | {', '.join(patch)} |" in lines, idea.name

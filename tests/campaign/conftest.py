"""What tests of the loop share."""

import pytest
import team
import toy


@pytest.fixture
def campaign(toy_data, lab_root):
    """campaign(ideas, **changes): run it with the trainer as a function; (store, campaign id)."""
    opened = []

    def run(ideas, answer=None, blanks=None, added=(), **changes):
        file = toy.write_ideas(lab_root / "ideas.toml", ideas)
        settings = toy.config(file, toy_data, **changes)
        store, found, _ = toy.run_fake(settings, lab_root / "lab", answer=answer, blanks=blanks, added=added)
        opened.append(store)
        return store, found.id

    yield run
    for store in opened:
        store.close()


@pytest.fixture
def research(toy_data, lab_root):
    """research(team, **changes): a campaign with the team in every seat; (store, campaign id)."""
    opened = []

    def run(people, ideas="none", model=None, **changes):
        config = team.settings(toy_data, ideas, **changes)
        store, found, _ = toy.run_fake(config, lab_root / "lab", model=model or people.model())
        opened.append(store)
        return store, found.id

    run.data = toy_data
    yield run
    for store in opened:
        store.close()

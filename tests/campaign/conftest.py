"""What tests of the loop share."""

import pytest
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

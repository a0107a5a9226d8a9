"""The file that measures the hand-made recipe sets exactly the knobs in which the two recipes differ."""

import json
import subprocess
import sys
from pathlib import Path

from mendel.ideas.userfile import load_ideas
from mendel.testbeds import BUILT_IN

CODE = """
import json
from config import RECIPES, to_dict
gpt2, modern = to_dict(RECIPES["gpt2"]), to_dict(RECIPES["modern"])
print(json.dumps({key: value for key, value in modern.items() if gpt2[key] != value}))
"""


def test_the_modern_idea_is_the_modern_recipe():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=BUILT_IN["gpt"], capture_output=True, text=True)
    (idea,) = load_ideas(Path(__file__).parents[2] / "benchmarks" / "modern.toml")
    assert idea.patch.overrides == json.loads(done.stdout)

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model.training.train_config import Recipe
from stream.config.load import ConfigError, parse

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def test_the_documented_recipe_is_the_default() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert parse(Recipe, shown, DOCS) == Recipe()
    assert set(re.findall(r"^(\w+):", shown, re.MULTILINE)) == set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", "unknown key 'epoch'; known here: accumulate"),
        ("epochs: 0", "epochs: Input should be greater than or equal to 1, got 0"),
        ("layers: most", "layers"),
        ("rate: fast", "rate"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, text, Path("recipe.yaml"))
    assert str(caught.value).startswith("recipe.yaml: ")
    assert words in str(caught.value)

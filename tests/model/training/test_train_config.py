from __future__ import annotations

import re
from pathlib import Path

import pytest

from model.training.train_config import TrainConfig
from stream.config.load import ConfigError, parse

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def test_documented_values_are_the_defaults() -> None:
    (documented,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert parse(TrainConfig, documented, DOCS) == TrainConfig()
    assert set(re.findall(r"^(\w+):", documented, re.MULTILINE)) == set(TrainConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", "unknown key 'epoch'; known here: background"),
        ("epochs: 0", "epochs: Input should be greater than or equal to 1, got 0"),
        ("unfreeze: most", "unfreeze"),
        ("lr: fast", "lr"),
    ],
)
def test_invalid_config_names_the_key(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TrainConfig, text, Path("config.yaml"))
    assert str(caught.value).startswith("config.yaml: ")
    assert words in str(caught.value)

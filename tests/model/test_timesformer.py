from __future__ import annotations

import pytest
import torch
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs

from model.checkpoint import rename
from model.timesformer import (
    ATTENTION_TYPES,
    TimesformerConfig,
    TimesformerForVideoClassification,
)

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "initializer_range": 0.2,  # large enough that every part shows in the logits
    "id2label": {0: "a", 1: "b", 2: "c"},
}


def both(**changes: object) -> tuple[Theirs, TimesformerForVideoClassification]:
    """Transformers' network with random weights, and ours with the same ones."""
    torch.manual_seed(1)
    theirs = Theirs(TheirConfig(**{**SMALL, **changes})).eval()
    for parameter in theirs.parameters():  # biases, norms and embeddings too
        torch.nn.init.normal_(parameter, std=0.2)
    ours = TimesformerForVideoClassification(TimesformerConfig(**{**SMALL, **changes})).eval()
    ours.load_state_dict(rename(dict(theirs.state_dict()), to_ours=True))
    return theirs, ours


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"qkv_bias": False}, {"hidden_act": "relu"}, {"num_frames": 2, "image_size": 48}],
    ids=str,
)
def test_logits_equal_those_of_transformers(attention_type: str, changes: dict) -> None:
    theirs, ours = both(attention_type=attention_type, **changes)
    config = ours.config
    pixels = torch.randn(2, config.num_frames, 3, config.image_size, config.image_size)
    with torch.no_grad():
        assert torch.allclose(ours(pixels), theirs(pixels).logits, atol=1e-4)


def test_space_only_takes_the_mean_over_frames_before_the_last_norm() -> None:
    """As the original code does; transformers 5.23 leaves that out and answers for each frame."""
    theirs, ours = both(attention_type="space_only")
    pixels = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        hidden = theirs.timesformer(pixels, output_hidden_states=True).hidden_states[-1]
        mean = hidden[:, 0].view(2, 4, -1).mean(dim=1)
        expected = theirs.classifier(theirs.timesformer.layernorm(mean))
        assert torch.allclose(ours(pixels), expected, atol=1e-4)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_every_parameter_learns(attention_type: str) -> None:
    torch.manual_seed(0)
    config = TimesformerConfig(**{**SMALL, "attention_type": attention_type, "drop_path_rate": 0.1})
    network = TimesformerForVideoClassification(config).train()
    network(torch.randn(8, 4, 3, 32, 32)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert silent == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("attention_type", "sideways", "attention_type must be one of divided_space_time"),
        ("hidden_act", "swish", "hidden_act must be one of gelu"),
        ("num_attention_heads", 5, "multiple of num_attention_heads"),
        ("patch_size", 7, "multiple of patch_size"),
        ("num_frames", 0, "num_frames must be a whole number above 0"),
        ("hidden_size", "48", "hidden_size must be a whole number"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_named(key: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TimesformerConfig(**{**SMALL, key: value})


def test_pixels_of_another_shape_are_refused() -> None:
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL))
    with pytest.raises(
        ValueError, match=r"must be \(batch, 4, 3, 32, 32\), got \(1, 3, 3, 32, 32\)"
    ):
        network(torch.zeros(1, 3, 3, 32, 32))


def test_the_configuration_survives_json() -> None:
    config = TimesformerConfig(**SMALL)
    assert TimesformerConfig.from_dict(config.to_dict()) == config
    assert config.labels == ("a", "b", "c")

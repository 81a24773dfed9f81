from __future__ import annotations

import json

import pytest
from transformers import TimesformerConfig as TheirConfig

from model.families.timesformer.configuration import TimesformerConfig


def test_defaults_equal_those_of_transformers() -> None:
    ours, theirs = TimesformerConfig().to_dict(), TheirConfig().to_dict()
    for key in (
        *("image_size", "patch_size", "num_channels", "num_frames", "hidden_size"),
        *("num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"),
        *("layer_norm_eps", "qkv_bias", "attention_type", "drop_path_rate"),
    ):
        assert ours[key] == theirs[key], key


def test_labels_are_accepted_in_three_forms() -> None:
    names = {0: "jump", 1: "run"}
    by_id = TimesformerConfig(id2label=names)
    by_name = TimesformerConfig(label2id={"jump": 0, "run": 1})
    assert by_id.id2label == by_name.id2label == names
    assert by_id.label2id == by_name.label2id == {"jump": 0, "run": 1}
    assert by_id.labels == ("jump", "run")
    assert by_id.num_labels == 2
    assert TimesformerConfig(num_labels=3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_json_round_trip_preserves_unknown_keys() -> None:
    config = TimesformerConfig.from_dict(
        {"hidden_size": 96, "num_attention_heads": 3, "num_labels": 4, "made_by": {"me": [1]}}
    )
    assert config.extra == {"made_by": {"me": [1]}}
    restored = TimesformerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert restored.to_dict() == config.to_dict()
    assert restored.to_dict()["made_by"] == {"me": [1]}
    assert restored.num_labels == 4


def test_transformers_reads_our_configuration() -> None:
    config = TimesformerConfig(num_labels=4, attention_type="joint_space_time", num_frames=16)
    theirs = TheirConfig.from_dict(config.to_dict())
    assert (theirs.num_labels, theirs.attention_type, theirs.num_frames) == (
        4,
        "joint_space_time",
        16,
    )
    assert TimesformerConfig.from_dict(theirs.to_dict()).labels == config.labels


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("attention_type", "sideways", "attention_type must be one of divided_space_time"),
        ("hidden_act", "swish", "hidden_act must be one of gelu"),
        ("num_attention_heads", 5, "multiple of num_attention_heads"),
        ("patch_size", 10, "multiple of patch_size"),
        ("num_frames", 0, "num_frames must be a whole number above 0"),
        ("num_frames", True, "num_frames must be a whole number above 0"),
        ("hidden_size", "48", "hidden_size must be a whole number"),
        ("layer_norm_eps", None, "layer_norm_eps must be a number"),
        ("hidden_dropout_prob", 1.0, "hidden_dropout_prob must be a number from 0"),
        ("qkv_bias", "yes", "qkv_bias must be true or false"),
        ("id2label", ["a"], "id2label must be an object"),
        ("id2label", {0: "a", 2: "b"}, "without gaps"),
        ("id2label", {"x": "a"}, "labels must be numbered 0, 1, 2"),
        ("num_labels", 0, "num_labels must be a whole number"),
        ("num_labels", True, "num_labels must be a whole number"),
        ("problem_type", "guess", "problem_type must be one of"),
    ],
)
def test_an_invalid_value_is_named_in_the_error(key: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TimesformerConfig(**{key: value})  # type: ignore[arg-type]

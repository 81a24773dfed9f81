from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs

from model import checkpoint as checkpoints
from model.checkpoint import Checkpoint, CheckpointError
from model.predictor import Predictor
from stream.synthetic import MOTIONS


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoints.save(checkpoint, tmp_path / "tiny")
    return tmp_path / "tiny"


def their_config(**changes: Any) -> TheirConfig:
    """The configuration of a small network of transformers'."""
    return TheirConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        **changes,
    )


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_what_was_saved_is_loaded(folder: Path, checkpoint: Checkpoint) -> None:
    back = checkpoints.load(folder)
    assert (back.spec, back.mean, back.std) == (checkpoint.spec, checkpoint.mean, checkpoint.std)
    # The file holds more keys, which are kept.
    assert replace(back.model.config, extra={}) == checkpoint.model.config
    assert back.model.config.extra["background_labels"] == ["still"]
    for key, value in checkpoint.model.state_dict().items():
        assert torch.equal(back.model.state_dict()[key], value), key


def test_transformers_opens_what_was_saved(folder: Path, checkpoint: Checkpoint) -> None:
    theirs = Theirs.from_pretrained(folder).eval()
    pixels = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(theirs(pixels).logits, checkpoint.model(pixels).logits, atol=1e-4)
    assert theirs.config.id2label[9] == "wave"


def test_a_folder_of_transformers_is_opened(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = their_config(
        id2label={0: "abseiling", 1: "zumba"},
        label2id={"abseiling": 0, "zumba": 1},
    )
    theirs = Theirs(config).eval()
    theirs.save_pretrained(tmp_path / "k2")
    ours = checkpoints.load(tmp_path / "k2")
    pixels = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(ours.model(pixels).logits, theirs(pixels).logits, atol=1e-4)
    # What such a folder does not say is what the published ones were trained on.
    assert ours.spec.labels == ("abseiling", "zumba")
    assert ours.spec.span_s == pytest.approx(8 * 32 / 30)
    assert (ours.spec.fit, ours.spec.shortest_edge) == ("crop", 32)


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time", "space_only"])
def test_weights_come_back_to_transformers_bit_by_bit(tmp_path: Path, attention_type: str) -> None:
    config = their_config(
        attention_type=attention_type,
    )
    Theirs(config).save_pretrained(tmp_path / "theirs")
    checkpoints.save(checkpoints.load(tmp_path / "theirs"), tmp_path / "back")
    before, after = (
        load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back")
    )
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    Theirs.from_pretrained(tmp_path / "back")


def test_half_precision_halves_the_file_and_loads_as_float32(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    checkpoints.save(checkpoint, tmp_path / "whole")
    checkpoints.save(checkpoint, tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert checkpoints.load(tmp_path / "half").model.classifier.weight.dtype == torch.float32


def test_the_embedded_model_is_as_promised() -> None:
    folder = checkpoints.find("motion")
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size <= 10 * 2**20
    embedded = checkpoints.load("motion")
    assert embedded.spec.labels == MOTIONS
    assert embedded.spec.background == {"still"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("actionwatch train motion", "seed", "top-1", "drawn"):
        assert word in card


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(
        CheckpointError, match=r"'nothing' is neither a folder nor embedded \(motion"
    ):
        checkpoints.load("nothing")


def test_truncated_weights_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors can't be read"):
        checkpoints.load(folder)


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors can't be read"):
        checkpoints.load(folder)


def test_tensors_that_do_not_fit_are_named_as_they_are_in_the_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["timesformer.encoder.layer.1.temporal_dense.bias"]
    tensors["timesformer.stranger"] = torch.zeros(1)
    tensors["classifier.bias"] = torch.zeros(3)
    save_file(tensors, file)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(folder)
    for words in (
        "missing timesformer.encoder.layer.1.temporal_dense.bias",
        "unexpected timesformer.stranger",
        "classifier.bias is (3,), wanted (10,)",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": "32"}, "hidden_size must be a whole number"),
        ({"attention_type": "none"}, "attention_type must be one of"),
        ({"id2label": {"0": "a", "2": "b"}}, "without gaps"),
        ({"id2label": ["a"]}, "id2label must be"),
        ({"num_frames": "many"}, "tiny"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps must be a number"),
        ({"background_labels": "still"}, "background_labels must be a list"),
    ],
)
def test_a_damaged_configuration_is_named(folder: Path, changes: dict, words: str) -> None:
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_configuration_that_is_no_json_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        checkpoints.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"span_s": -1},
        {"span_s": "long"},
        {"span_s": float("inf")},
        {"size": 3},
        {"image_mean": ["a"]},
        {"image_mean": [0.5]},
        {"image_std": [0, 0, 0]},
    ],
)
def test_a_damaged_preprocessing_is_named(folder: Path, changes: dict) -> None:
    edit(folder / "preprocessor_config.json", **changes)
    with pytest.raises(CheckpointError, match="tiny"):
        checkpoints.load(folder)


def test_weights_that_are_no_numbers_are_found_before_work_begins(checkpoint: Checkpoint) -> None:
    with torch.no_grad():
        checkpoint.model.classifier.bias[0] = float("nan")
    with pytest.raises(CheckpointError, match="weights are damaged"):
        Predictor(checkpoint)


def test_a_network_that_cannot_take_the_pictures_is_named(folder: Path) -> None:
    edit(folder / "config.json", num_channels=1)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    key = "timesformer.embeddings.patch_embeddings.projection.weight"
    save_file({**tensors, key: tensors[key][:, :1].contiguous()}, file)
    with pytest.raises(CheckpointError, match="tiny can't run"):
        Predictor(checkpoints.load(folder))

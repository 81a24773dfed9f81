"""Hugging Face folders: exchange with transformers, and damaged files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs
from transformers import TimesformerModel as TheirModel

from model.checkpoint import AUTHORS, TRANSFORMERS, CheckpointError, tensor_names
from model.families.timesformer.configuration import ATTENTION_TYPES
from model.families.timesformer.network import TimesformerForVideoClassification, TimesformerModel

PIXELS = torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def their_config(**changes: Any) -> TheirConfig:
    """The configuration of a small network of transformers."""
    return TheirConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        num_labels=5,
        **changes,
    )


@pytest.fixture
def theirs() -> Theirs:
    torch.manual_seed(0)
    return Theirs(their_config()).eval()


@pytest.fixture
def folder(tmp_path: Path, theirs: Theirs) -> Path:
    theirs.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def same_logits(folder: Path, theirs: Theirs) -> bool:
    ours = TimesformerForVideoClassification.from_pretrained(folder)
    with torch.no_grad():
        return torch.allclose(ours(PIXELS).logits, theirs(PIXELS).logits, atol=1e-4)


def test_a_folder_of_transformers_is_loaded_for_inference(folder: Path, theirs: Theirs) -> None:
    assert same_logits(folder, theirs)
    ours = TimesformerForVideoClassification.from_pretrained(str(folder))
    assert not ours.training
    assert all(value.requires_grad for value in ours.parameters())


def test_shards_are_merged(tmp_path: Path, theirs: Theirs) -> None:
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert same_logits(tmp_path / "shards", theirs)


def test_pickles_of_older_transformers_are_loaded(folder: Path, theirs: Theirs) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    assert same_logits(folder, theirs)


def test_sharded_pickles_are_loaded(folder: Path, theirs: Theirs) -> None:
    (folder / "model.safetensors").unlink()
    tensors = theirs.state_dict()
    weight_map = {}
    for number, name in enumerate(tensors):
        weight_map[name] = f"pytorch_model-{number % 3}.bin"
    for file in set(weight_map.values()):
        part = {name: tensors[name] for name, shard in weight_map.items() if shard == file}
        torch.save(part, folder / file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert same_logits(folder, theirs)


def test_safetensors_are_preferred_to_a_pickle(folder: Path, theirs: Theirs) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert same_logits(folder, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_is_loaded_as_float32(folder: Path, dtype: torch.dtype) -> None:
    file = folder / "model.safetensors"
    save_file({key: value.to(dtype) for key, value in load_file(file).items()}, file)
    ours = TimesformerForVideoClassification.from_pretrained(folder)
    assert {value.dtype for value in ours.parameters()} == {torch.float32}


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_weights_round_trip_to_transformers_bit_by_bit(tmp_path: Path, attention_type: str) -> None:
    Theirs(their_config(attention_type=attention_type)).save_pretrained(tmp_path / "theirs")
    ours = TimesformerForVideoClassification.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "back")
    before, after = (
        load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back")
    )
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    Theirs.from_pretrained(tmp_path / "back")


def test_the_backbone_round_trips_to_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = TheirModel(their_config()).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = TimesformerModel.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "back")
    reloaded = TheirModel.from_pretrained(tmp_path / "back").eval()
    assert reloaded.config.architectures == ["TimesformerModel"]
    with torch.no_grad():
        expected = theirs(PIXELS).last_hidden_state
        assert torch.allclose(ours(PIXELS).last_hidden_state, expected, atol=1e-4)
        assert torch.equal(reloaded(PIXELS).last_hidden_state, expected)


def test_a_backbone_loads_from_a_classifier_but_not_the_reverse(
    folder: Path, tmp_path: Path, theirs: Theirs
) -> None:
    ours = TimesformerModel.from_pretrained(folder)
    with torch.no_grad():
        expected = theirs.timesformer(PIXELS).last_hidden_state
        assert torch.allclose(ours(PIXELS).last_hidden_state, expected, atol=1e-4)
    ours.save_pretrained(tmp_path / "backbone")
    with pytest.raises(CheckpointError, match=r"missing classifier\.weight"):
        TimesformerForVideoClassification.from_pretrained(tmp_path / "backbone")


def test_unknown_keys_of_the_configuration_are_preserved(folder: Path, tmp_path: Path) -> None:
    edit(folder / "config.json", future_key={"a": [1, 2]})
    TimesformerForVideoClassification.from_pretrained(folder).save_pretrained(tmp_path / "back")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["future_key"] == {
        "a": [1, 2]
    }


def test_tensor_names_map_to_those_of_transformers_and_the_authors(
    folder: Path, theirs: Theirs
) -> None:
    ours = TimesformerForVideoClassification.from_pretrained(folder)
    assert set(tensor_names(ours, TRANSFORMERS).values()) == set(theirs.state_dict())
    authors = tensor_names(ours, AUTHORS)
    assert len(set(authors.values())) == len(authors)
    assert authors["timesformer.blocks.1.temporal_project.bias"] == "blocks.1.temporal_fc.bias"


@pytest.mark.parametrize("stray", ["timesformer.norm.weight", "norm.weight", "stranger"])
def test_an_unexpected_tensor_is_rejected(folder: Path, stray: str) -> None:
    file = folder / "model.safetensors"
    save_file({**load_file(file), stray: torch.full((32,), 7.0)}, file)
    with pytest.raises(CheckpointError, match=f"unexpected {stray}"):
        TimesformerForVideoClassification.from_pretrained(folder)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(5, dtype=torch.int32), r"classifier\.bias is torch\.int32"),
        (torch.zeros(5, dtype=torch.complex64), r"classifier\.bias is torch\.complex64"),
        (torch.full((5,), float("nan")), r"classifier\.bias contains NaN or infinity"),
        (torch.zeros(5).to_sparse(), r"classifier\.bias is torch\.float32 \(torch\.sparse"),
    ],
    ids=["integer", "complex", "nan", "sparse"],
)
def test_tensors_must_be_dense_finite_floats(
    folder: Path, theirs: Theirs, value: torch.Tensor, words: str
) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({**theirs.state_dict(), "classifier.bias": value}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=words):
        TimesformerForVideoClassification.from_pretrained(folder)


def test_another_model_type_is_rejected(folder: Path) -> None:
    edit(folder / "config.json", model_type="videomae")
    with pytest.raises(CheckpointError, match="is of a 'videomae' model, not of a TimeSformer"):
        TimesformerForVideoClassification.from_pretrained(folder)


def test_saved_weights_are_float32_for_transformers(folder: Path, tmp_path: Path) -> None:
    """Transformers converts weights to the `dtype` in config.json."""
    edit(folder / "config.json", dtype="bfloat16")
    ours = TimesformerForVideoClassification.from_pretrained(folder)
    ours.save_pretrained(tmp_path / "back")
    reloaded = Theirs.from_pretrained(tmp_path / "back")
    assert torch.equal(reloaded.classifier.weight, ours.classifier.weight)


def test_an_unwritable_folder_is_named_in_the_error(tmp_path: Path, folder: Path) -> None:
    ours = TimesformerForVideoClassification.from_pretrained(folder)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CheckpointError, match="file can't be written"):
        ours.save_pretrained(file)


def test_truncated_weights_are_named_in_the_error(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors can't be read"):
        TimesformerForVideoClassification.from_pretrained(folder)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_a_truncated_pickle_is_named_in_the_error(
    folder: Path, theirs: Theirs, fraction: float
) -> None:
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(theirs.state_dict(), file)
    file.write_bytes(file.read_bytes()[: int(fraction * file.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin can't be read"):
        TimesformerForVideoClassification.from_pretrained(folder)


class _Code:
    """Creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_pickle_is_never_run(folder: Path, tmp_path: Path, theirs: Theirs) -> None:
    (folder / "model.safetensors").unlink()
    values = {**theirs.state_dict(), "classifier.bias": _Code(tmp_path / "it ran")}
    torch.save(values, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds code, which is never run"):
        TimesformerForVideoClassification.from_pretrained(folder)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.zeros(3)}, torch.zeros(3)])
def test_a_pickle_without_a_state_dict_is_rejected(folder: Path, content: object) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must hold a state dict"):
        TimesformerForVideoClassification.from_pretrained(folder)


def test_missing_weights_are_named_in_the_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tiny has no weights; copy model\.safetensors"):
        TimesformerForVideoClassification.from_pretrained(folder)


@pytest.mark.parametrize("weight_map", [None, {}, {"a": "../other.safetensors"}, {"a": 3}, []])
def test_a_damaged_index_is_named_in_the_error(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"index\.json must name files of its own folder"):
        TimesformerForVideoClassification.from_pretrained(folder)


def test_a_missing_shard_is_named_in_the_error(tmp_path: Path, theirs: Theirs) -> None:
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    first = min((tmp_path / "shards").glob("model-*.safetensors"))
    first.unlink()
    with pytest.raises(CheckpointError, match=f"{first.name} can't be read"):
        TimesformerForVideoClassification.from_pretrained(tmp_path / "shards")


def test_mismatched_tensors_are_listed_with_the_names_of_the_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["timesformer.encoder.layer.1.temporal_dense.bias"]
    tensors["timesformer.stranger"] = torch.zeros(1)
    tensors["classifier.bias"] = torch.zeros(3)
    save_file(tensors, file)
    with pytest.raises(CheckpointError) as caught:
        TimesformerForVideoClassification.from_pretrained(folder)
    for words in (
        "model.safetensors",
        "missing timesformer.encoder.layer.1.temporal_dense.bias",
        "unexpected timesformer.stranger",
        "classifier.bias is (3,), expected (5,)",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": "32"}, "hidden_size must be a whole number"),
        ({"attention_type": "none"}, "attention_type must be one of"),
        ({"id2label": {"0": "a", "2": "b"}}, "without gaps"),
        ({"id2label": ["a"]}, "id2label must be"),
        ({"num_frames": "many"}, "num_frames must be a whole number"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps must be a number"),
        ({"hidden_size": 2**20}, "does not match its config"),
    ],
    ids=str,
)
def test_an_invalid_configuration_is_named_in_the_error(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        TimesformerForVideoClassification.from_pretrained(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "[" * 100_000])
def test_a_configuration_that_is_not_json_is_named_in_the_error(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        TimesformerForVideoClassification.from_pretrained(folder)

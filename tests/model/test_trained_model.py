"""Models with the clip spec, normalization and temperature of their folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs

from model.checkpoint import CheckpointError
from model.families.timesformer.configuration import TimesformerConfig
from model.hub import find_checkpoint
from model.predictor import Predictor
from model.trained_model import TrainedModel, load, normalize, published_span, save
from model.training.finetune_init import new_head
from stream.config.config import InferenceConfig
from stream.synthetic.motions import MOTIONS


@pytest.fixture
def folder(tmp_path: Path, trained: TrainedModel) -> Path:
    save(trained, tmp_path / "tiny")
    return tmp_path / "tiny"


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_save_and_load_round_trip(folder: Path, trained: TrainedModel) -> None:
    back = load(folder)
    assert (back.spec, back.mean, back.std) == (trained.spec, trained.mean, trained.std)
    # The file has additional keys, which are preserved.
    assert replace(back.network.config, extra={}) == trained.network.config
    assert back.network.config.extra["background_labels"] == ["other motion", "still"]
    for key, value in trained.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[key], value), key


def test_transformers_loads_a_saved_model(tmp_path: Path, trained: TrainedModel) -> None:
    folder = tmp_path / "finetuned"
    finetuned = new_head(trained, "tiny", trained.spec.labels, drop_path=0.1).network.eval()
    finetuned.classifier.load_state_dict(trained.network.classifier.state_dict())
    save(replace(trained, network=finetuned), folder)  # transformers accepts only rate 0
    theirs = Theirs.from_pretrained(folder).eval()
    pixels = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(theirs(pixels).logits, trained.network(pixels).logits, atol=1e-4)
    assert theirs.config.id2label[9] == "wave"


def test_a_folder_without_preprocessing_gets_the_published_defaults(tmp_path: Path) -> None:
    labels = {0: "abseiling", 1: "zumba"}
    config = TheirConfig(
        image_size=32,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    Theirs(config).save_pretrained(tmp_path / "k2")
    spec = load(tmp_path / "k2").spec
    assert (spec.model, spec.labels) == ("k2", ("abseiling", "zumba"))
    assert spec.span_s == pytest.approx(8 * 32 / 30)
    assert (spec.fit, spec.shortest_edge) == ("crop", 32)


@pytest.mark.parametrize(
    ("frames", "labels", "span_s"),
    [(8, 400, 256 / 30), (16, 600, 256 / 30), (96, 400, 384 / 30), (8, 174, 4.0), (64, 174, 4.0)],
)
def test_span_of_published_models_follows_from_frames_and_labels(
    frames: int, labels: int, span_s: float
) -> None:
    config = TimesformerConfig(num_frames=frames, num_labels=labels)
    assert published_span(config) == pytest.approx(span_s)


@pytest.mark.parametrize(
    ("preprocessor", "fit", "shortest_edge"),
    [
        ({"size": {"shortest_edge": 40}}, "crop", 40),
        ({"size": 40}, "crop", 40),  # older folders
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, "squash", 0),
        ({"size": {"height": 32, "width": 32}}, "squash", 0),
        ({"size": 32, "crop_size": 32}, "crop", 32),
    ],
)
def test_the_resize_policy_is_read_from_the_preprocessing(
    folder: Path, preprocessor: dict[str, Any], fit: str, shortest_edge: int
) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    spec = load(folder).spec
    assert (spec.fit, spec.shortest_edge) == (fit, shortest_edge)


def test_half_precision_halves_the_file_and_loads_as_float32(
    tmp_path: Path, trained: TrainedModel
) -> None:
    save(trained, tmp_path / "whole")
    save(trained, tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert load(tmp_path / "half").network.classifier.weight.dtype == torch.float32


def test_a_loaded_model_outlives_its_file(folder: Path) -> None:
    model = load(folder)
    before = model.network.classifier.weight.clone()
    file = folder / "model.safetensors"
    file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(model.network.classifier.weight, before)


def test_the_embedded_model_has_the_documented_size_labels_and_card() -> None:
    folder = find_checkpoint("motion")
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size <= 15 * 2**20
    embedded = load("motion")
    assert embedded.spec.labels == MOTIONS
    assert embedded.spec.background == {"still", "other motion"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("actionwatch train-motion", "seed", "top-1", "synthetic"):
        assert word in card


def test_an_unknown_name_is_an_error_that_lists_the_embedded_models() -> None:
    with pytest.raises(CheckpointError, match=r"'nothing' is neither embedded \(motion\) nor a"):
        load("nothing")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"span_s": -1}, "span_s above 0"),
        ({"span_s": "long"}, "span_s must be 1 number, got"),
        ({"span_s": None}, "span_s must be 1 number, got"),
        ({"span_s": float("inf")}, "over inf s"),
        ({"size": "wide"}, "size must be a shortest_edge of 32 or more"),
        ({"size": {"shortest_edge": 16}}, "size must be a shortest_edge of 32 or more"),
        ({"size": {"shortest_edge": 10**6}}, "size must be a shortest_edge of 32 or more"),
        ({"size": {"height": 40, "width": 32}}, "size must be a shortest_edge of 32 or more"),
        ({"size": 40, "do_center_crop": False}, "size must be a shortest_edge of 32 or more"),
        ({"size": 40, "crop_size": 36, "do_center_crop": True}, "crop_size must be image_size"),
        ({"do_resize": False}, "do_resize must be true"),
        ({"image_mean": ["a"]}, "image_mean must be 3 numbers"),
        ({"image_mean": 0.5}, "image_mean must be 3 numbers"),
        ({"image_mean": [0.5]}, "image_mean must be 3 numbers"),
        ({"image_std": [0, 0, 0]}, "image_std and rescale_factor must be above 0"),
        ({"rescale_factor": 0}, "image_std and rescale_factor must be above 0"),
    ],
    ids=str,
)
def test_an_invalid_preprocessing_is_named_in_the_error(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    edit(folder / "preprocessor_config.json", **changes)
    with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: .*{words}"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "pixel", "expected"),
    [
        ({}, 255, (1 - 0.5) / 0.25),
        ({"rescale_factor": 1 / 127.5}, 255, (2 - 0.5) / 0.25),
        ({"do_rescale": False}, 255, (255 - 0.5) / 0.25),
        ({"do_normalize": False}, 51, 0.2),
    ],
    ids=str,
)
def test_pixels_are_rescaled_and_normalized_as_configured(
    folder: Path, changes: dict[str, Any], pixel: int, expected: float
) -> None:
    edit(folder / "preprocessor_config.json", image_mean=[0.5] * 3, image_std=[0.25] * 3, **changes)
    model = load(folder)
    clip = torch.full((1, 1, 1, 1, 3), pixel, dtype=torch.uint8)
    assert normalize(clip, model.mean, model.std).flatten().tolist() == pytest.approx(
        [expected] * 3
    )


def test_background_labels_must_be_labels(folder: Path) -> None:
    edit(folder / "config.json", background_labels="still")
    with pytest.raises(CheckpointError, match="background_labels must be a list"):
        load(folder)


def test_the_temperature_is_stored_and_applied(
    tmp_path: Path, trained: TrainedModel, folder: Path
) -> None:
    assert load(folder).temperature == 1.0
    save(replace(trained, temperature=2.5), tmp_path / "warm")
    assert load(tmp_path / "warm").temperature == 2.5
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    config = InferenceConfig(precision="fp32")
    plain, warm = (Predictor(load(one), config) for one in (folder, tmp_path / "warm"))
    powers = plain.predict(clips) ** (1 / 2.5)
    assert np.allclose(warm.predict(clips), powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1, "warm", float("nan"), True, None])
def test_a_temperature_must_be_a_number_above_0(folder: Path, temperature: object) -> None:
    edit(folder / "config.json", temperature=temperature)
    with pytest.raises(CheckpointError, match="temperature must be a number from"):
        load(folder)


def test_nan_weights_are_detected_at_startup(trained: TrainedModel) -> None:
    with torch.no_grad():
        trained.network.classifier.bias[0] = float("nan")
    with pytest.raises(CheckpointError, match="weights are damaged"):
        Predictor(trained)


def test_multi_label_scores_are_independent(folder: Path) -> None:
    edit(folder / "config.json", problem_type="multi_label_classification")
    model = load(folder)
    with torch.no_grad():
        model.network.classifier.bias.fill_(3.0)
        model.network.classifier.bias[0] = -1000.0
    clips = np.zeros((1, 4, 32, 32, 3), np.uint8)
    scores = Predictor(model).predict(clips)
    assert (scores[:, 1:] > 0.8).all()
    assert scores[0, 0] == 0


def test_a_regression_model_is_rejected(folder: Path) -> None:
    edit(folder / "config.json", problem_type="regression")
    with pytest.raises(CheckpointError, match="tiny is a regression model, not a classifier"):
        Predictor(load(folder))


def test_a_network_without_rgb_input_is_rejected(folder: Path) -> None:
    edit(folder / "config.json", num_channels=1)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    key = "timesformer.embeddings.patch_embeddings.projection.weight"
    save_file({**tensors, key: tensors[key][:, :1].contiguous()}, file)
    with pytest.raises(
        CheckpointError, match=r"config\.json: num_channels must be 3 \(RGB video\), got 1"
    ):
        load(folder)

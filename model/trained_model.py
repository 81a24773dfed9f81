"""A trained network with its clip spec and normalization, stored as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from model.checkpoint import CheckpointError, read_family, read_json, write_json, write_network
from model.families.base import FAMILIES
from model.families.timesformer.configuration import TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification
from model.hub import find_checkpoint
from stream.messages import ClipSpec

# Of the Kinetics models in the authors' code: defaults of folders that have none.
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_SSV2_LABELS = 174


@dataclass(frozen=True)
class TrainedModel:
    """A network, the spec of its input clips, and the mean and std of their pixels.

    `network` is of `family`, see `model/families/base.py`. Training and few-shot learning change
    the network itself, and need a TimeSformer: see `check_trainable`.
    """

    network: TimesformerForVideoClassification
    spec: ClipSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    # Divides the logits, so that a score of 0.8 is right four times of five (Guo et al. 2017,
    # arXiv 1706.04599). Fitted after training; 1 if uncalibrated.
    temperature: float = 1.0
    family: str = "timesformer"  # model_type of config.json


def load(name: str | Path) -> TrainedModel:
    """Load an embedded model by name, a Hugging Face folder, or a model of the hub.

    Raises CheckpointError, naming the file and the fix, for a missing or damaged file.
    """
    folder = find_checkpoint(name)
    family = read_family(folder)
    network = cast(TimesformerForVideoClassification, FAMILIES[family].load(folder))
    shown = Path(name).name or folder.resolve().name  # the last part of its name or path
    spec, mean, std = _preprocessing(folder, shown, network.config)
    return TrainedModel(network, spec, mean, std, _temperature(folder, network.config), family)


def save(model: TrainedModel, folder: Path, *, half: bool = False) -> None:
    """Write a folder that transformers and `load` can read; `half` stores weights as float16."""
    spec = model.spec
    values = {
        **model.network.config.to_dict(),
        "drop_path_rate": 0,  # matters only in training, and transformers rejects other values
        "background_labels": sorted(spec.background),
        "temperature": model.temperature,
    }
    write_network(model.network, values, folder, half=half)
    preprocessor: dict[str, Any] = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "do_center_crop": spec.fit == "crop",
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(model.mean),
        "image_std": list(model.std),
        "crop_size": {"height": spec.height, "width": spec.width},
        "size": {"shortest_edge": spec.shortest_edge}
        if spec.fit == "crop"
        else {"height": spec.height, "width": spec.width},
        "span_s": spec.span_s,
    }
    write_json(folder / "preprocessor_config.json", preprocessor)


def normalize(clips: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (batch, T, H, W, 3) -> float32 (batch, T, 3, H, W), (pixel / 255 - mean) / std.

    Frames have the size of the model's input: they are resized once, after capture.
    """
    shape = (1, 1, 3, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device)
    return clips.permute(0, 1, 4, 2, 3).float() * scale + shift.view(shape)


def published_span(config: TimesformerConfig) -> float:
    """Clip length in seconds of a published checkpoint, whose files don't contain it.

    The Kinetics models of the paper use 8 frames 32 apart, 16 frames 16 apart (-HR) or 96 frames
    4 apart (-L) at 30 fps. Those of Something-Something v2 use whole clips, of about 4 s.
    """
    if len(config.labels) == _SSV2_LABELS:
        return 4.0
    return (384 if config.num_frames >= 96 else 256) / 30


def _preprocessing(
    folder: Path, name: str, config: TimesformerConfig
) -> tuple[ClipSpec, tuple[float, ...], tuple[float, ...]]:
    """The folder's clip spec, mean and std."""
    file = folder / "preprocessor_config.json"
    values = read_json(file) if file.is_file() else {}
    if config.num_channels != 3:
        raise CheckpointError(
            f"{folder / 'config.json'}: num_channels must be 3 (RGB video), got "
            f"{config.num_channels}"
        )
    background = config.extra.get("background_labels", [])
    if not isinstance(background, list) or not set(map(str, background)) <= set(config.labels):
        raise CheckpointError(
            f"{folder / 'config.json'}: background_labels must be a list of its labels, "
            f"got {background!r:.60}"
        )
    try:
        fit, shortest_edge = _fit(values, config.image_size)
        span_s = values.get("span_s", published_span(config))
        spec = ClipSpec(
            model=name,
            labels=config.labels,
            background=frozenset(background),
            frames=config.num_frames,
            span_s=_numbers("span_s", [span_s])[0],
            height=config.image_size,
            width=config.image_size,
            fit=fit,
            shortest_edge=shortest_edge,
        )
        return spec, *_mean_std(values)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _temperature(folder: Path, config: TimesformerConfig) -> float:
    value = config.extra.get("temperature", 1.0)
    if type(value) not in (int, float) or not 0.01 <= value <= 100:
        raise CheckpointError(
            f"{folder / 'config.json'}: temperature must be a number from 0.01 to 100, got "
            f"{value!r:.60}"
        )
    return float(value)


def _fit(values: Mapping[str, Any], image: int) -> tuple[str, int]:
    """How transformers would resize a frame to `image` pixels: the policy and shortest edge."""
    size, crop = values.get("size", {"shortest_edge": image}), values.get("crop_size", image)
    crops = values.get("do_center_crop", True)
    if values.get("do_resize", True) is not True:
        raise ValueError("do_resize must be true; cameras deliver frames of any size")
    if crops and crop not in (image, {"height": image, "width": image}):
        raise ValueError(f"crop_size must be image_size of config.json, {image}, got {crop!r:.60}")
    if size in ({"height": image, "width": image}, {"width": image, "height": image}):
        return "squash", 0
    edge = size.get("shortest_edge") if isinstance(size, dict) else size  # old folders: a number
    # Beyond 8 times the crop, the model would see only a small spot of the frame.
    if not isinstance(edge, int) or not crops or not image <= edge <= 8 * image:
        raise ValueError(
            f"size must be a shortest_edge of {image} or more with do_center_crop, or height and "
            f"width of {image}; got {size!r:.60}"
        )
    return "crop", edge


def _mean_std(values: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std for pixels from 0 to 1."""
    mean = _numbers("image_mean", values.get("image_mean", MEAN), 3)
    std = _numbers("image_std", values.get("image_std", STD), 3)
    if not values.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    scale = 255 * _numbers("rescale_factor", [factor])[0]
    if not (min(std) > 0 and scale > 0):
        raise ValueError(f"image_std and rescale_factor must be above 0, got {std} and {factor!r}")
    if scale == 1:
        return mean, std
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _numbers(key: str, values: Any, count: int = 1) -> tuple[float, ...]:
    fits = isinstance(values, (list, tuple)) and len(values) == count
    if not fits or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{key} must be {count} number{'s' * (count > 1)}, got {values!r:.60}")
    return tuple(float(value) for value in values)

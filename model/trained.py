"""A trained network with all that travels with its weights; read and written as one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.checkpoint import CheckpointError, read_json, write_json, write_network
from model.configuration import TimesformerConfig
from model.hub import find, short_name
from model.timesformer import TimesformerForVideoClassification
from stream.messages import ClipSpec

# Of the Kinetics models, in the authors' code; for folders that say nothing.
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_SSV2_LABELS = 174


@dataclass(frozen=True)
class TrainedModel:
    """A network, the clips that it wants to see, and how their pixels are normalised."""

    network: TimesformerForVideoClassification
    spec: ClipSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(name: str | Path) -> TrainedModel:
    """Load an embedded model by its name, a Hugging Face folder, or a model of the hub.

    Raises CheckpointError, naming the file and the fix, for anything that is missing or damaged.
    """
    folder = find(name)
    network = TimesformerForVideoClassification.from_pretrained(folder)
    spec, mean, std = _preprocessing(folder, short_name(name, folder), network.config)
    return TrainedModel(network, spec, mean, std)


def save(model: TrainedModel, folder: Path, *, half: bool = False) -> None:
    """Write a folder that transformers and `load` open; `half` stores the weights as float16."""
    spec = model.spec
    values = {**model.network.config.to_dict(), "background_labels": sorted(spec.background)}
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


def published_span(config: TimesformerConfig) -> float:
    """Seconds that a published checkpoint, which does not say so itself, was trained on.

    The Kinetics models of the paper take 8 frames 32 apart, 16 frames 16 apart (-HR) or 96 frames
    4 apart (-L) at 30 fps. Those of Something-Something v2 take whole clips, of about 4 s.
    """
    if len(config.labels) == _SSV2_LABELS:
        return 4.0
    return (384 if config.num_frames >= 96 else 256) / 30


def _preprocessing(
    folder: Path, name: str, config: TimesformerConfig
) -> tuple[ClipSpec, tuple[float, ...], tuple[float, ...]]:
    """What the folder says of the clips that it was trained on, with their mean and std."""
    file = folder / "preprocessor_config.json"
    values = read_json(file) if file.is_file() else {}
    image = config.image_size
    try:
        size = values.get("size", {})
        size = {"shortest_edge": size} if isinstance(size, int) else dict(size)  # old folders
        fit = "squash" if "height" in size and not values.get("do_center_crop", True) else "crop"
        background = config.extra.get("background_labels", [])
        if not isinstance(background, list) or not set(background) <= set(config.labels):
            raise ValueError(f"background_labels must be a list of its labels, got {background!r}")
        spec = ClipSpec(
            model=name,
            labels=config.labels,
            background=frozenset(background),
            frames=config.num_frames,
            span_s=float(values.get("span_s", published_span(config))),
            height=image,
            width=image,
            fit=fit,
            shortest_edge=int(size.get("shortest_edge", image)) if fit == "crop" else 0,
        )
        mean = tuple(float(value) for value in values.get("image_mean", MEAN))
        std = tuple(float(value) for value in values.get("image_std", STD))
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"image_mean and image_std must be 3 numbers, got {mean} and {std}")
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return spec, mean, std

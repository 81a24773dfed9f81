"""Read and write checkpoint folders as Hugging Face lays them out, and the map of their keys."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.configuration import TimesformerConfig
from model.timesformer import TimesformerForVideoClassification
from stream.messages import ClipSpec

EMBEDDED = Path(__file__).parent / "weights"

# Ours -> transformers', read in both directions. {n} stands for the number of the layer.
_KEYS = (
    ("timesformer.cls_token", "timesformer.embeddings.cls_token"),
    ("timesformer.position", "timesformer.embeddings.position_embeddings"),
    ("timesformer.time", "timesformer.embeddings.time_embeddings"),
    ("timesformer.patch_projection.", "timesformer.embeddings.patch_embeddings.projection."),
    *(
        (f"timesformer.blocks.{{n}}.{ours}.", f"timesformer.encoder.layer.{{n}}.{theirs}.")
        for ours, theirs in (
            ("temporal_norm", "temporal_layernorm"),
            ("temporal_attention.qkv", "temporal_attention.attention.qkv"),
            ("temporal_attention.project", "temporal_attention.output.dense"),
            ("temporal_project", "temporal_dense"),
            ("attention_norm", "layernorm_before"),
            ("attention.qkv", "attention.attention.qkv"),
            ("attention.project", "attention.output.dense"),
            ("mlp_norm", "layernorm_after"),
            ("mlp.widen", "intermediate.dense"),
            ("mlp.narrow", "output.dense"),
        )
    ),
    ("timesformer.norm.", "timesformer.layernorm."),
    ("classifier.", "classifier."),
)
_TO_THEIRS = dict(_KEYS)
_TO_OURS = {theirs: ours for ours, theirs in _KEYS}


class CheckpointError(ValueError):
    """A checkpoint that can't be used. The message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Checkpoint:
    """A network with everything that travels with its weights."""

    model: TimesformerForVideoClassification
    spec: ClipSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(name: str | Path) -> Checkpoint:
    """Load an embedded checkpoint by its name, or a Hugging Face TimeSformer folder.

    Raises CheckpointError, naming the file and the fix, for anything that is missing or damaged.
    """
    folder = find(name)
    values = _read_json(folder / "config.json")
    try:
        config = TimesformerConfig.from_dict(values)
        model = TimesformerForVideoClassification(config)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    spec, mean, std = _spec(folder, config)
    weights = folder / "model.safetensors"
    try:
        tensors = rename(load_file(weights), to_ours=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{weights} can't be read ({error}); copy the checkpoint folder again"
        ) from error
    _check(weights, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), spec, mean, std)


def find(name: str | Path) -> Path:
    """The folder that a model's name means: an embedded one's, or the path itself."""
    folder = EMBEDDED / name if (EMBEDDED / name / "config.json").is_file() else Path(name)
    if not folder.is_dir():
        embedded = ", ".join(sorted(path.parent.name for path in EMBEDDED.glob("*/config.json")))
        raise CheckpointError(
            f"model {str(name)!r} is neither a folder nor embedded ({embedded or 'none'}); "
            "give a folder with config.json and model.safetensors"
        )
    return folder


def save(checkpoint: Checkpoint, folder: Path, *, half: bool = False) -> None:
    """Write a folder that transformers and `load` open; `half` stores the weights as float16."""
    folder.mkdir(parents=True, exist_ok=True)
    spec, config = checkpoint.spec, checkpoint.model.config
    values = config.to_dict()
    values["background_labels"] = sorted(spec.background)
    preprocessor: dict[str, Any] = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "do_center_crop": spec.fit == "crop",
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(checkpoint.mean),
        "image_std": list(checkpoint.std),
        "crop_size": {"height": spec.height, "width": spec.width},
        "size": {"shortest_edge": spec.shortest_edge}
        if spec.fit == "crop"
        else {"height": spec.height, "width": spec.width},
        "span_s": spec.span_s,
    }
    tensors = {
        key: (value.half() if half else value).contiguous()
        for key, value in checkpoint.model.state_dict().items()
    }
    values["torch_dtype"] = "float16" if half else "float32"
    save_file(rename(tensors, to_ours=False), folder / "model.safetensors", {"format": "pt"})
    for file, content in (("config.json", values), ("preprocessor_config.json", preprocessor)):
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def rename(tensors: dict[str, Tensor], *, to_ours: bool) -> dict[str, Tensor]:
    """The same tensors under our names, or under transformers'. Unknown names stay."""
    table = _TO_OURS if to_ours else _TO_THEIRS
    return {_renamed(key, table): value for key, value in tensors.items()}


def _renamed(key: str, table: dict[str, str]) -> str:
    number = re.search(r"\.(\d+)\.", key)
    general = key.replace(number[0], ".{n}.", 1) if number else key
    stem, dot, leaf = general.rpartition(".")
    new = table.get(general) or (table[stem + dot] + leaf if stem + dot in table else general)
    return new.replace("{n}", number[1]) if number else new


def _check(file: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    theirs = {key: _renamed(key, _TO_THEIRS) for key in wanted}
    problems = [f"missing {theirs[key]}" for key in wanted if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in wanted]
    problems += [
        f"{theirs[key]} is {tuple(tensors[key].shape)}, wanted {tuple(wanted[key].shape)}"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(
            f"{file} does not fit its config.json: {'; '.join(problems[:4])}{more}"
        )


def _spec(
    folder: Path, config: TimesformerConfig
) -> tuple[ClipSpec, tuple[float, ...], tuple[float, ...]]:
    """What the folder says of the clips that it was trained on."""
    file = folder / "preprocessor_config.json"
    values = _read_json(file) if file.is_file() else {}
    frames, image, labels = config.num_frames, config.image_size, config.labels
    try:
        size = dict(values.get("size", {}))
        fit = "squash" if "height" in size and not values.get("do_center_crop", True) else "crop"
        background = config.extra.get("background_labels", [])
        if not isinstance(background, list) or not set(background) <= set(labels):
            raise ValueError(f"background_labels must be a list of its labels, got {background!r}")
        spec = ClipSpec(
            model=folder.name,
            labels=labels,
            background=frozenset(background),
            frames=frames,
            span_s=float(values.get("span_s", _published_span(frames))),
            height=image,
            width=image,
            fit=fit,
            shortest_edge=int(size.get("shortest_edge", image)) if fit == "crop" else 0,
        )
        mean = tuple(float(value) for value in values.get("image_mean", (0.45, 0.45, 0.45)))
        std = tuple(float(value) for value in values.get("image_std", (0.225, 0.225, 0.225)))
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"image_mean and image_std must be 3 numbers, got {mean} and {std}")
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return spec, mean, std


def _published_span(frames: int) -> float:
    """Seconds that a published checkpoint without `span_s` was trained on, at 30 fps.

    The paper's models take 8 frames 32 apart, 16 frames 16 apart (-HR) or 96 frames 4 apart (-L).
    """
    return (384 if frames >= 96 else 256) / 30


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} can't be read as JSON ({error}); a checkpoint folder needs it"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} must hold a JSON object, got {type(values).__name__}")
    return values

"""Checkpoint files: Hugging Face folders, and the tensor names of each code base."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.families.base import FAMILIES
from model.families.timesformer.configuration import TimesformerConfig
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import replacing, write_atomically

# Weight files of a folder, preferred first: safetensors hold no code; shards have an index.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

# Columns of the table of tensor names below.
OWN, TRANSFORMERS, AUTHORS = range(3)
_LAYER = ("timesformer.blocks.{n}.", "timesformer.encoder.layer.{n}.", "blocks.{n}.")
_NAMES = (  # {n} is the layer's number; a trailing dot stands for .weight and .bias
    ("timesformer.cls_token", "timesformer.embeddings.cls_token", "cls_token"),
    ("timesformer.position", "timesformer.embeddings.position_embeddings", "pos_embed"),
    ("timesformer.time", "timesformer.embeddings.time_embeddings", "time_embed"),
    (
        "timesformer.patch_projection.",
        "timesformer.embeddings.patch_embeddings.projection.",
        "patch_embed.proj.",
    ),
    *(
        tuple(f"{layer}{name}." for layer, name in zip(_LAYER, names, strict=True))
        for names in (
            ("temporal_norm", "temporal_layernorm", "temporal_norm1"),
            ("temporal_attention.qkv", "temporal_attention.attention.qkv", "temporal_attn.qkv"),
            ("temporal_attention.project", "temporal_attention.output.dense", "temporal_attn.proj"),
            ("temporal_project", "temporal_dense", "temporal_fc"),
            ("attention_norm", "layernorm_before", "norm1"),
            ("attention.qkv", "attention.attention.qkv", "attn.qkv"),
            ("attention.project", "attention.output.dense", "attn.proj"),
            ("mlp_norm", "layernorm_after", "norm2"),
            ("mlp.fc1", "intermediate.dense", "mlp.fc1"),
            ("mlp.fc2", "output.dense", "mlp.fc2"),
        )
    ),
    ("timesformer.norm.", "timesformer.layernorm.", "norm."),
    ("classifier.", "classifier.", "head."),
)
_BACKBONE, _HEAD = "timesformer.", "classifier."  # prefixes

Network = TypeVar("Network", bound=nn.Module)


class CheckpointError(UserError, ValueError):
    """A checkpoint that can't be used. The message names the file, the problem and the fix."""


def read_network(build: Callable[[TimesformerConfig], Network], folder: Path) -> Network:
    """Build a network from the folder's configuration and load its weights, for inference.

    If the network has no classifier, one in the folder is ignored.
    Raises CheckpointError, naming the file and the fix, for a missing or damaged file.
    """
    network = build_on_meta(build, read_config(folder), folder / "config.json")
    file, tensors = _read_weights(folder)
    if not hasattr(network, "classifier"):
        tensors = {key: value for key, value in tensors.items() if not key.startswith(_HEAD)}
    headless = not any(key.startswith(_BACKBONE) for key in tensors)
    names = tensor_names(network, TRANSFORMERS, headless=headless)
    return load_tensors(network, tensors, file, names)


def write_network(
    network: nn.Module, values: Mapping[str, Any], folder: Path, *, half: bool = False
) -> None:
    """Write weights and `config.json` with these values, in the format of transformers.

    `half` stores the weights as float16. Raises CheckpointError if writing fails.
    """
    state = network.state_dict()
    names = tensor_names(network, TRANSFORMERS, headless=not hasattr(network, "classifier"))
    tensors = {
        names[key]: (value.half() if half else value).detach().cpu().contiguous()
        for key, value in state.items()
    }
    dtype = "float16" if half else "float32"
    own = {"architectures": [type(network).__name__], "dtype": dtype, "torch_dtype": dtype}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "model.safetensors") as temporary:
            save_file(tensors, temporary, {"format": "pt"})
            temporary.chmod(0o644)  # safetensors makes it private, unlike the other files
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder} can't be written: {error}") from error
    write_json(folder / "config.json", {**values, **own})


def build_on_meta(
    build: Callable[[TimesformerConfig], Network], config: TimesformerConfig, file: Path
) -> Network:
    """A network on torch's meta device, for `load_tensors`. `file` is named in errors."""
    try:
        with torch.device("meta"):
            return build(config)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def load_tensors(
    network: Network, tensors: Mapping[str, Tensor], file: Path, names: Mapping[str, str]
) -> Network:
    """Load weights as float32 into a network on the meta device, and set it to eval mode.

    `tensors` have the file's names; `names` maps our names to them. Raises CheckpointError with
    the names of missing, unexpected, misshaped and non-finite tensors.
    """
    expected = {names[key]: value.shape for key, value in network.state_dict().items()}
    problems = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in expected]
    for name, shape in expected.items():
        value = tensors.get(name)
        if value is None:
            continue
        if value.shape != shape:
            problems.append(f"{name} is {tuple(value.shape)}, expected {tuple(shape)}")
        elif not (value.is_floating_point() and value.layout == torch.strided):
            problems.append(f"{name} is {value.dtype} ({value.layout}), expected dense floats")
        elif not torch.isfinite(value).all():
            problems.append(f"{name} contains NaN or infinity")
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"{file} does not match its config: {'; '.join(problems[:4])}{more}")
    # Copies: the tensors may be views of the file, which can change or vanish while we run.
    copies = {key: tensors[names[key]].to(torch.float32, copy=True) for key in names}
    network.load_state_dict(copies, assign=True)
    return network.eval()


def tensor_names(network: nn.Module, column: int, *, headless: bool = False) -> dict[str, str]:
    """Map our tensor names to those of a column of the table.

    Our names in a network without classifier have no `timesformer.` prefix; `headless` omits it
    from the other names as well, as transformers does in such folders.
    """
    table = {names[OWN]: names[column] for names in _NAMES}
    prefix = "" if hasattr(network, "classifier") else _BACKBONE
    names = {key: _renamed(prefix + key, table) for key in network.state_dict()}
    return {key: name.removeprefix(_BACKBONE) if headless else name for key, name in names.items()}


def _renamed(key: str, table: Mapping[str, str]) -> str:
    number = re.search(r"\.(\d+)\.", key)
    template = key.replace(number[0], ".{n}.", 1) if number else key
    stem, dot, leaf = template.rpartition(".")
    new = table.get(template) or table[stem + dot] + leaf
    return new.replace("{n}", number[1]) if number else new


def read_family(folder: Path) -> str:
    """The model family of the folder, by its `config.json`: a key of FAMILIES.

    Raises CheckpointError if the file is missing or damaged, or the family is not known.
    """
    file = folder / "config.json"
    family = read_json(file).get("model_type", "timesformer")
    if not isinstance(family, str) or family not in FAMILIES:
        raise CheckpointError(
            f"{file} is of a {family!r:.40} model, which is not known; "
            f"use {' or '.join(sorted(FAMILIES))}"
        )
    return family


def read_config(folder: Path) -> TimesformerConfig:
    """The folder's `config.json`. Raises CheckpointError if it is missing or invalid."""
    file = folder / "config.json"
    values = read_json(file)
    model_type = values.get("model_type", "timesformer")
    if model_type != "timesformer":
        raise CheckpointError(f"{file} is of a {model_type!r:.40} model, not of a TimeSformer")
    try:
        return TimesformerConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def shard_names(index: Path) -> list[str]:
    """The files that a shard index names. Raises CheckpointError for a damaged index."""
    table = read_json(index).get("weight_map")
    names = sorted(set(table.values())) if isinstance(table, dict) else []
    if not names or any(Path(str(name)).name != name for name in names):
        raise CheckpointError(f"{index} must name files of its own folder under weight_map")
    return names


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file to name in errors, and the folder's tensors under their names in it."""
    found = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(
            f"{folder} has no weights; copy {' or '.join(WEIGHT_FILES[::2])} into it"
        )
    if found.suffix != ".json":
        return found, _read_tensors(found)
    tensors: dict[str, Tensor] = {}
    for name in shard_names(found):
        tensors |= _read_tensors(folder / name)
    return found, tensors


def _read_tensors(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        tensors = read_pickle(file)
    else:
        try:
            tensors = load_file(file)
        except Exception as error:  # damaged files raise many types
            raise CheckpointError(
                f"{file} can't be read ({error}); copy the checkpoint folder again"
            ) from error
    if not is_state_dict(tensors):
        raise CheckpointError(f"{file} must hold a state dict: tensors by name, nothing else")
    return tensors


def is_state_dict(values: Any) -> bool:
    """Whether these are CPU tensors by name."""
    return isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) and value.device.type == "cpu"
        for key, value in values.items()
    )


def read_pickle(file: Path) -> Any:
    """Read a file of `torch.save`: tensors and plain values only; code is never run."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{file} can't be read ({reason_of(error)})") from error
    except Exception as error:  # damaged pickles raise almost any type
        raise CheckpointError(
            f"{file} can't be read: it is damaged, or holds code, which is never run; download the "
            "file again, or get the same weights as safetensors"
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError, naming the file, for anything else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} does not exist; a checkpoint folder needs it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} can't be read as JSON ({error}); a checkpoint folder needs it"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} must hold a JSON object, got {type(values).__name__}")
    return values


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file. Raises CheckpointError if that fails."""
    try:
        write_atomically(file, json.dumps(values, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{file} can't be written: {error}") from error

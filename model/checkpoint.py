"""Checkpoint files: Hugging Face's folders, and the names that everyone gives to the tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.families.timesformer.configuration import TimesformerConfig

# Where weights may lie in a folder, best first: safetensors hold no code, shards have an index.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

# Who calls a tensor what: columns of the table below, which is read in every direction.
OURS, TRANSFORMERS, AUTHORS = range(3)
_LAYER = ("timesformer.blocks.{n}.", "timesformer.encoder.layer.{n}.", "blocks.{n}.")
_NAMES = (  # {n} stands for the number of the layer; a dot at the end for weight and bias
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
            ("mlp.widen", "intermediate.dense", "mlp.fc1"),
            ("mlp.narrow", "output.dense", "mlp.fc2"),
        )
    ),
    ("timesformer.norm.", "timesformer.layernorm.", "norm."),
    ("classifier.", "classifier.", "head."),
)
_BODY, _HEAD = "timesformer.", "classifier."  # how names begin

Network = TypeVar("Network", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint that can't be used. The message names the file and what is wrong with it."""


def read_network(
    build: Callable[[TimesformerConfig], Network], folder: Path, *, body: bool
) -> Network:
    """What `build` makes of the folder's configuration, filled with its weights, for inference.

    `body`: the network has no classifier. A classifier in the folder is then left there.
    Raises CheckpointError, naming the file and the fix, for anything that is missing or damaged.
    """
    network = empty(build, read_config(folder), folder / "config.json")
    file, tensors = _read_weights(folder)
    if body:
        tensors = {key: value for key, value in tensors.items() if not key.startswith(_HEAD)}
    headless = not any(key.startswith(_BODY) for key in tensors)
    names = names_of(network, TRANSFORMERS, headless=headless)
    return fill(network, tensors, file, names)


def write_network(
    network: nn.Module, values: Mapping[str, Any], folder: Path, *, half: bool = False
) -> None:
    """Write weights and `config.json` with these values, as transformers opens them.

    `half` stores the weights as float16. Raises CheckpointError where that can't be done.
    """
    state = network.state_dict()
    names = names_of(network, TRANSFORMERS, headless=not hasattr(network, "classifier"))
    tensors = {
        names[key]: (value.half() if half else value).detach().cpu().contiguous()
        for key, value in state.items()
    }
    dtype = "float16" if half else "float32"
    own = {"architectures": [type(network).__name__], "dtype": dtype, "torch_dtype": dtype}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _replacing(folder / "model.safetensors") as unfinished:
            save_file(tensors, unfinished, {"format": "pt"})
            unfinished.chmod(0o644)  # else only its owner could use it, unlike the files beside it
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder} can't be written: {error}") from error
    write_json(folder / "config.json", {**values, **own})


def empty(
    build: Callable[[TimesformerConfig], Network], config: TimesformerConfig, file: Path
) -> Network:
    """A network without memory for its weights, to be filled. `file` is where `config` is from."""
    try:
        with torch.device("meta"):
            return build(config)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def fill(
    network: Network, tensors: Mapping[str, Tensor], file: Path, names: Mapping[str, str]
) -> Network:
    """Give an empty network its weights, float32, and make it ready for inference.

    tensors are by the names of the file; `names` tells those for ours. Raises CheckpointError with
    the names of what is missing, left over, misshaped or no number.
    """
    wanted = {names[key]: value.shape for key, value in network.state_dict().items()}
    problems = [f"missing {name}" for name in wanted if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in wanted]
    for name, shape in wanted.items():
        value = tensors.get(name)
        if value is None:
            continue
        if value.shape != shape:
            problems.append(f"{name} is {tuple(value.shape)}, wanted {tuple(shape)}")
        elif not (value.is_floating_point() and value.layout == torch.strided):
            problems.append(f"{name} holds {value.dtype} ({value.layout}), wanted plain floats")
        elif not torch.isfinite(value).all():
            problems.append(f"{name} holds what is no finite number")
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"{file} does not fit its sizes: {'; '.join(problems[:4])}{more}")
    # Copies: what was read may be a view of the file, which can change or go while we work.
    copies = {key: tensors[names[key]].to(torch.float32, copy=True) for key in names}
    network.load_state_dict(copies, assign=True)
    return network.eval()


def names_of(network: nn.Module, column: int, *, headless: bool = False) -> dict[str, str]:
    """What others call the tensors of a network: our names -> those of a column of the table.

    Our names in a network without classifier lack their beginning; `headless` leaves it out of
    theirs as well, as transformers does in folders of such networks.
    """
    table = {names[OURS]: names[column] for names in _NAMES}
    body = "" if hasattr(network, "classifier") else _BODY
    names = {key: _renamed(body + key, table) for key in network.state_dict()}
    return {key: name.removeprefix(_BODY) if headless else name for key, name in names.items()}


def _renamed(key: str, table: Mapping[str, str]) -> str:
    number = re.search(r"\.(\d+)\.", key)
    general = key.replace(number[0], ".{n}.", 1) if number else key
    stem, dot, leaf = general.rpartition(".")
    new = table.get(general) or table[stem + dot] + leaf
    return new.replace("{n}", number[1]) if number else new


def read_config(folder: Path) -> TimesformerConfig:
    """The folder's `config.json`. Raises CheckpointError where it is missing or wrong."""
    file = folder / "config.json"
    values = read_json(file)
    kind = values.get("model_type", "timesformer")
    if kind != "timesformer":
        raise CheckpointError(f"{file} is of a {kind!r:.40} model, not of a TimeSformer")
    try:
        return TimesformerConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def shard_names(index: Path) -> list[str]:
    """The files that an index of shards names. Raises CheckpointError for a damaged index."""
    table = read_json(index).get("weight_map")
    names = sorted(set(table.values())) if isinstance(table, dict) else []
    if not names or any(Path(str(name)).name != name for name in names):
        raise CheckpointError(f"{index} must name files of its own folder under weight_map")
    return names


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The folder's tensors under the names they have there, and the file to name in errors."""
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
        except Exception as error:  # damaged files raise many kinds
            raise CheckpointError(
                f"{file} can't be read ({error}); copy the checkpoint folder again"
            ) from error
    if not is_tensors(tensors):
        raise CheckpointError(f"{file} must hold tensors by name, and nothing else")
    return tensors


def is_tensors(values: Any) -> bool:
    """Whether these are tensors by their names."""
    return isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) and value.device.type == "cpu"
        for key, value in values.items()
    )


def read_pickle(file: Path) -> Any:
    """What `torch.save` wrote, as far as it is tensors and plain values; code is never run."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{file} can't be read ({error.strerror or error})") from error
    except Exception as error:  # damaged pickles raise about every kind there is
        raise CheckpointError(
            f"{file} can't be read: it is damaged, or holds code, which is never run; get the "
            "file again, or the same weights as safetensors"
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError, naming the file, where there is none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is not there; a checkpoint folder needs it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} can't be read as JSON ({error}); a checkpoint folder needs it"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} must hold a JSON object, got {type(values).__name__}")
    return values


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file. Raises CheckpointError where that can't be done."""
    try:
        with _replacing(file) as unfinished:
            unfinished.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{file} can't be written: {error}") from error


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Another name to write to, which takes the file's place only when all is written."""
    unfinished = file.with_name(file.name + ".part")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)

"""Conversion of the authors' checkpoints, compared to a reference of their network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import TimesformerForVideoClassification as Theirs

from model.checkpoint import CheckpointError
from model.families.timesformer.convert import convert, read_labels
from model.trained_model import load, save

Tensors = dict[str, Tensor]


def authors_tensors(
    *,
    hidden: int = 128,
    layers: int = 2,
    patch: int = 16,
    side: int = 2,
    frames: int = 4,
    labels: int = 5,
    attention: str = "divided",
) -> Tensors:
    """Random tensors with the names of the authors' code."""
    random = torch.Generator().manual_seed(0)
    tensors: Tensors = {}

    def put(name: str, *shape: int, scale: float = 0.05) -> None:
        tensors[f"model.{name}"] = scale * torch.randn(*shape, generator=random)

    def linear(name: str, out: int, into: int) -> None:
        put(f"{name}.weight", out, into)
        put(f"{name}.bias", out)

    def norm(name: str) -> None:
        put(f"{name}.weight", hidden)
        tensors[f"model.{name}.weight"] += 1
        put(f"{name}.bias", hidden)

    put("cls_token", 1, 1, hidden)
    put("pos_embed", 1, side * side + 1, hidden)
    if attention != "space only":
        put("time_embed", 1, frames, hidden)
    put("patch_embed.proj.weight", hidden, 3, patch, patch)
    put("patch_embed.proj.bias", hidden)
    for n in range(layers):
        norm(f"blocks.{n}.norm1")
        linear(f"blocks.{n}.attn.qkv", 3 * hidden, hidden)
        linear(f"blocks.{n}.attn.proj", hidden, hidden)
        if attention == "divided":
            norm(f"blocks.{n}.temporal_norm1")
            linear(f"blocks.{n}.temporal_attn.qkv", 3 * hidden, hidden)
            linear(f"blocks.{n}.temporal_attn.proj", hidden, hidden)
            linear(f"blocks.{n}.temporal_fc", hidden, hidden)
        norm(f"blocks.{n}.norm2")
        linear(f"blocks.{n}.mlp.fc1", 4 * hidden, hidden)
        linear(f"blocks.{n}.mlp.fc2", hidden, 4 * hidden)
    norm("norm")
    linear("head", labels, hidden)
    return tensors


def save_pyth(tensors: Tensors, file: Path) -> Path:
    """Save as the authors' code does: with the training state around the tensors."""
    training = {"epoch": 14, "optimizer_state": {"state": {}, "param_groups": []}, "cfg": "A: 1\n"}
    torch.save({**training, "model_state": tensors}, file)
    return file


def authors_logits(tensors: Tensors, pixels: Tensor) -> Tensor:
    """The network of the paper, (batch, T, 3, H, W) -> (batch, labels).

    Patches are (batch, T, positions, hidden), with a separate class token.
    """
    t = {name.removeprefix("model."): value for name, value in tensors.items()}
    hidden = t["cls_token"].shape[-1]
    layers = 1 + max(int(name.split(".")[1]) for name in t if name.startswith("blocks."))

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (hidden,), t[f"{name}.weight"], t[f"{name}.bias"], eps=1e-6)

    def attend(name: str, x: Tensor) -> Tensor:
        heads = hidden // 64
        q, k, v = linear(f"{name}.qkv", x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (heads, 64)).transpose(-2, -3) for part in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / 8).softmax(dim=-1)
        return linear(f"{name}.proj", (weights @ v).transpose(-2, -3).flatten(-2))

    batch, frames = pixels.shape[:2]
    weight, bias = t["patch_embed.proj.weight"], t["patch_embed.proj.bias"]
    x = F.conv2d(pixels.flatten(0, 1), weight, bias, stride=weight.shape[-1])
    x = x.flatten(2).transpose(1, 2).unflatten(0, (batch, frames)) + t["pos_embed"][:, 1:]
    if "time_embed" in t:
        x = x + t["time_embed"][:, :, None]
    cls = (t["cls_token"] + t["pos_embed"][:, :1])[:, 0].expand(batch, hidden)
    if "time_embed" not in t:  # each frame is separate, with its own class token
        cls = cls[:, None].expand(batch, frames, hidden)
    for n in range(layers):
        b = f"blocks.{n}"
        if f"{b}.temporal_fc.weight" in t:
            by_position = norm(f"{b}.temporal_norm1", x.transpose(1, 2))
            temporal = attend(f"{b}.temporal_attn", by_position)
            x = x + linear(f"{b}.temporal_fc", temporal).transpose(1, 2)
            with_cls = torch.cat([cls[:, None, None].expand(-1, frames, 1, -1), x], dim=2)
            mixed = attend(f"{b}.attn", norm(f"{b}.norm1", with_cls))
            cls, x = cls + mixed[:, :, 0].mean(dim=1), x + mixed[:, :, 1:]
        elif "time_embed" in t:
            all_tokens = torch.cat([cls[:, None], x.flatten(1, 2)], dim=1)
            mixed = attend(f"{b}.attn", norm(f"{b}.norm1", all_tokens))
            cls, x = cls + mixed[:, 0], x + mixed[:, 1:].view_as(x)
        else:
            mixed = attend(f"{b}.attn", norm(f"{b}.norm1", torch.cat([cls[:, :, None], x], dim=2)))
            cls, x = cls + mixed[:, :, 0], x + mixed[:, :, 1:]

        def mlp(y: Tensor, b: str = b) -> Tensor:
            return y + linear(f"{b}.mlp.fc2", F.gelu(linear(f"{b}.mlp.fc1", norm(f"{b}.norm2", y))))

        cls, x = mlp(cls), mlp(x)
    if "time_embed" not in t:
        cls = cls.mean(dim=1)
    return linear("head", norm("norm", cls))


@pytest.mark.parametrize(
    ("attention", "attention_type"),
    [
        ("divided", "divided_space_time"),
        ("joint", "joint_space_time"),
        ("space only", "space_only"),
    ],
)
def test_sizes_and_attention_are_read_from_the_tensors(
    tmp_path: Path, attention: str, attention_type: str
) -> None:
    tensors = authors_tensors(attention=attention, layers=3, patch=8, side=3)
    model = convert(save_pyth(tensors, tmp_path / "x.pyth"), name="x")
    config = model.network.config
    assert config.attention_type == attention_type
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (128, 2, 3)
    assert (config.patch_size, config.image_size, config.intermediate_size) == (8, 24, 512)
    assert config.num_frames == (8 if attention == "space only" else 4)
    pixels = torch.randn(2, 4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = authors_logits(tensors, pixels)
        assert torch.allclose(model.network(pixels).logits, expected, atol=1e-4)


def test_network_of_base_width_gives_the_logits_of_the_reference(tmp_path: Path) -> None:
    tensors = authors_tensors(hidden=768, layers=1, side=14, frames=8, labels=400)
    labels = tuple(f"action {n}" for n in range(400))
    file = save_pyth(tensors, tmp_path / "TimeSformer_divST_8x32_224_K400.pyth")
    save(convert(file, name="k400", labels=labels), tmp_path / "k400")
    model = load(tmp_path / "k400")
    assert model.spec.labels == labels
    assert model.spec.span_s == pytest.approx(8 * 32 / 30)
    assert (model.spec.height, model.spec.fit, model.spec.shortest_edge) == (224, "crop", 224)
    assert (model.mean, model.std) == ((0.45,) * 3, (0.225,) * 3)
    pixels = torch.randn(1, 8, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = authors_logits(tensors, pixels)
        assert torch.allclose(model.network(pixels).logits, expected, atol=1e-4)
    Theirs.from_pretrained(tmp_path / "k400")


@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_tensors_are_found_under_any_wrapper_and_prefix(
    tmp_path: Path, wrapper: str | None, prefix: str
) -> None:
    tensors = {
        prefix + name.removeprefix("model."): value for name, value in authors_tensors().items()
    }
    torch.save({wrapper: tensors} if wrapper else tensors, tmp_path / "x.pyth")
    model = convert(tmp_path / "x.pyth", name="x")
    assert torch.equal(model.network.classifier.bias, tensors[f"{prefix}head.bias"])


def test_span_and_heads_can_be_given(tmp_path: Path) -> None:
    file = save_pyth(authors_tensors(), tmp_path / "x.pyth")
    model = convert(file, name="x", span_s=3.0, heads=4)
    assert model.spec.span_s == 3.0
    assert model.network.config.num_attention_heads == 4


@pytest.mark.parametrize(
    ("remove", "put", "words"),
    [
        ("pos_embed", None, "has no tensor pos_embed of 3 dimensions"),
        ("pos_embed", torch.zeros(1, 6, 128), "pos_embed has 5 patches, expected a square number"),
        ("head.weight", torch.zeros(5), "has no tensor head.weight of 2 dimensions"),
        ("blocks.1.attn.qkv.bias", None, "missing blocks.1.attn.qkv.bias"),
        (
            "blocks.0.norm2.bias",
            torch.zeros(3),
            r"blocks.0.norm2.bias is \(3,\), expected \(128,\)",
        ),
        ("stranger", torch.zeros(3), "unexpected stranger"),
    ],
)
def test_damaged_tensors_are_reported_with_the_authors_names(
    tmp_path: Path, remove: str, put: Tensor | None, words: str
) -> None:
    tensors = authors_tensors()
    tensors.pop(f"model.{remove}", None)
    if put is not None:
        tensors[f"model.{remove}"] = put
    with pytest.raises(CheckpointError, match=words):
        convert(save_pyth(tensors, tmp_path / "x.pyth"), name="x")


@pytest.mark.parametrize("content", [{"model_state": [1]}, [], {"epoch": 3}], ids=str)
def test_a_file_without_tensors_is_rejected(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pyth")
    with pytest.raises(CheckpointError, match=r"x\.pyth must hold tensors by name"):
        convert(tmp_path / "x.pyth", name="x")


def test_the_number_of_labels_must_match_the_classifier(tmp_path: Path) -> None:
    file = save_pyth(authors_tensors(), tmp_path / "x.pyth")
    with pytest.raises(CheckpointError, match="has 5 labels, but 2 were given"):
        convert(file, name="x", labels=("a", "b"))


def test_labels_are_the_lines_of_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffabseiling\r\nair drumming\r\nZähne putzen\r\n", encoding="utf-8")
    assert read_labels(file) == ("abseiling", "air drumming", "Zähne putzen")


@pytest.mark.parametrize(
    ("text", "words"),
    [("a\n\nb\n", "line 2 is empty"), ("a\nb\na\n", "line 3: 'a' is a duplicate")],
)
def test_invalid_labels_are_named_in_the_error(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(CheckpointError, match=rf"labels\.txt {words}"):
        read_labels(file)
    with pytest.raises(CheckpointError, match=r"none\.txt can't be read"):
        read_labels(tmp_path / "none.txt")

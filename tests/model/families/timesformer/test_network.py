"""Our network compared to that of transformers with the same random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs

from model.checkpoint import TRANSFORMERS, tensor_names
from model.families.timesformer.configuration import ATTENTION_TYPES, TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification, TimesformerModel

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "id2label": {0: "a", 1: "b", 2: "c"},
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"num_frames": 2},
    {"image_size": 48},
    {"num_frames": 2, "image_size": 48, "num_channels": 1},
    {"qkv_bias": False},
    {"hidden_act": "relu"},
    {"hidden_act": "gelu_new"},
]


def both(**changes: Any) -> tuple[Theirs, TimesformerForVideoClassification]:
    """The network of transformers with random weights, and ours with the same ones."""
    torch.manual_seed(1)
    theirs = Theirs(TheirConfig(**{**SMALL, **changes})).eval()
    for parameter in theirs.parameters():  # biases, norms and embeddings too
        torch.nn.init.normal_(parameter, std=0.2)
    ours = TimesformerForVideoClassification(TimesformerConfig(**{**SMALL, **changes})).eval()
    state = theirs.state_dict()
    names = tensor_names(ours, TRANSFORMERS)
    assert sorted(names.values()) == sorted(state)
    ours.load_state_dict({key: state[name] for key, name in names.items()})
    return theirs, ours


def clips_for(config: TimesformerConfig, count: int = 2) -> Tensor:
    size = config.image_size
    return torch.randn(count, config.num_frames, config.num_channels, size, size)


def same(one: Tensor, other: Tensor, atol: float = 1e-4) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= atol)


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_all_outputs_equal_those_of_transformers(attention_type: str, changes: dict) -> None:
    theirs, ours = both(attention_type=attention_type, **changes)
    pixels, labels = clips_for(ours.config), torch.tensor([2, 0])
    options = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, found = (net(pixels, labels=labels, **options) for net in (theirs, ours))
    assert same(found.logits, expected.logits)
    assert same(found.loss, expected.loss)
    assert len(found.hidden_states) == 1 + ours.config.num_hidden_layers
    assert len(found.attentions) == ours.config.num_hidden_layers
    for name in ("hidden_states", "attentions"):
        for one, other in zip(found[name], expected[name], strict=True):
            assert same(one, other), name
    with torch.no_grad():
        backbone, their_backbone = ours.timesformer(pixels), theirs.timesformer(pixels)
    assert same(backbone.last_hidden_state, their_backbone.last_hidden_state)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_space_only_averages_over_frames_before_the_last_norm(changes: dict) -> None:
    """As in the authors' code; transformers 5.23 classifies each frame separately."""
    theirs, ours = both(attention_type="space_only", **changes)
    pixels = clips_for(ours.config)
    options = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, found = theirs.timesformer(pixels, **options), ours(pixels, **options)
        for name in ("hidden_states", "attentions"):
            for one, other in zip(found[name], expected[name], strict=True):
                assert same(one, other), name
        last = expected.hidden_states[-1]
        mean = last.unflatten(0, (2, ours.config.num_frames)).mean(dim=1)
        assert same(found.logits, theirs.classifier(theirs.timesformer.layernorm(mean[:, 0])))
        normed = theirs.timesformer.layernorm(mean)
        assert same(ours.timesformer(pixels).last_hidden_state, normed)


def same_gradients(theirs: Theirs, ours: TimesformerForVideoClassification) -> None:
    for name, their_name in tensor_names(ours, TRANSFORMERS).items():
        found, expected = ours.get_parameter(name).grad, theirs.get_parameter(their_name).grad
        assert found is not None
        assert expected is not None
        assert same(found, expected, atol=1e-3), name


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
def test_gradients_equal_those_of_transformers(attention_type: str) -> None:
    theirs, ours = both(attention_type=attention_type)
    pixels, labels = clips_for(ours.config), torch.tensor([2, 0])
    for network in (theirs, ours):
        network(pixels, labels=labels).loss.backward()
    same_gradients(theirs, ours)


def test_space_only_has_the_loss_and_gradients_of_the_mean_over_frames() -> None:
    theirs, ours = both(attention_type="space_only")
    pixels, labels = clips_for(ours.config), torch.tensor([2, 0])
    states = theirs.timesformer(pixels, output_hidden_states=True).hidden_states
    mean = states[-1][:, 0].unflatten(0, (2, ours.config.num_frames)).mean(dim=1)
    logits = theirs.classifier(theirs.timesformer.layernorm(mean))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    found = ours(pixels, labels=labels).loss
    assert same(found, expected)
    for loss in (found, expected):
        loss.backward()
    same_gradients(theirs, ours)


def test_a_new_network_has_temporal_attention_only_in_its_first_layer() -> None:
    """As in the authors' code, where the layer is called temporal_fc."""
    blocks = TimesformerModel(TimesformerConfig(**SMALL)).blocks
    assert blocks[0].temporal_project.weight.any()
    assert not any(block.temporal_project.weight.any() for block in blocks[1:])


@pytest.mark.parametrize(
    ("count", "labels"),
    [
        (1, torch.tensor([0.5, -1.0])),
        (3, torch.tensor([2, 0])),
        (3, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    ],
    ids=["regression", "single label", "multi label"],
)
def test_the_type_of_loss_follows_from_the_labels(count: int, labels: Tensor) -> None:
    names = {index: str(index) for index in range(count)}
    theirs, ours = both(id2label=names, label2id={name: i for i, name in names.items()})
    pixels = clips_for(ours.config)
    with torch.no_grad():
        assert same(ours(pixels, labels=labels).loss, theirs(pixels, labels=labels).loss)


@pytest.mark.parametrize("labels", [[3, 0], [-1, 0], [1], [[1.0], [0.0]]], ids=str)
def test_invalid_labels_are_rejected(labels: list) -> None:
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL))
    with pytest.raises(ValueError, match="labels must be"):
        network(clips_for(network.config), labels=torch.tensor(labels))


def test_outputs_unpack_like_tuples() -> None:
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL)).eval()
    pixels, labels = clips_for(network.config), torch.tensor([1, 2])
    (logits,) = network(pixels)
    loss, same_logits = network(pixels, labels=labels)
    assert torch.equal(logits, same_logits)
    assert network(pixels, labels=labels)[0].equal(loss)
    assert isinstance(network(pixels, return_dict=False), tuple)
    assert len(network(pixels, output_attentions=True, output_hidden_states=True)) == 3


def test_options_default_to_the_configuration() -> None:
    config = TimesformerConfig(**SMALL, output_hidden_states=True, return_dict=False)
    found = TimesformerModel(config).eval()(clips_for(config))
    assert isinstance(found, tuple)
    assert len(found) == 2
    assert len(found[1]) == 4


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize(("frames", "height", "width"), [(8, 32, 32), (2, 48, 48), (4, 48, 32)])
def test_other_frame_counts_and_sizes_use_the_nearest_embeddings(
    attention_type: str, frames: int, height: int, width: int
) -> None:
    """The expected embeddings are indexed by hand."""
    _, ours = both(attention_type=attention_type)
    pixels = torch.randn(1, frames, 3, height, width)
    backbone = ours.timesformer
    with torch.no_grad():
        _, patches = backbone.embed(pixels)
        projected = backbone.patch_projection(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        for frame in range(frames):
            for position in range(patches.shape[2]):
                row, column = divmod(position, width // 8)
                nearest = (row * 4 * 8 // height) * 4 + column * 4 * 8 // width
                expected = (
                    projected[frame, position]
                    + backbone.position[0, 1 + nearest]
                    + backbone.time[0, frame * 4 // frames]
                )
                assert same(patches[0, frame, position], expected, atol=1e-5)
        assert ours(pixels).logits.shape == (1, 3)


def test_selu_works_although_transformers_no_longer_supports_it() -> None:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL, hidden_act="selu"))
    mlp, tokens = network.timesformer.blocks[0].mlp, torch.randn(2, 5, 48)
    expected = mlp.fc2(torch.nn.functional.selu(mlp.fc1(tokens)))
    assert same(mlp(tokens), expected, atol=1e-6)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_every_parameter_gets_a_gradient(attention_type: str) -> None:
    torch.manual_seed(0)
    rates = {"drop_path_rate": 0.1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config = TimesformerConfig(**{**SMALL, "attention_type": attention_type, **rates})
    network = TimesformerForVideoClassification(config).train()
    network(clips_for(config, 8)).logits.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "shape", [(1, 4, 1, 32, 32), (4, 3, 32, 32), (1, 4, 3, 30, 32), (0, 4, 3, 32, 32)]
)
def test_pixels_of_another_shape_are_rejected(shape: tuple[int, ...]) -> None:
    network = TimesformerModel(TimesformerConfig(**SMALL))
    with pytest.raises(ValueError, match=r"must be \(batch, frames, 3, height, width\)"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_pixels_are_rejected(value: float) -> None:
    network = TimesformerModel(TimesformerConfig(**SMALL))
    pixels = torch.zeros(1, 4, 3, 32, 32)
    pixels[0, 1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        network(pixels)


@pytest.mark.parametrize(
    "pixels", [torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8), [[1.0]], None], ids=type
)
def test_pixels_must_be_floats(pixels: object) -> None:
    with pytest.raises(ValueError, match="must be a tensor of floats"):
        TimesformerModel(TimesformerConfig(**SMALL))(pixels)

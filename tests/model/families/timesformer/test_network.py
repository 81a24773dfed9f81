"""Our network against transformers' with the same random weights, and where it departs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TimesformerConfig as TheirConfig
from transformers import TimesformerForVideoClassification as Theirs

from model import TimesformerConfig, TimesformerForVideoClassification, TimesformerModel
from model.checkpoint import TRANSFORMERS, names_of
from model.families.timesformer.configuration import ATTENTION_TYPES

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
    """Transformers' network with random weights, and ours with the same ones."""
    torch.manual_seed(1)
    theirs = Theirs(TheirConfig(**{**SMALL, **changes})).eval()
    for parameter in theirs.parameters():  # biases, norms and embeddings too
        torch.nn.init.normal_(parameter, std=0.2)
    ours = TimesformerForVideoClassification(TimesformerConfig(**{**SMALL, **changes})).eval()
    state = theirs.state_dict()
    names = names_of(ours, TRANSFORMERS)
    assert sorted(names.values()) == sorted(state)
    ours.load_state_dict({key: state[name] for key, name in names.items()})
    return theirs, ours


def clips_for(config: TimesformerConfig, count: int = 2) -> Tensor:
    size = config.image_size
    return torch.randn(count, config.num_frames, config.num_channels, size, size)


def same(one: Tensor, other: Tensor, within: float = 1e-4) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= within)


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_all_outputs_equal_those_of_transformers(attention_type: str, changes: dict) -> None:
    theirs, ours = both(attention_type=attention_type, **changes)
    pixels, labels = clips_for(ours.config), torch.tensor([2, 0])
    wanted = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, found = (net(pixels, labels=labels, **wanted) for net in (theirs, ours))
    assert same(found.logits, expected.logits)
    assert same(found.loss, expected.loss)
    assert len(found.hidden_states) == 1 + ours.config.num_hidden_layers
    assert len(found.attentions) == ours.config.num_hidden_layers
    for name in ("hidden_states", "attentions"):
        for one, other in zip(found[name], expected[name], strict=True):
            assert same(one, other), name
    with torch.no_grad():
        body, their_body = ours.timesformer(pixels), theirs.timesformer(pixels)
    assert same(body.last_hidden_state, their_body.last_hidden_state)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_space_only_takes_the_mean_over_frames_before_the_last_norm(changes: dict) -> None:
    """As the original code does; transformers 5.23 leaves that out and answers for each frame."""
    theirs, ours = both(attention_type="space_only", **changes)
    pixels = clips_for(ours.config)
    wanted = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, found = theirs.timesformer(pixels, **wanted), ours(pixels, **wanted)
        for name in ("hidden_states", "attentions"):
            for one, other in zip(found[name], expected[name], strict=True):
                assert same(one, other), name
        last = expected.hidden_states[-1]
        mean = last.unflatten(0, (2, ours.config.num_frames)).mean(dim=1)
        assert same(found.logits, theirs.classifier(theirs.timesformer.layernorm(mean[:, 0])))
        normed = theirs.timesformer.layernorm(mean)
        assert same(ours.timesformer(pixels).last_hidden_state, normed)


def same_gradients(theirs: Theirs, ours: TimesformerForVideoClassification) -> None:
    for name, their_name in names_of(ours, TRANSFORMERS).items():
        found, expected = ours.get_parameter(name).grad, theirs.get_parameter(their_name).grad
        assert found is not None
        assert expected is not None
        assert same(found, expected, within=1e-3), name


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


def test_a_fresh_network_has_attention_over_time_in_its_first_layer_only() -> None:
    """As the authors begin; their name for it is temporal_fc."""
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
    ids=["regression", "one label", "several labels"],
)
def test_the_loss_depends_on_the_labels(count: int, labels: Tensor) -> None:
    names = {index: str(index) for index in range(count)}
    theirs, ours = both(id2label=names, label2id={name: i for i, name in names.items()})
    pixels = clips_for(ours.config)
    with torch.no_grad():
        assert same(ours(pixels, labels=labels).loss, theirs(pixels, labels=labels).loss)


@pytest.mark.parametrize("labels", [[3, 0], [-1, 0], [1], [[1.0], [0.0]]], ids=str)
def test_labels_that_do_not_fit_are_named(labels: list) -> None:
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL))
    with pytest.raises(ValueError, match="labels must be"):
        network(clips_for(network.config), labels=torch.tensor(labels))


def test_outputs_unpack_like_tuples() -> None:
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL)).eval()
    pixels, labels = clips_for(network.config), torch.tensor([1, 2])
    (logits,) = network(pixels)
    loss, again = network(pixels, labels=labels)
    assert torch.equal(logits, again)
    assert network(pixels, labels=labels)[0].equal(loss)
    assert isinstance(network(pixels, return_dict=False), tuple)
    assert len(network(pixels, output_attentions=True, output_hidden_states=True)) == 3


def test_what_is_not_said_is_taken_from_the_configuration() -> None:
    config = TimesformerConfig(**SMALL, output_hidden_states=True, return_dict=False)
    found = TimesformerModel(config).eval()(clips_for(config))
    assert isinstance(found, tuple)
    assert len(found) == 2
    assert len(found[1]) == 4


@pytest.mark.parametrize("attention_type", ["divided_space_time", "joint_space_time"])
@pytest.mark.parametrize(("frames", "height", "width"), [(8, 32, 32), (2, 48, 48), (4, 48, 32)])
def test_other_frame_counts_and_sizes_take_the_nearest_embeddings(
    attention_type: str, frames: int, height: int, width: int
) -> None:
    """A network trained for that size from the start, with the embeddings repeated by hand."""
    _, ours = both(attention_type=attention_type)
    pixels = torch.randn(1, frames, 3, height, width)
    body = ours.timesformer
    with torch.no_grad():
        _, patches = body.embed(pixels)
        plain = body.patch_projection(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        for frame in range(frames):
            for place in range(patches.shape[2]):
                down, across = divmod(place, width // 8)
                nearest = (down * 4 * 8 // height) * 4 + across * 4 * 8 // width
                expected = (
                    plain[frame, place]
                    + body.position[0, 1 + nearest]
                    + body.time[0, frame * 4 // frames]
                )
                assert same(patches[0, frame, place], expected, within=1e-5)
        assert ours(pixels).logits.shape == (1, 3)


def test_selu_is_there_although_transformers_has_lost_it() -> None:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(TimesformerConfig(**SMALL, hidden_act="selu"))
    mlp, tokens = network.timesformer.blocks[0].mlp, torch.randn(2, 5, 48)
    expected = mlp.narrow(torch.nn.functional.selu(mlp.widen(tokens)))
    assert same(mlp(tokens), expected, within=1e-6)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_every_parameter_learns(attention_type: str) -> None:
    torch.manual_seed(0)
    rates = {"drop_path_rate": 0.1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config = TimesformerConfig(**{**SMALL, "attention_type": attention_type, **rates})
    network = TimesformerForVideoClassification(config).train()
    network(clips_for(config, 8)).logits.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "shape", [(1, 4, 1, 32, 32), (4, 3, 32, 32), (1, 4, 3, 30, 32), (0, 4, 3, 32, 32)]
)
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    network = TimesformerModel(TimesformerConfig(**SMALL))
    with pytest.raises(ValueError, match=r"must be \(batch, frames, 3, height, width\)"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
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

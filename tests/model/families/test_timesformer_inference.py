"""The inference network compared to the network that it was built from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend

from model.engines.linear import Int8Linear, PackedLinear, PlainLinear
from model.families.base import InferenceOptions, LinearFactory
from model.families.timesformer.configuration import ACTIVATIONS, ATTENTION_TYPES, TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification
from model.families.timesformer_inference import InferenceNetwork
from model.kernels import attention_eager, attention_fused, attention_with_backend
from model.trained_model import TrainedModel, normalize
from stream.messages import ClipSpec

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "num_labels": 5,
}
EXACT = {
    "dtype": torch.float32,
    "linear_factory": PlainLinear,
    "exact_linear_factory": PlainLinear,
    "fastest_attention": lambda shape: attention_fused,
}
packed = pytest.mark.skipif(not PackedLinear.available(), reason="torch without oneDNN")
int8 = pytest.mark.skipif(not Int8Linear.available(), reason="a processor without VNNI")
bf16 = pytest.mark.skipif(
    not (PackedLinear.available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="a processor on which oneDNN has no bf16",
)


def random_model(**changes: Any) -> TrainedModel:
    torch.manual_seed(0)
    config = TimesformerConfig(**{**SMALL, **changes})
    network = TimesformerForVideoClassification(config).eval()
    for parameter in network.parameters():  # biases, norms and embeddings too
        torch.nn.init.normal_(parameter, std=0.2)
    spec = ClipSpec("small", config.labels, frozenset(), config.num_frames, 1.0, 32, 32)
    return TrainedModel(network, spec, (0.4, 0.45, 0.5), (0.2, 0.225, 0.25))


def clips_for(model: TrainedModel, count: int = 2) -> torch.Tensor:
    spec = model.spec
    shape = (count, spec.frames, spec.height, spec.width, 3)
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


def max_error(model: TrainedModel, count: int = 2, **options: Any) -> float:
    """The maximum error of the logits, relative to their standard deviation."""
    clips = clips_for(model, count)
    with torch.inference_mode():
        expected = model.network.logits(normalize(clips, model.mean, model.std))
        logits = InferenceNetwork(model, InferenceOptions(**{**EXACT, **options})).eval()(clips)
    assert logits.dtype == torch.float32
    return float((logits - expected).abs().max() / expected.std())


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
@pytest.mark.parametrize("linear", [PlainLinear, pytest.param(PackedLinear, marks=packed)])
@pytest.mark.parametrize(
    "attention", [attention_fused, attention_eager, attention_with_backend(SDPBackend.MATH)]
)
@pytest.mark.parametrize("count", [1, 3])
def test_logits_equal_those_of_the_original_network(
    attention_type: str, linear: LinearFactory, attention: Any, count: int
) -> None:
    model = random_model(attention_type=attention_type)
    options = {
        "linear_factory": linear,
        "exact_linear_factory": linear,
        "fastest_attention": lambda shape: attention,
    }
    assert max_error(model, count, **options) < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"qkv_bias": False},
        {"num_hidden_layers": 1},
        {"num_frames": 1},
        {"num_attention_heads": 1},
        {"patch_size": 32},
        *({"hidden_act": name} for name in ACTIVATIONS),
    ],
    ids=str,
)
@pytest.mark.parametrize("linear", [PlainLinear, pytest.param(PackedLinear, marks=packed)])
def test_logits_are_equal_for_every_architecture(
    linear: LinearFactory, changes: dict[str, Any]
) -> None:
    options = {"linear_factory": linear, "exact_linear_factory": linear}
    assert max_error(random_model(**changes), **options) < 1e-4


@bf16
@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_bf16_error_is_small(attention_type: str) -> None:
    model = random_model(attention_type=attention_type)
    options = {
        "linear_factory": PackedLinear,
        "exact_linear_factory": PackedLinear,
        "dtype": torch.bfloat16,
    }
    assert 0 < max_error(model, **options) < 0.1


@int8
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_int8_error_is_small(name: str) -> None:
    options = {"linear_factory": Int8Linear, "exact_linear_factory": PackedLinear}
    assert 0 < max_error(random_model(hidden_act=name), **options) < 0.2


@pytest.mark.parametrize(
    "factory",
    [
        PlainLinear,
        pytest.param(PackedLinear, marks=packed),
        pytest.param(Int8Linear, marks=int8),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_linear_layers_apply_bias_residual_and_activation(
    factory: LinearFactory, biased: bool
) -> None:
    random = torch.Generator().manual_seed(2)
    weight, x, residual = (torch.randn(*s, generator=random) for s in ((6, 8), (3, 8), (3, 6)))
    bias = torch.randn(6, generator=random) if biased else None
    layer = factory(weight, bias, 3)
    expected = torch.nn.functional.linear(x, weight, bias)
    assert torch.allclose(layer(x), expected, atol=0.2)
    assert torch.allclose(layer(x, residual=residual), expected + residual, atol=0.2)
    assert torch.allclose(layer(x, activation="relu"), expected.relu(), atol=0.2)
    assert torch.isfinite(layer(torch.zeros_like(x))).all()

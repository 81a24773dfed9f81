from __future__ import annotations

import pytest
import torch
from torch import nn

from model.trained_model import TrainedModel
from model.training.finetune_init import freeze_except
from model.training.optimizer import lr_factor, make_ema, make_optimizer, set_lr
from model.training.train_config import TrainConfig


def peak_rates(trained: TrainedModel, config: TrainConfig) -> dict[str, float]:
    """The peak learning rate of each trainable parameter."""
    optimizer = make_optimizer(trained.network, config)
    set_lr(optimizer, config, config.warmup)
    by_id = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {
        name: by_id[id(parameter)]
        for name, parameter in trained.network.named_parameters()
        if id(parameter) in by_id
    }


def test_learning_rate_decays_by_layer(trained: TrainedModel) -> None:
    found = peak_rates(trained, TrainConfig(lr=1.0, layer_decay=0.5))
    assert found["classifier.weight"] == found["timesformer.norm.bias"] == 1.0
    assert found["timesformer.blocks.1.mlp.fc1.weight"] == 0.5
    assert found["timesformer.blocks.0.attention.qkv.bias"] == 0.25
    assert found["timesformer.position"] == found["timesformer.patch_projection.weight"] == 0.125


@pytest.mark.parametrize(
    ("layers", "trained_name", "frozen_name"),
    [
        ("head", "classifier.bias", "timesformer.norm.weight"),
        (1, "timesformer.blocks.1.mlp.fc1.weight", "timesformer.blocks.0.mlp.fc1.weight"),
        (5, "timesformer.blocks.0.mlp.fc1.weight", "timesformer.position"),
        ("all", "timesformer.position", "none"),
    ],
)
def test_only_unfrozen_layers_are_trained(
    trained: TrainedModel, layers: str | int, trained_name: str, frozen_name: str
) -> None:
    freeze_except(trained.network, layers)
    found = peak_rates(trained, TrainConfig())
    assert trained_name in found
    assert frozen_name not in found


def test_biases_norms_and_embeddings_have_no_weight_decay(trained: TrainedModel) -> None:
    optimizer = make_optimizer(trained.network, TrainConfig(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    network = trained.network
    assert decay[id(network.classifier.weight)] == 0.1
    assert decay[id(network.timesformer.patch_projection.weight)] == 0.1
    assert decay[id(network.classifier.bias)] == decay[id(network.timesformer.position)] == 0


def test_learning_rate_has_warmup_and_cosine_decay() -> None:
    factors = [lr_factor(progress, 0.1) for progress in (0, 0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.01, 0.5, 1.0, 0.505, 0.01])


def test_ema_averages_the_latest_steps() -> None:
    layer = nn.Linear(1, 1, bias=False)
    ema = make_ema(layer, 0.9)
    for value in range(300):
        with torch.no_grad():
            layer.weight.fill_(value)
        ema.update_parameters(layer)
    # The mean age of the averaged weights is 0.9 / (1 - 0.9) steps.
    assert ema.module.weight.item() == pytest.approx(299 - 9, abs=0.1)

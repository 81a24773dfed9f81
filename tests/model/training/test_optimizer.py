from __future__ import annotations

import pytest
import torch
from torch import nn

from model.trained_model import TrainedModel
from model.training.finetune_init import free
from model.training.optimizer import Averaged, make_optimiser, rate_factor, set_rate
from model.training.train_config import Recipe


def rates(trained: TrainedModel, recipe: Recipe) -> dict[str, float]:
    """The learning rate of each parameter at its highest."""
    optimiser = make_optimiser(trained.network, recipe)
    set_rate(optimiser, recipe, recipe.warmup)
    by_id = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    return {
        name: by_id[id(parameter)]
        for name, parameter in trained.network.named_parameters()
        if id(parameter) in by_id
    }


def test_each_layer_learns_slower_than_the_next(trained: TrainedModel) -> None:
    found = rates(trained, Recipe(rate=1.0, layer_decay=0.5))
    assert found["classifier.weight"] == found["timesformer.norm.bias"] == 1.0
    assert found["timesformer.blocks.1.mlp.widen.weight"] == 0.5
    assert found["timesformer.blocks.0.attention.qkv.bias"] == 0.25
    assert found["timesformer.position"] == found["timesformer.patch_projection.weight"] == 0.125


@pytest.mark.parametrize(
    ("layers", "there", "not_there"),
    [
        ("head", "classifier.bias", "timesformer.norm.weight"),
        (1, "timesformer.blocks.1.mlp.widen.weight", "timesformer.blocks.0.mlp.widen.weight"),
        (5, "timesformer.blocks.0.mlp.widen.weight", "timesformer.position"),
        ("all", "timesformer.position", "none"),
    ],
)
def test_only_what_is_free_learns(
    trained: TrainedModel, layers: str | int, there: str, not_there: str
) -> None:
    free(trained.network, layers)
    found = rates(trained, Recipe())
    assert there in found
    assert not_there not in found


def test_biases_norms_and_embeddings_do_not_decay(trained: TrainedModel) -> None:
    optimiser = make_optimiser(trained.network, Recipe(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    network = trained.network
    assert decay[id(network.classifier.weight)] == 0.1
    assert decay[id(network.timesformer.patch_projection.weight)] == 0.1
    assert decay[id(network.classifier.bias)] == decay[id(network.timesformer.position)] == 0


def test_the_rate_rises_and_falls() -> None:
    course = [rate_factor(share, 0.1) for share in (0, 0.05, 0.1, 0.55, 1.0)]
    assert course == pytest.approx([0.01, 0.5, 1.0, 0.505, 0.01])


def test_weights_are_averaged_over_the_latest_steps() -> None:
    layer = nn.Linear(1, 1, bias=False)
    averaged = Averaged(layer, 0.9)
    for value in range(300):
        with torch.no_grad():
            layer.weight.fill_(value)
        averaged.update(layer)
    # The mean age of what is averaged is 0.9 / (1 - 0.9) steps.
    assert averaged.weights["weight"].item() == pytest.approx(299 - 9, abs=0.1)

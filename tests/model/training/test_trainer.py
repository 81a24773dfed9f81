from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.clip_cache import ClipCache
from model.data.examples import read_data
from model.trained_model import TrainedModel
from model.training.dataset import Labelled
from model.training.distributed import Team
from model.training.finetune_init import beginning
from model.training.train_config import Recipe
from model.training.trainer import Learner, mix
from tests.two_kinds import write_films

ALONE = Team(1, 0, torch.device("cpu"), 1)
# Without what is drawn by lot for each batch, so that batches can be compared.
EVEN = Recipe(epochs=2, mixup=0, drop_path=0, precision="fp32", rate=1e-3)


def learnt(trained: TrainedModel, folder: Path, recipe: Recipe) -> dict[str, Tensor]:
    """The weights after two epochs of ten clips."""
    films = read_data(folder / "films").examples
    examples = [Labelled(one, int(one.label == "red")) for one in films]
    model = beginning(trained, "own", ("blue", "red"))
    cache = ClipCache(folder / "kept", trained.spec, recipe.speed)
    learner = Learner(model, examples, cache, recipe, ALONE)
    for epoch in range(2):
        learner.learn(epoch)
    return dict(model.network.state_dict())


@pytest.fixture
def films(tmp_path: Path) -> Path:
    write_films(tmp_path / "films", 5)
    return tmp_path


def test_small_batches_that_make_one_step_are_one_large_batch(
    films: Path, trained: TrainedModel
) -> None:
    whole = learnt(trained, films, EVEN.model_copy(update={"batch": 10}))
    parts = learnt(trained, films, EVEN.model_copy(update={"batch": 2, "accumulate": 8}))
    other = learnt(trained, films, EVEN.model_copy(update={"batch": 2}))
    for key, value in whole.items():
        assert torch.allclose(value, parts[key], atol=1e-4), key
    assert not torch.allclose(whole["classifier.weight"], other["classifier.weight"], atol=1e-4)


def test_mixed_clips_have_the_labels_of_both_by_their_shares() -> None:
    pixels = torch.arange(8.0).view(8, 1, 1, 1, 1).expand(8, 2, 3, 4, 4)
    wanted = torch.eye(8)
    mixed, labels = mix(pixels, wanted, 0.5, np.random.default_rng(3))
    assert torch.allclose(labels.sum(dim=1), torch.ones(8))
    told = (labels * torch.arange(8.0)).sum(dim=1)
    assert torch.allclose(mixed, told.view(8, 1, 1, 1, 1).expand_as(mixed), atol=1e-5)
    assert (labels.max(dim=1).values < 1).any()
    assert mix(pixels, wanted, 0, np.random.default_rng(3)) == (pixels, wanted)

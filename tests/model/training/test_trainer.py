from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.clip_cache import ClipCache
from model.data.examples import read_data
from model.trained_model import TrainedModel
from model.training.distributed import DistributedContext
from model.training.finetune_init import new_head
from model.training.train_config import TrainConfig
from model.training.trainer import Trainer, mixup
from tests.two_kinds import write_videos

SINGLE = DistributedContext(1, 0, torch.device("cpu"), 1)
# Without randomness per batch, so that batch sizes can be compared.
DETERMINISTIC = TrainConfig(epochs=2, mixup=0, drop_path=0, precision="fp32", lr=1e-3)


def trained_weights(trained: TrainedModel, folder: Path, config: TrainConfig) -> dict[str, Tensor]:
    """The weights after two epochs of ten clips."""
    examples = read_data(folder / "videos").examples
    model = new_head(trained, "own", ("blue", "red"))
    cache = ClipCache(folder / "cache", trained.spec, config.speed_jitter)
    trainer = Trainer(model, examples, cache, config, SINGLE)
    for epoch in range(2):
        trainer.train_epoch(epoch)
    return dict(model.network.state_dict())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_videos(tmp_path / "videos", 5)
    return tmp_path


def test_accumulated_small_batches_equal_one_large_batch(
    folder: Path, trained: TrainedModel
) -> None:
    whole = trained_weights(trained, folder, DETERMINISTIC.model_copy(update={"batch_size": 10}))
    parts = trained_weights(
        trained,
        folder,
        DETERMINISTIC.model_copy(update={"batch_size": 2, "grad_accumulation_steps": 8}),
    )
    other = trained_weights(trained, folder, DETERMINISTIC.model_copy(update={"batch_size": 2}))
    for key, value in whole.items():
        assert torch.allclose(value, parts[key], atol=1e-4), key
    assert not torch.allclose(whole["classifier.weight"], other["classifier.weight"], atol=1e-4)


def test_mixup_blends_clips_and_labels_with_the_same_weight() -> None:
    pixels = torch.arange(8.0).view(8, 1, 1, 1, 1).expand(8, 2, 3, 4, 4)
    targets = torch.eye(8)
    mixed, labels = mixup(pixels, targets, 0.5, np.random.default_rng(3))
    assert torch.allclose(labels.sum(dim=1), torch.ones(8))
    expected = (labels * torch.arange(8.0)).sum(dim=1)
    assert torch.allclose(mixed, expected.view(8, 1, 1, 1, 1).expand_as(mixed), atol=1e-5)
    assert (labels.max(dim=1).values < 1).any()
    assert mixup(pixels, targets, 0, np.random.default_rng(3)) == (pixels, targets)

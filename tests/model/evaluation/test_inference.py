from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from model.evaluation.inference import probabilities, view_logits
from model.trained_model import TrainedModel


def test_network_trains_on_after_clips_that_could_not_be_read(trained: TrainedModel) -> None:
    def clips() -> Iterator[np.ndarray]:
        yield np.zeros((1, *trained.spec.shape(1)[1:]), np.uint8)
        raise OSError("disk error")

    trained.network.train()
    with pytest.raises(OSError, match="disk error"):
        view_logits(trained, clips())
    assert trained.network.training


def test_probabilities_are_the_mean_over_the_views_of_a_clip() -> None:
    views = np.log(np.array([[0.9, 0.1], [0.5, 0.5]], np.float32))
    assert probabilities([views]) == pytest.approx(np.array([[0.7, 0.3]]))

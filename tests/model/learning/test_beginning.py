from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.checkpoint import CheckpointError
from model.learning.beginning import beginning, with_clips
from model.preprocess import normalise
from model.trained import TrainedModel, load


def test_layers_are_taken_and_the_classifier_is_new(trained: TrainedModel) -> None:
    made = beginning(trained, "own", ("a", "b"), background=("b",))
    before, after = trained.network.state_dict(), made.network.state_dict()
    same = [key for key in after if not key.startswith("classifier")]
    assert all(torch.equal(before[key], after[key]) for key in same)
    assert after["classifier.weight"].shape == (2, 32)
    assert made.spec == replace(
        trained.spec, model="own", labels=("a", "b"), background=frozenset({"b"})
    )


def test_the_same_clips_change_nothing(trained: TrainedModel) -> None:
    same = with_clips(trained, size=32, frames=4)
    assert same.spec == trained.spec
    before, after = trained.network.state_dict(), same.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_more_and_larger_pictures_are_seen_much_as_before() -> None:
    motion = load("motion")
    larger = with_clips(motion, size=96, frames=12, span_s=2.4)
    assert (larger.spec.height, larger.spec.frames, larger.spec.span_s) == (96, 12, 2.4)
    assert larger.network.config.num_frames == 12
    still = torch.full(larger.spec.shape(1), 90, dtype=torch.uint8)
    with torch.inference_mode():
        logits = larger.network.eval().logits(normalise(still, larger.mean, larger.std))
    assert motion.spec.labels[int(logits.argmax())] == "still"


def test_a_size_that_patches_do_not_fill_is_a_mistake(trained: TrainedModel) -> None:
    with pytest.raises(CheckpointError, match="multiple of the patches' 16 pixels, got 40"):
        with_clips(trained, size=40)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError
from model.preprocess import normalise
from model.trained_model import TrainedModel, load
from model.training.finetune_init import beginning, free, set_learning, with_clips
from stream.synthetic import MOTIONS, draw_clip


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


def answer(model: TrainedModel, clip: np.ndarray) -> str:
    with torch.inference_mode():
        pixels = normalise(torch.from_numpy(clip)[None], model.mean, model.std)
        return model.spec.labels[int(model.network.eval().logits(pixels).argmax())]


@pytest.mark.parametrize("name", ["move left", "rotate clockwise", "jump", "still"])
def test_more_and_larger_pictures_are_seen_much_as_before(name: str) -> None:
    motion = load("motion")
    more = with_clips(motion, frames=12)
    larger = with_clips(motion, size=144, span_s=1.5)
    assert (more.spec.frames, more.network.config.num_frames) == (12, 12)
    assert (larger.spec.height, larger.spec.width, larger.spec.span_s) == (144, 144, 1.5)
    label = MOTIONS.index(name)
    for model in (motion, more, larger):
        spec = model.spec
        clip = draw_clip(
            np.random.default_rng(1),
            frames=spec.frames,
            size=spec.height,
            span_s=spec.span_s,
            difficulty=0.1,
            label=label,
        )
        assert answer(model, clip.frames) == name


def test_frozen_layers_see_clips_as_afterwards(trained: TrainedModel) -> None:
    made = beginning(trained, "own", ("a", "b"), drop_path=0.5)
    pixels = torch.randn(8, 4, 3, 32, 32)

    def looks(layers: str | int) -> list[torch.Tensor]:
        free(made.network, layers)
        set_learning(made.network)
        with torch.no_grad():
            return [made.network.timesformer.features(pixels)[0] for _ in range(2)]

    first, second = looks("head")
    assert torch.equal(first, second)
    first, second = looks(1)
    assert not torch.equal(first, second)


def test_a_size_that_patches_do_not_fill_is_a_mistake(trained: TrainedModel) -> None:
    with pytest.raises(CheckpointError, match="multiple of the patches' 16 pixels, got 40"):
        with_clips(trained, size=40)

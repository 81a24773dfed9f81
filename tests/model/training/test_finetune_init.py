from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.trained_model import TrainedModel, load, normalize
from model.training.distributed import TrainingError
from model.training.finetune_init import freeze_except, new_head, set_train_mode, with_input_shape
from stream.synthetic.clips import draw_clip
from stream.synthetic.motions import MOTIONS


def test_layers_are_copied_and_the_head_is_new(trained: TrainedModel) -> None:
    made = new_head(trained, "own", ("a", "b"), background=("b",))
    before, after = trained.network.state_dict(), made.network.state_dict()
    same = [key for key in after if not key.startswith("classifier")]
    assert all(torch.equal(before[key], after[key]) for key in same)
    assert after["classifier.weight"].shape == (2, 32)
    assert made.spec == replace(
        trained.spec, model="own", labels=("a", "b"), background=frozenset({"b"})
    )


def test_same_input_shape_changes_nothing(trained: TrainedModel) -> None:
    same = with_input_shape(trained, size=32, frames=4)
    assert same.spec == trained.spec
    before, after = trained.network.state_dict(), same.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def predicted_label(model: TrainedModel, clip: np.ndarray) -> str:
    with torch.inference_mode():
        pixels = normalize(torch.from_numpy(clip)[None], model.mean, model.std)
        return model.spec.labels[int(model.network.eval().logits(pixels).argmax())]


@pytest.mark.parametrize("name", ["move left", "rotate clockwise", "jump", "still"])
def test_more_and_larger_frames_keep_the_prediction(name: str) -> None:
    motion = load("motion")
    more = with_input_shape(motion, frames=12)
    larger = with_input_shape(motion, size=144, span_s=1.5)
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
        assert predicted_label(model, clip.frames) == name


def test_frozen_layers_stay_in_inference_mode(trained: TrainedModel) -> None:
    made = new_head(trained, "own", ("a", "b"), drop_path=0.5)
    pixels = torch.randn(8, 4, 3, 32, 32)

    def features(layers: str | int) -> list[torch.Tensor]:
        freeze_except(made.network, layers)
        set_train_mode(made.network)
        with torch.no_grad():
            return [made.network.timesformer.features(pixels)[0] for _ in range(2)]

    first, second = features("head")
    assert torch.equal(first, second)
    first, second = features(1)
    assert not torch.equal(first, second)


def test_size_must_be_a_multiple_of_the_patch_size(trained: TrainedModel) -> None:
    with pytest.raises(TrainingError, match="multiple of the patches' 16 pixels, got 40"):
        with_input_shape(trained, size=40)

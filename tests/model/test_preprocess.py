from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from model.trained_model import MEAN, STD, normalize
from stream.messages import ClipSpec
from stream.regions.resize import fit_frame
from stream.synthetic.scene import Scene


def test_pixels_are_rescaled_and_normalized_per_channel() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 6, 3), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    pixels = normalize(torch.from_numpy(clips), mean, std)
    expected = ((clips / 255 - mean) / std).transpose(0, 1, 4, 2, 3)
    assert pixels.shape == (2, 4, 3, 5, 6)
    assert np.allclose(pixels.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (360, 640), (341, 256), (178, 100)])
@pytest.mark.parametrize("edge", [224, 256])
def test_preprocessing_equals_that_of_transformers(size: tuple[int, int], edge: int) -> None:
    width, height = size
    scene = Scene(3, width=width, height=height)
    frames = [scene.render(n / 2) for n in range(8)]
    spec = ClipSpec("x", ("a",), frozenset(), 8, 8.5, 224, 224, shortest_edge=edge)
    ours = np.stack([fit_frame(frame, spec) for frame in frames])
    processor = VideoMAEImageProcessorPil(
        size={"shortest_edge": edge},
        crop_size={"height": 224, "width": 224},
        image_mean=MEAN,
        image_std=STD,
    )
    resized = processor(frames, do_normalize=False, do_rescale=False, return_tensors="np")
    theirs = resized["pixel_values"][0].transpose(0, 2, 3, 1)
    assert np.abs(ours - theirs.astype(float)).mean() <= 1
    expected = torch.as_tensor(processor(frames, return_tensors="np")["pixel_values"])
    ready = normalize(torch.from_numpy(ours)[None], MEAN, STD)
    assert (ready - expected).abs().mean() <= 1 / 255 / min(STD)

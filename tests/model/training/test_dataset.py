from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.clip_cache import ClipCache
from model.data.examples import Example, read_data
from model.training.dataset import ClipDataset, SampleKey, epoch_order
from model.training.train_config import TrainConfig
from stream.messages import ClipSpec
from tests.two_kinds import write_videos


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    found = read_data(write_videos(tmp_path / "videos", 2))
    sides = {"blue": "left", "red": "right"}
    return [replace(one, label=sides[one.label]) for one in found.examples]


def dataset(
    tmp_path: Path, examples: list[Example], spec: ClipSpec, *, flip: bool = False
) -> ClipDataset:
    config = TrainConfig(flip=flip)
    cache = ClipCache(tmp_path / "cache", spec, config.speed_jitter)
    return ClipDataset(examples, cache, replace(spec, labels=("left", "right")), config)


def test_same_key_gives_the_same_clip(
    tmp_path: Path, examples: list[Example], spec: ClipSpec
) -> None:
    one, same = (dataset(tmp_path, examples, spec) for _ in range(2))
    key, other = SampleKey(2, (0, 5)), SampleKey(2, (1, 5))
    assert (one[key][0] == same[key][0]).all()
    assert (one[key][0] != same[other][0]).any()
    assert one[key][0].shape == (4, 8, 8, 3)
    assert [one[SampleKey(index, (0,))][1] for index in range(4)] == [0, 0, 1, 1]


def test_mirrored_clip_has_the_mirrored_label(
    tmp_path: Path, examples: list[Example], spec: ClipSpec
) -> None:
    plain, flipped = dataset(tmp_path, examples, spec), dataset(tmp_path, examples, spec, flip=True)
    mirrored = 0
    for key in [SampleKey(index, (3, index)) for index in range(4)]:
        (clip, label), (other_clip, other_label) = plain[key], flipped[key]
        if other_label != label:
            mirrored += 1
            assert (clip.flip(2) == other_clip).all()
        else:
            assert (clip == other_clip).all()
    assert mirrored


def test_balanced_epoch_has_each_label_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [10, 3, 2])
    order = epoch_order(labels, balance=True, rng=np.random.default_rng(0))
    assert len(order) == 15
    assert Counter(labels[order].tolist()) == {0: 5, 1: 5, 2: 5}
    assert {10, 11, 12, 13, 14} <= set(order)  # all clips of small classes


def test_unbalanced_epoch_has_each_clip_once() -> None:
    order = epoch_order(np.array([0, 0, 0, 1]), balance=False, rng=np.random.default_rng(0))
    assert sorted(order) == [0, 1, 2, 3]

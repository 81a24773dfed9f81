from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model.data.clip_cache import ClipCache
from model.data.examples import read_data
from model.training.augment import Augmentation
from model.training.dataset import Labelled, Lot, TrainingClips, epoch_order
from stream.messages import ClipSpec
from tests.two_kinds import write_films


@pytest.fixture
def examples(tmp_path: Path) -> list[Labelled]:
    found = read_data(write_films(tmp_path / "films", 2))
    return [Labelled(one, int(one.label == "red")) for one in found.examples]


def clips(
    tmp_path: Path, examples: list[Labelled], spec: ClipSpec, *, flip: bool = False
) -> TrainingClips:
    return TrainingClips(
        examples,
        ClipCache(tmp_path / "kept", spec, 1.25),
        spec,
        Augmentation(flip=flip),
        mirror=[1, 0],
        speed=1.25,
    )


def test_a_clip_is_the_same_whenever_it_is_made(
    tmp_path: Path, examples: list[Labelled], spec: ClipSpec
) -> None:
    one, same = (clips(tmp_path, examples, spec) for _ in range(2))
    lot, other = Lot(2, (0, 5)), Lot(2, (1, 5))
    assert (one[lot][0] == same[lot][0]).all()
    assert (one[lot][0] != same[other][0]).any()
    assert one[lot][0].shape == (4, 8, 8, 3)
    assert [one[Lot(number, (0,))][1] for number in range(4)] == [0, 0, 1, 1]


def test_a_mirrored_clip_has_its_image_as_label(
    tmp_path: Path, examples: list[Labelled], spec: ClipSpec
) -> None:
    plain, flipped = clips(tmp_path, examples, spec), clips(tmp_path, examples, spec, flip=True)
    turned = 0
    for lot in [Lot(number, (3, number)) for number in range(4)]:
        (clip, label), (image, its_label) = plain[lot], flipped[lot]
        if its_label != label:
            turned += 1
            assert (clip.flip(2) == image).all()
        else:
            assert (clip == image).all()
    assert turned


def test_an_epoch_shows_each_label_as_often() -> None:
    labels = [0] * 10 + [1] * 3 + [2] * 2
    order = epoch_order(labels, balance=True, rng=np.random.default_rng(0))
    assert len(order) == 15
    assert Counter(labels[number] for number in order) == {0: 5, 1: 5, 2: 5}
    assert {10, 11, 12, 13, 14} <= set(order)  # of small classes all


def test_an_epoch_shows_each_clip_once_without_balance() -> None:
    order = epoch_order([0, 0, 0, 1], balance=False, rng=np.random.default_rng(0))
    assert sorted(order) == [0, 1, 2, 3]

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import checkpoint as checkpoints
from model.checkpoint import CheckpointError
from model.evaluate import evaluate_motion
from model.train import Progress, Recipe, train_motion


class StopHereError(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(
    tmp_path: Path, tiny: Recipe
) -> None:
    def stop_at(clips: int):
        def watch(state: Progress) -> None:
            if state.clips == clips:
                raise StopHereError

        return watch

    train_motion(tmp_path / "whole", tiny, workers=0)
    with pytest.raises(StopHereError):
        train_motion(tmp_path / "broken", tiny, workers=0, save_every=2, progress=stop_at(40))
    seen: list[int] = []
    train_motion(
        tmp_path / "broken", tiny, workers=0, progress=lambda state: seen.append(state.clips)
    )
    assert seen == [40, 48, 56, 64]  # from the last state that was kept
    whole, broken = (checkpoints.load(tmp_path / name).model for name in ("whole", "broken"))
    for key, value in whole.state_dict().items():
        assert torch.equal(broken.state_dict()[key], value), key
    assert not (tmp_path / "broken" / "training.pt").exists()


def test_a_run_with_other_options_does_not_go_on(tmp_path: Path, tiny: Recipe) -> None:
    def stop(_: Progress) -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        train_motion(tmp_path, tiny, workers=0, save_every=1, progress=stop)
    with pytest.raises(CheckpointError, match=r"training\.pt .* another seed"):
        train_motion(tmp_path, replace(tiny, seed=5), workers=0)


def test_training_learns(tmp_path: Path, tiny: Recipe) -> None:
    losses: list[float] = []
    recipe = replace(tiny, clips=640, ramp=10.0)
    train_motion(tmp_path, recipe, workers=0, progress=lambda state: losses.append(state.loss))
    assert losses[-1] < 0.98 * losses[0]


def test_evaluation_counts_every_clip(tmp_path: Path, tiny: Recipe) -> None:
    trained = train_motion(tmp_path, tiny, workers=0)
    done: list[int] = []
    report = evaluate_motion(trained, clips=50, progress=done.append)
    assert report.confusion.sum() == sum(done) == 50
    assert 0 <= report.top1 <= 1
    assert sum(count for _, _, count in report.mistakes(100)) == 50 - report.confusion.trace()
    again = evaluate_motion(trained, clips=50)
    assert (again.confusion == report.confusion).all()

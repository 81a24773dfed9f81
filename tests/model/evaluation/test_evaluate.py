from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointError
from model.data.examples import DataError, Example, read_data
from model.evaluation.evaluate import evaluate, video_samples
from model.predictor import Predictor
from model.trained_model import TrainedModel
from tests.two_kinds import write_videos


@pytest.fixture
def red_model(trained: TrainedModel) -> TrainedModel:
    """A model that classifies everything as "red"."""
    with torch.no_grad():
        trained.network.classifier.weight.zero_()
        trained.network.classifier.bias.zero_()
        trained.network.classifier.bias[1] = 3.0
    labels = ("blue", "red", *trained.spec.labels[2:])
    spec = replace(trained.spec, labels=labels, background=frozenset())
    return replace(trained, spec=spec)


def test_clips_are_evaluated_and_the_worst_mistakes_have_videos(
    tmp_path: Path, red_model: TrainedModel
) -> None:
    data = read_data(write_videos(tmp_path / "videos", 3, seconds=2.0))
    done: list[int] = []
    result = evaluate(
        Predictor(red_model),
        red_model.spec.labels,
        video_samples(data.examples, red_model.spec),
        mistakes=2,
        on_progress=lambda: done.append(1),
    )
    assert result.report.top(1) == 0.5
    assert result.report.recall() == {"blue": 0.0, "red": 1.0}
    assert len(done) == 6
    assert result.views == 12  # two windows of 1.6 s cover 2 s
    assert result.window_s > 0
    assert [(one.truth, one.predicted) for one in result.mistakes] == [("blue", "red")] * 2
    assert all(one.name.endswith(".mp4") and b"ftyp" in one.video[:16] for one in result.mistakes)
    assert result.mistakes[0].end_s == pytest.approx(1.9, abs=0.2)


def test_clips_that_cannot_be_evaluated_are_reported_and_skipped(
    tmp_path: Path, red_model: TrainedModel
) -> None:
    data = read_data(write_videos(tmp_path / "videos", 1))
    problems: list[str] = []
    unknown = Example(data.examples[0].path, "green")
    missing = Example(tmp_path / "missing.mp4", "red")
    samples = video_samples(
        [unknown, missing, *data.examples], red_model.spec, on_problem=problems.append
    )
    result = evaluate(Predictor(red_model), red_model.spec.labels, samples)
    assert len(result.report.truth) == 2
    assert "the model has no label green" in problems[0]
    assert "no such file" in problems[1]


def test_no_samples_is_an_error(red_model: TrainedModel) -> None:
    with pytest.raises(DataError, match="no clip of a label that the model knows"):
        evaluate(Predictor(red_model), red_model.spec.labels, [])


def test_model_that_sees_the_whole_frame_has_no_crops(
    tmp_path: Path, red_model: TrainedModel
) -> None:
    data = read_data(write_videos(tmp_path / "videos", 1))
    with pytest.raises(CheckpointError, match=r"whole frame \(squash\).*--views 1x1"):
        list(video_samples(data.examples, red_model.spec, windows=1, crops=3))


def test_three_crops_are_three_views(tmp_path: Path, red_model: TrainedModel) -> None:
    data = read_data(write_videos(tmp_path / "videos", 1))
    spec = replace(red_model.spec, fit="crop", shortest_edge=32)
    (first, *_) = video_samples(data.examples, spec, windows=2, crops=3)
    assert first.views.shape == (6, 4, 32, 32, 3)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointError
from model.data.examples import Example, read_data
from model.evaluation.evaluate import evaluate, film_samples
from model.predictor import Predictor
from model.trained_model import TrainedModel
from tests.two_kinds import write_films


@pytest.fixture
def colours(trained: TrainedModel) -> TrainedModel:
    """A model that answers "red" to everything."""
    with torch.no_grad():
        trained.network.classifier.weight.zero_()
        trained.network.classifier.bias.zero_()
        trained.network.classifier.bias[1] = 3.0
    labels = ("blue", "red", *trained.spec.labels[2:])
    spec = replace(trained.spec, labels=labels, background=frozenset())
    return replace(trained, spec=spec)


def test_each_clip_is_judged_and_the_worst_mistakes_are_shown(
    tmp_path: Path, colours: TrainedModel
) -> None:
    data = read_data(write_films(tmp_path / "films", 3, seconds=2.0))
    done: list[int] = []
    result = evaluate(
        Predictor(colours),
        colours.spec.labels,
        film_samples(data.examples, colours.spec),
        mistakes=2,
        progress=lambda: done.append(1),
    )
    assert result.measured.top(1) == 0.5
    assert result.measured.recall() == {"blue": 0.0, "red": 1.0}
    assert len(done) == 6
    assert result.views == 12  # two windows of 1.6 s cover 2 s
    assert result.window_s > 0
    assert [(one.truth, one.answer) for one in result.mistakes] == [("blue", "red")] * 2
    assert all(one.film.endswith(".mp4") and b"ftyp" in one.video[:16] for one in result.mistakes)
    assert result.mistakes[0].end_s == pytest.approx(1.9, abs=0.2)


def test_what_cannot_be_judged_is_told_and_left_out(tmp_path: Path, colours: TrainedModel) -> None:
    data = read_data(write_films(tmp_path / "films", 1))
    problems: list[str] = []
    strange = Example(data.examples[0].path, "green")
    gone = Example(tmp_path / "gone.mp4", "red")
    samples = film_samples([strange, gone, *data.examples], colours.spec, problem=problems.append)
    result = evaluate(Predictor(colours), colours.spec.labels, samples)
    assert len(result.measured.truth) == 2
    assert "the model has no label green" in problems[0]
    assert "no such file" in problems[1]


def test_nothing_to_judge_is_a_mistake(colours: TrainedModel) -> None:
    with pytest.raises(CheckpointError, match="no clip of a label that the model knows"):
        evaluate(Predictor(colours), colours.spec.labels, [])


def test_a_model_that_sees_the_whole_picture_has_no_crops(
    tmp_path: Path, colours: TrainedModel
) -> None:
    data = read_data(write_films(tmp_path / "films", 1))
    with pytest.raises(CheckpointError, match=r"whole picture \(squash\).*--views 1x1"):
        list(film_samples(data.examples, colours.spec, windows=1, places=3))


def test_three_crops_are_three_views(tmp_path: Path, colours: TrainedModel) -> None:
    data = read_data(write_films(tmp_path / "films", 1))
    spec = replace(colours.spec, fit="crop", shortest_edge=32)
    (first, *_) = film_samples(data.examples, spec, windows=2, places=3)
    assert first.views.shape == (6, 4, 32, 32, 3)

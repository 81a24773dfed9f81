from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError
from model.data.examples import DataError, read_data
from model.data.seen_data import read_record
from model.data.splits import Splits, split
from model.evaluation.evaluate import evaluate, film_samples
from model.predictor import Predictor
from model.trained_model import TrainedModel, load
from model.training.distributed import Team
from model.training.train import STATE, Result, Start, Told, train
from model.training.train_config import Recipe
from model.training.trainer import Progress
from tests.two_kinds import write_films

ALONE = Team(1, 0, torch.device("cpu"), 2)
QUICK = Recipe(epochs=3, batch=4, rate=3e-3, ema=0.5, background=("blue",), crop=0.1, colour=0.05)


class StopHereError(Exception):
    pass


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return split(read_data(write_films(tmp_path / "films")).examples, share=0.34)


def run(
    splits: Splits,
    out: Path,
    trained: TrainedModel,
    recipe: Recipe = QUICK,
    told: Told | None = None,
    scratch: bool = False,
) -> Result:
    return train(splits, out, recipe, Start(trained, "tiny", scratch), team=ALONE, told=told)


def test_two_kinds_of_films_are_told_apart_afterwards(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    result = run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"epochs": 8}))
    assert result.measured is not None
    assert result.measured.top(1) == 1.0
    made = load(tmp_path / "out")
    assert made.spec == replace(
        trained.spec, model="out", labels=("blue", "red"), background=frozenset({"blue"})
    )
    assert made.temperature == result.model.temperature != 1.0
    answers = evaluate(Predictor(made), made.spec.labels, film_samples(splits.val, made.spec))
    assert np.allclose(answers.measured.probabilities, result.measured.probabilities, atol=1e-3)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {
        *("config.json", "preprocessor_config.json", "model.safetensors", "README.md"),
        *("training.json", "curve.png", "confusion.png"),
    }
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert len(told["history"]) == len(result.history)
    assert told["clips"] == {"train": 8, "val": 4}


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    def stop_in_the_second(state: Progress) -> None:
        if (state.epoch, state.step) == (2, 1):
            raise StopHereError

    whole = run(splits, tmp_path / "whole", trained)
    with pytest.raises(StopHereError):
        run(splits, tmp_path / "broken", trained, told=Told(step=stop_in_the_second))
    seen: list[int] = []
    rest = run(
        splits,
        tmp_path / "broken",
        trained,
        told=Told(step=lambda state: seen.append(state.epoch)),
    )
    assert seen == [2, 2, 3, 3]  # from the end of the last whole epoch
    assert [one.train_loss for one in rest.history] == [one.train_loss for one in whole.history]
    assert [one.val_loss for one in rest.history] == [one.val_loss for one in whole.history]
    first, second = (load(tmp_path / name).network.state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_of_other_options_does_not_go_on(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    def stop(state: Progress) -> None:
        if state.epoch == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        run(splits, tmp_path / "out", trained, told=Told(step=stop))
    with pytest.raises(CheckpointError, match=r"training\.pt .* differs in seed, rate; go on with"):
        run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"seed": 1, "rate": 0.1}))
    fewer = Splits(splits.train[1:], splits.val, ())
    with pytest.raises(CheckpointError, match=r"differs in data;"):
        run(fewer, tmp_path / "out", trained)


def test_what_was_learnt_before_is_remembered_and_kept_aside_by_no_run_that_goes_on_from_it(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    once = QUICK.model_copy(update={"epochs": 1})
    run(splits, tmp_path / "first", trained, once)
    record = read_record(tmp_path / "first")
    assert [one for one in (*splits.train, *splits.val) if record.learnt(one)] == [*splits.train]
    more = read_data(write_films(tmp_path / "more", 3)).examples
    again = split([*splits.train, *splits.val, *more], share=0.3, seed=1, learnt=record.learnt)
    assert not set(again.val) & set(splits.train)
    fresh = Splits(more[1:], more[:1], ())
    begun = Start(load(tmp_path / "first"), "first", record=record)
    train(fresh, tmp_path / "second", once, begun, team=ALONE)
    second = read_record(tmp_path / "second")
    assert all(map(second.learnt, (*splits.train, *more[1:])))
    assert second.split_of(more[0]) == "val"


def test_a_folder_that_a_run_is_writing_is_no_other_runs(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    told: list[str] = []

    def another(state: Progress) -> None:
        if (state.epoch, state.step) == (1, 1):
            with pytest.raises(CheckpointError) as refused:
                run(splits, tmp_path / "out", trained)
            told.append(str(refused.value))

    run(splits, tmp_path / "out", trained, told=Told(step=another))
    (line,) = told
    assert "out is being written by another run; wait for its end" in line


def test_a_finished_checkpoint_is_not_overwritten(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"epochs": 1}))
    with pytest.raises(CheckpointError, match="holds a finished checkpoint; give a new --out"):
        run(splits, tmp_path / "out", trained)


@pytest.fixture
def _small_files() -> Iterator[None]:
    """Files may hold so little that a state of training does not fit, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_costs_nothing_that_was_kept(
    tmp_path: Path,
    splits: Splits,
    trained: TrainedModel,
    request: pytest.FixtureRequest,
) -> None:
    def full_in_the_second(state: Progress) -> None:
        if (state.epoch, state.step) == (2, 1):
            request.getfixturevalue("_small_files")

    with pytest.raises(CheckpointError, match=r"training\.pt can't be written .* make room"):
        run(splits, tmp_path / "out", trained, told=Told(step=full_in_the_second))
    kept = torch.load(tmp_path / "out" / STATE, weights_only=True)
    assert len(kept["history"]) == 1
    assert not list((tmp_path / "out").glob("*.part"))


def test_films_that_cannot_be_decoded_are_named_and_left_out(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    splits.train[0].path.write_bytes(b"no film")
    problems: list[str] = []
    run(
        splits,
        tmp_path / "out",
        trained,
        QUICK.model_copy(update={"epochs": 1}),
        Told(problem=problems.append),
    )
    assert len(problems) == 1
    assert f"{splits.train[0].path}: not a video" in problems[0]


def test_nothing_to_tell_apart_is_a_mistake(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    for example in splits.train:
        if example.label == "red":
            example.path.write_bytes(b"no film")
    with pytest.raises(DataError, match=r"of 8 examples 4 can be decoded, with 1 label"):
        run(splits, tmp_path / "out", trained)


def test_a_background_that_is_no_label_is_a_mistake(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    wrong = QUICK.model_copy(update={"background": ("none",)})
    with pytest.raises(CheckpointError, match="no clips are labelled none; the labels are blue"):
        run(splits, tmp_path / "out", trained, wrong)


@pytest.mark.parametrize(
    ("changes", "scratch", "words"),
    [
        ({"background": ("blue", "red")}, False, "something must be to report; the labels are"),
        ({"layers": 3}, False, "layers: tiny has 2, got 3"),
        ({"layers": "head"}, True, "from scratch all must learn"),
        ({"size": 40}, False, "multiple of the patches' 16 pixels"),
    ],
)
def test_what_cannot_be_is_told_before_a_folder_is_made(
    tmp_path: Path,
    splits: Splits,
    trained: TrainedModel,
    changes: dict[str, object],
    scratch: bool,
    words: str,
) -> None:
    with pytest.raises(CheckpointError, match=words):
        run(splits, tmp_path / "out", trained, QUICK.model_copy(update=changes), scratch=scratch)
    assert not (tmp_path / "out").exists()


def test_background_is_as_it_was_unless_said(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    quiet = replace(trained.spec, background=frozenset({"still", "red"}))
    quiet = replace(quiet, labels=(*quiet.labels[:-1], "red"))
    begun = Start(replace(trained, spec=quiet), "tiny")
    told: list[str] = []
    for said, found in ((None, {"red"}), ((), set())):
        recipe = QUICK.model_copy(update={"background": said, "epochs": 1})
        out = tmp_path / str(said)
        train(splits, out, recipe, begun, team=ALONE, told=Told(problem=told.append))
        assert load(out).spec.background == found
    assert [line.split(",")[0] for line in told] == ["no label is background"]


def test_from_scratch_nothing_of_the_weights_is_taken(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    with torch.no_grad():
        for parameter in trained.network.timesformer.parameters():
            parameter.fill_(float("nan"))
    result = run(splits, tmp_path / "out", trained, scratch=True)
    assert np.isfinite(result.history[0].train_loss)


def test_without_examples_for_validation_the_last_weights_are_taken(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    result = run(Splits(splits.train, (), ()), tmp_path / "out", trained)
    assert result.measured is None
    assert len(result.history) == 3
    assert "Nothing was kept aside" in (tmp_path / "out" / "README.md").read_text()


def test_training_ends_when_nothing_gets_better(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    stale = QUICK.model_copy(update={"epochs": 50, "patience": 2, "rate": 1e-12})
    assert len(run(splits, tmp_path / "out", trained, stale).history) < 50


def test_clips_shorter_than_a_window_are_told_in_one_line(
    tmp_path: Path, trained: TrainedModel
) -> None:
    films = write_films(tmp_path / "short", 3, seconds=0.5)
    told: list[str] = []
    brief = split(read_data(films).examples, share=0.34)
    run(brief, tmp_path / "out", trained, told=Told(problem=told.append))
    (line,) = told
    assert line.startswith("4 of 4 clips to learn from are shorter than the ")


def test_a_network_that_diverges_is_told(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    wild = QUICK.model_copy(update={"rate": 1e12, "clip_norm": 1e12, "warmup": 0.0})
    with pytest.raises(CheckpointError, match="take a lower rate"):
        run(splits, tmp_path / "out", trained, wild)


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    with pytest.raises(CheckpointError, match="out holds other files; give a new --out"):
        run(splits, tmp_path / "out", trained)
    with pytest.raises(CheckpointError, match=r"README\.md can't be written .* give a new --out"):
        run(splits, tmp_path / "out" / "README.md", trained)
    assert (tmp_path / "out" / "README.md").read_text() == "mine"

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
from model.data.seen_data import read_seen_data
from model.data.splits import Splits, split
from model.evaluation.evaluate import evaluate, video_samples
from model.predictor import Predictor
from model.trained_model import TrainedModel, load
from model.training.distributed import DistributedContext, TrainingError
from model.training.train import STATE, InitCheckpoint, TrainCallbacks, TrainResult, train
from model.training.train_config import TrainConfig
from model.training.trainer import Progress
from tests.two_kinds import write_videos

SINGLE = DistributedContext(1, 0, torch.device("cpu"), 2)
QUICK = TrainConfig(
    epochs=3,
    batch_size=4,
    lr=3e-3,
    ema=0.5,
    background=("blue",),
    random_crop=0.1,
    color_jitter=0.05,
)


class StopHereError(Exception):
    pass


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return split(read_data(write_videos(tmp_path / "videos")).examples, val_fraction=0.34)


def run(
    splits: Splits,
    out: Path,
    trained: TrainedModel,
    config: TrainConfig = QUICK,
    callbacks: TrainCallbacks | None = None,
    scratch: bool = False,
) -> TrainResult:
    init = InitCheckpoint(trained, "tiny", scratch)
    return train(splits, out, config, init, context=SINGLE, callbacks=callbacks)


def test_trained_checkpoint_classifies_its_validation_clips(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    result = run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"epochs": 8}))
    assert result.report is not None
    assert result.report.top(1) == 1.0
    loaded = load(tmp_path / "out")
    assert loaded.spec == replace(
        trained.spec, model="out", labels=("blue", "red"), background=frozenset({"blue"})
    )
    assert loaded.temperature == result.model.temperature != 1.0
    evaluation = evaluate(
        Predictor(loaded), loaded.spec.labels, video_samples(splits.val, loaded.spec)
    )
    assert np.allclose(evaluation.report.probabilities, result.report.probabilities, atol=1e-3)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {
        *("config.json", "preprocessor_config.json", "model.safetensors", "README.md"),
        *("training.json", "curve.png", "confusion.png"),
    }
    summary = json.loads((tmp_path / "out" / "training.json").read_text())
    assert len(summary["history"]) == len(result.history)
    assert summary["clips"] == {"train": 8, "val": 4}


def test_interrupted_run_resumes_to_the_same_weights(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    def stop_in_epoch_2(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 1):
            raise StopHereError

    whole = run(splits, tmp_path / "whole", trained)
    with pytest.raises(StopHereError):
        run(
            splits,
            tmp_path / "interrupted",
            trained,
            callbacks=TrainCallbacks(on_step=stop_in_epoch_2),
        )
    seen: list[int] = []
    resumed = run(
        splits,
        tmp_path / "interrupted",
        trained,
        callbacks=TrainCallbacks(on_step=lambda progress: seen.append(progress.epoch)),
    )
    assert seen == [2, 2, 3, 3]  # from the end of the last whole epoch
    assert [one.train_loss for one in resumed.history] == [one.train_loss for one in whole.history]
    assert [one.val_loss for one in resumed.history] == [one.val_loss for one in whole.history]
    first, second = (
        load(tmp_path / name).network.state_dict() for name in ("whole", "interrupted")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_run_with_other_options_or_data_does_not_resume(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    def stop(progress: Progress) -> None:
        if progress.epoch == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        run(splits, tmp_path / "out", trained, callbacks=TrainCallbacks(on_step=stop))
    with pytest.raises(CheckpointError, match=r"training\.pt .* differs in seed, lr; use the same"):
        run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"seed": 1, "lr": 0.1}))
    fewer = Splits(splits.train[1:], splits.val, ())
    with pytest.raises(CheckpointError, match=r"differs in data;"):
        run(fewer, tmp_path / "out", trained)


def test_training_data_of_the_initial_checkpoint_is_never_held_out(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    one_epoch = QUICK.model_copy(update={"epochs": 1})
    run(splits, tmp_path / "first", trained, one_epoch)
    seen = read_seen_data(tmp_path / "first")
    known = (*splits.train, *splits.val)
    assert [one for one in known if seen.was_trained_on(one)] == [*splits.train]
    more = read_data(write_videos(tmp_path / "more", 3)).examples
    again = split(
        [*splits.train, *splits.val, *more],
        val_fraction=0.3,
        seed=1,
        was_trained_on=seen.was_trained_on,
    )
    assert not set(again.val) & set(splits.train)
    fresh = Splits(more[1:], more[:1], ())
    init = InitCheckpoint(load(tmp_path / "first"), "first", seen_data=seen)
    train(fresh, tmp_path / "second", one_epoch, init, context=SINGLE)
    second = read_seen_data(tmp_path / "second")
    assert all(map(second.was_trained_on, (*splits.train, *more[1:])))
    assert second.split_of(more[0]) == "val"


def test_second_run_into_the_same_folder_is_rejected(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    errors: list[str] = []

    def start_another(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (1, 1):
            with pytest.raises(TrainingError) as rejected:
                run(splits, tmp_path / "out", trained)
            errors.append(str(rejected.value))

    run(splits, tmp_path / "out", trained, callbacks=TrainCallbacks(on_step=start_another))
    (line,) = errors
    assert "out is being written by another run; wait until it ends" in line


def test_finished_checkpoint_is_not_overwritten(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    run(splits, tmp_path / "out", trained, QUICK.model_copy(update={"epochs": 1}))
    with pytest.raises(TrainingError, match="holds a finished checkpoint; give a new --out"):
        run(splits, tmp_path / "out", trained)


@pytest.fixture
def _small_files() -> Iterator[None]:
    """Limits the file size so that a training state does not fit, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_does_not_lose_the_saved_state(
    tmp_path: Path,
    splits: Splits,
    trained: TrainedModel,
    request: pytest.FixtureRequest,
) -> None:
    def fill_in_epoch_2(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 1):
            request.getfixturevalue("_small_files")

    with pytest.raises(CheckpointError, match=r"training\.pt can't be written .* free disk space"):
        run(splits, tmp_path / "out", trained, callbacks=TrainCallbacks(on_step=fill_in_epoch_2))
    saved = torch.load(tmp_path / "out" / STATE, weights_only=True)
    assert len(saved["history"]) == 1
    assert not list((tmp_path / "out").glob("*.part"))


def test_videos_that_cannot_be_decoded_are_reported_and_skipped(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    splits.train[0].path.write_bytes(b"not a video")
    problems: list[str] = []
    run(
        splits,
        tmp_path / "out",
        trained,
        QUICK.model_copy(update={"epochs": 1}),
        TrainCallbacks(on_problem=problems.append),
    )
    assert len(problems) == 1
    assert f"{splits.train[0].path}: not a video" in problems[0]


def test_single_remaining_label_is_an_error(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    for example in splits.train:
        if example.label == "red":
            example.path.write_bytes(b"not a video")
    with pytest.raises(DataError, match=r"of 8 examples 4 can be decoded, with 1 label"):
        run(splits, tmp_path / "out", trained)


def test_background_must_be_a_label_with_clips(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    wrong = QUICK.model_copy(update={"background": ("none",)})
    with pytest.raises(TrainingError, match="no clips are labeled none; the labels are blue"):
        run(splits, tmp_path / "out", trained, wrong)


@pytest.mark.parametrize(
    ("changes", "scratch", "words"),
    [
        ({"background": ("blue", "red")}, False, "one label must not be background; the labels"),
        ({"unfreeze": 3}, False, "unfreeze: tiny has 2 layers, got 3"),
        ({"unfreeze": "head"}, True, "unfreeze: training from scratch needs all, got head"),
        ({"size": 40}, False, "multiple of the patches' 16 pixels"),
    ],
)
def test_invalid_config_is_rejected_before_the_folder_is_created(
    tmp_path: Path,
    splits: Splits,
    trained: TrainedModel,
    changes: dict[str, object],
    scratch: bool,
    words: str,
) -> None:
    with pytest.raises(TrainingError, match=words):
        run(splits, tmp_path / "out", trained, QUICK.model_copy(update=changes), scratch=scratch)
    assert not (tmp_path / "out").exists()


def test_model_of_another_family_is_rejected(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    with pytest.raises(TrainingError, match=r"needs a TimeSformer; .* is of the family color"):
        run(splits, tmp_path / "out", replace(trained, family="color"))
    assert not (tmp_path / "out").exists()


def test_background_defaults_to_that_of_the_initial_checkpoint(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    spec = replace(trained.spec, background=frozenset({"still", "red"}))
    spec = replace(spec, labels=(*spec.labels[:-1], "red"))
    init = InitCheckpoint(replace(trained, spec=spec), "tiny")
    problems: list[str] = []
    for background, expected in ((None, {"red"}), ((), set())):
        config = QUICK.model_copy(update={"background": background, "epochs": 1})
        out = tmp_path / str(background)
        callbacks = TrainCallbacks(on_problem=problems.append)
        train(splits, out, config, init, context=SINGLE, callbacks=callbacks)
        assert load(out).spec.background == expected
    assert [line.split(",")[0] for line in problems] == ["no label is background"]


def test_scratch_uses_none_of_the_initial_weights(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    with torch.no_grad():
        for parameter in trained.network.timesformer.parameters():
            parameter.fill_(float("nan"))
    result = run(splits, tmp_path / "out", trained, scratch=True)
    assert np.isfinite(result.history[0].train_loss)


def test_without_validation_examples_the_last_weights_are_saved(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    result = run(Splits(splits.train, (), ()), tmp_path / "out", trained)
    assert result.report is None
    assert len(result.history) == 3
    assert "There were no validation clips" in (tmp_path / "out" / "README.md").read_text()


def test_training_stops_early_without_improvement(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    stale = QUICK.model_copy(update={"epochs": 50, "patience": 2, "lr": 1e-12})
    assert len(run(splits, tmp_path / "out", trained, stale).history) < 50


def test_clips_shorter_than_a_window_are_reported_in_one_line(
    tmp_path: Path, trained: TrainedModel
) -> None:
    videos = write_videos(tmp_path / "short", 3, seconds=0.5)
    problems: list[str] = []
    short = split(read_data(videos).examples, val_fraction=0.34)
    run(short, tmp_path / "out", trained, callbacks=TrainCallbacks(on_problem=problems.append))
    (line,) = problems
    assert line.startswith("4 of 4 training clips are shorter than the model's ")


def test_diverging_network_is_an_error(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    wild = QUICK.model_copy(update={"lr": 1e12, "max_grad_norm": 1e12, "warmup": 0.0})
    with pytest.raises(TrainingError, match="use a lower learning rate"):
        run(splits, tmp_path / "out", trained, wild)


def test_folder_with_other_files_is_rejected(
    tmp_path: Path, splits: Splits, trained: TrainedModel
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    with pytest.raises(TrainingError, match="out holds other files; give a new --out"):
        run(splits, tmp_path / "out", trained)
    with pytest.raises(TrainingError, match=r"README\.md can't be written .* give a new --out"):
        run(splits, tmp_path / "out" / "README.md", trained)
    assert (tmp_path / "out" / "README.md").read_text() == "mine"

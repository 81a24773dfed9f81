from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.examples import DataError, Example, read_data
from model.data.seen_data import as_json, read_seen_data
from model.data.segments import read_views
from model.few_shot.fit import STILLS, SYNTHETIC, FewShotModel, fit_few_shot
from model.few_shot.heads import (
    NO_GROUP,
    Windows,
    cross_validate,
    logistic_regression,
    prototypes,
)
from model.few_shot.result import check_output_dir, write_model
from model.predictor import Predictor
from model.trained_model import TrainedModel, load
from model.training.distributed import TrainingError
from stream.synthetic.clips import draw_clip
from stream.synthetic.motions import MOTIONS
from tests.two_kinds import write_videos

MOTION = {"turn": "rotate clockwise", "swing": "wave", "rest": "still"}


@pytest.fixture(scope="module")
def motion() -> TrainedModel:
    return load("motion")


def synthetic_example(write_video: Callable[..., Path], label: str, number: int) -> Example:
    """A video of one synthetic motion, exactly as long as a window."""
    rng = np.random.default_rng((number, len(label)))
    clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(MOTION[label]))
    return Example(write_video(list(clip.frames), fps=5, name=f"{label}-{number}.mp4"), label)


def two_kinds(folder: Path, count: int) -> list[Example]:
    return list(read_data(write_videos(folder, count)).examples)


def test_two_motions_are_recognized_after_six_samples_each(
    tmp_path: Path, write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    labels = ("turn", "swing")
    samples = [synthetic_example(write_video, label, n) for label in labels for n in range(6)]
    progress: list[int] = []
    fitted = fit_few_shot(motion, "motion", samples, on_progress=lambda: progress.append(1))
    assert len(progress) == 12
    assert fitted.samples_per_label == {"turn": 6, "swing": 6}
    assert fitted.report is not None
    assert fitted.report.mean_class_accuracy > 0.9
    write_model(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.spec.labels == ("other", "swing", "turn")
    assert loaded.spec.background == {"other"}
    predictor = Predictor(loaded)
    for label in labels:
        views = read_views(synthetic_example(write_video, label, 99), loaded.spec)
        assert loaded.spec.labels[predictor.predict(views).mean(axis=0).argmax()] == label
    still = np.repeat(views[:, :1], views.shape[1], axis=1)
    assert predictor.predict(still)[0].argmax() == 0


def test_stills_are_not_added_to_other_if_a_label_is_motionless(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    labels = ("rest", "swing")
    samples = [synthetic_example(write_video, label, n) for label in labels for n in range(6)]
    fitted = fit_few_shot(motion, "motion", samples)
    assert fitted.extras == (SYNTHETIC,)
    assert fitted.report is not None
    assert fitted.report.recall()["rest"] > 0.8


def test_other_layers_are_frozen_and_fits_are_deterministic(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = two_kinds(tmp_path, 3)
    first, second = (fit_few_shot(trained, "tiny", samples) for _ in range(2))
    before = trained.network.timesformer.state_dict()
    for fitted in (first, second):
        after = fitted.model.network.timesformer.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(
        first.model.network.classifier.weight, second.model.network.classifier.weight
    )


@pytest.mark.parametrize("head", ["prototypes", "linear"])
def test_other_is_a_background_label(tmp_path: Path, trained: TrainedModel, head: str) -> None:
    samples = [
        replace(one, label="other") if one.label == "blue" else one
        for one in two_kinds(tmp_path, 4)
    ]
    fitted = fit_few_shot(trained, "tiny", samples, head=head)
    assert (fitted.head, fitted.extras) == (head, (STILLS, SYNTHETIC))
    assert fitted.model.spec.labels == ("other", "red")
    assert fitted.model.spec.background == {"other"}
    assert fitted.report is not None
    assert fitted.report.recall() == {"other": 1.0, "red": 1.0}


def test_labels_with_a_single_source_are_not_evaluated(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = [replace(one, source=one.label) for one in two_kinds(tmp_path, 2)]
    fitted = fit_few_shot(trained, "tiny", samples)
    assert fitted.report is None
    assert fitted.model.temperature == 1.0


def test_single_sample_labels_give_a_warning_and_are_not_flipped(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    def walk(name: str, label: str, number: int) -> Example:
        rng = np.random.default_rng((number, len(name)))
        clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(name))
        return Example(write_video(list(clip.frames), fps=5, name=f"{label}-{number}.mp4"), label)

    directions = (("move left", "away"), ("move right", "home"))
    problems: list[str] = []
    fitted = fit_few_shot(
        motion, "motion", [walk(*one, 0) for one in directions], on_problem=problems.append
    )
    assert fitted.report is None
    (warning,) = problems
    assert warning.startswith("samples of away, home have one source only: their accuracy can't")
    predictor, labels = Predictor(fitted.model), fitted.model.spec.labels
    for number in range(1, 6):
        for name, label in directions:
            views = read_views(walk(name, label, number), fitted.model.spec)
            scores = dict(zip(labels, predictor.predict(views).mean(axis=0), strict=True))
            assert scores[label] == max(scores["away"], scores["home"])


def test_samples_in_the_training_data_of_the_network_give_a_warning(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = two_kinds(tmp_path, 2)
    problems: list[str] = []
    (tmp_path / "training.json").write_text(json.dumps({"videos": as_json({"train": samples[:3]})}))
    seen_data = read_seen_data(tmp_path)
    fitted = fit_few_shot(trained, "mine", samples, seen_data=seen_data, on_problem=problems.append)
    assert problems == [
        "3 of 4 samples were already training data of mine: the cross-validated metrics are too "
        "high"
    ]
    assert fitted.seen_data == seen_data


def test_undecodable_samples_are_reported_and_skipped(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = two_kinds(tmp_path, 2)
    samples[0].path.write_bytes(b"not a video")
    problems: list[str] = []
    fitted = fit_few_shot(trained, "tiny", samples, on_problem=problems.append)
    assert fitted.samples_per_label == {"blue": 1, "red": 2}
    assert "not a video" in problems[0]
    (warning,) = problems[1:]
    assert warning.startswith("samples of blue have one source only: ")


def test_a_single_label_is_an_error_with_the_fix(tmp_path: Path, trained: TrainedModel) -> None:
    samples = two_kinds(tmp_path, 1)
    with pytest.raises(DataError, match=r"have the label 'red'; .* actionwatch teach other"):
        fit_few_shot(trained, "tiny", [one for one in samples if one.label == "red"])
    others = [replace(one, label="other") for one in samples]
    with pytest.raises(DataError, match=r"have the label 'other'; .* actionwatch teach LABEL"):
        fit_few_shot(trained, "tiny", others)


def test_direction_labels_are_not_flipped(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    samples = []
    for name, label in (("move left", "away"), ("move right", "home")):
        for number in range(6):
            rng = np.random.default_rng((number, len(name)))
            clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(name))
            file = write_video(list(clip.frames), fps=5, name=f"{label}-{number}.mp4")
            samples.append(Example(file, label))
    report = fit_few_shot(motion, "motion", samples).report
    assert report is not None
    assert report.mean_class_accuracy > 0.9


def test_copies_with_different_labels_give_a_warning_and_are_one_group(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = two_kinds(tmp_path, 2)
    samples[0].path.write_bytes(samples[-1].path.read_bytes())  # a red video in the blue folder
    problems: list[str] = []
    fitted = fit_few_shot(trained, "tiny", samples, on_problem=problems.append)
    assert problems[:2] == [
        "1 video is a copy of another, such as red/1.mp4 of blue/0.mp4",
        "blue/0.mp4 and red/1.mp4 are the same video, labeled blue and red",
    ]
    assert fitted.samples_per_label == {"blue": 2, "red": 2}


def test_samples_shorter_than_a_window_give_a_warning(
    tmp_path: Path, trained: TrainedModel
) -> None:
    samples = list(read_data(write_videos(tmp_path / "videos", 2, seconds=0.5)).examples)
    problems: list[str] = []
    fit_few_shot(trained, "tiny", samples, on_problem=problems.append)
    (warning,) = problems
    assert warning.startswith("4 of 4 samples are shorter than the model's ")


@pytest.fixture
def fitted(tmp_path: Path, trained: TrainedModel) -> FewShotModel:
    return fit_few_shot(trained, "tiny", two_kinds(tmp_path / "videos", 2))


def test_a_model_replaces_the_previous_one(tmp_path: Path, fitted: FewShotModel) -> None:
    folder = tmp_path / "mine" / "model"
    (folder.parent / ".model-1.part").mkdir(parents=True)  # left by a killed process
    write_model(fitted, folder)
    (folder / "old").touch()
    write_model(replace(fitted, head="another"), folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
        "training.json",
    ]
    content = json.loads((folder / "training.json").read_text())
    assert content["head"] == "another"
    assert content["samples"] == {"blue": 2, "red": 2}
    assert "| red | 2 |" in (folder / "README.md").read_text()


def test_model_of_another_family_is_rejected(trained: TrainedModel) -> None:
    with pytest.raises(TrainingError, match=r"needs a TimeSformer; .* is of the family color"):
        fit_few_shot(replace(trained, family="color"), "tiny", [])


def test_a_model_replaces_no_other_folder(tmp_path: Path, fitted: FewShotModel) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    check_output_dir(folder)
    (folder / "training.json").write_text('{"videos": {}}')  # of `train`
    with pytest.raises(TrainingError, match="was not made by `actionwatch teach`"):
        write_model(fitted, folder)
    assert [file.name for file in folder.iterdir()] == ["training.json"]


def windows(rng: np.random.Generator) -> Windows:
    """Windows of two of three labels: five samples each, four windows per sample."""
    labels = np.repeat([0, 2], 20)
    features = rng.normal(0, 1, (40, 8))
    features[:, 0] += 5 * labels
    samples = np.arange(40) // 4
    return Windows(features, labels, samples, samples)


@pytest.mark.parametrize("fit", [prototypes, logistic_regression])
def test_a_label_without_windows_is_never_predicted(fit: Callable) -> None:
    data = windows(np.random.default_rng(0))
    predictions = fit(data, 3).logits(data.features).argmax(axis=1)
    assert (predictions == data.labels).mean() > 0.95
    assert 1 not in predictions


def test_a_held_out_group_is_not_in_its_training_set() -> None:
    data = windows(np.random.default_rng(0))
    training = replace(data, groups=np.where(data.samples == 0, NO_GROUP, data.samples // 2))
    training_sets: list[Windows] = []

    def fit(fold: Windows):
        training_sets.append(fold)
        return prototypes(fold, 3)

    predicted = [sample for sample, _ in cross_validate(training, data, fit)]
    assert predicted == list(range(10))
    trained_groups = [set(fold.groups.tolist()) for fold in training_sets]
    for group, groups in zip(range(10), trained_groups, strict=True):
        assert group not in groups
        assert NO_GROUP in groups


def test_labels_and_their_samples_have_equal_weight() -> None:
    labels, samples = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 2])
    data = Windows(np.zeros((5, 2)), labels, samples, samples)
    assert data.weights.tolist() == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2])

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError
from model.data.examples import DataError, Example, read_data
from model.data.seen_data import as_json, read_record
from model.data.segments import read_views
from model.few_shot.fit import DRAWN, STILLS, Taught, teach
from model.few_shot.heads import NO_GROUP, Windows, left_out, linear, prototypes
from model.few_shot.result import check_place, write
from model.predictor import Predictor
from model.trained_model import TrainedModel, load
from stream.synthetic import MOTIONS, draw_clip
from tests.two_kinds import write_films

MOTION = {"turn": "rotate clockwise", "swing": "wave", "rest": "still"}


@pytest.fixture(scope="module")
def motion() -> TrainedModel:
    return load("motion")


def drawn(write_video: Callable[..., Path], label: str, number: int) -> Example:
    """A film of one drawn motion, just as long as a window."""
    rng = np.random.default_rng((number, len(label)))
    clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(MOTION[label]))
    return Example(write_video(list(clip.frames), fps=5, name=f"{label}-{number}.mp4"), label)


def two_kinds(folder: Path, count: int) -> list[Example]:
    return list(read_data(write_films(folder, count)).examples)


def test_two_motions_are_known_after_six_takes_of_each(
    tmp_path: Path, write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    labels = ("turn", "swing")
    takes = [drawn(write_video, label, number) for label in labels for number in range(6)]
    seen: list[int] = []
    taught = teach(motion, "motion", takes, progress=lambda: seen.append(1))
    assert len(seen) == 12
    assert taught.takes == {"turn": 6, "swing": 6}
    assert taught.measured is not None
    assert taught.measured.mean_class_accuracy > 0.9
    write(taught, tmp_path / "model")
    made = load(tmp_path / "model")
    assert made.spec.labels == ("other", "swing", "turn")
    assert made.spec.background == {"other"}
    predictor = Predictor(made)
    for label in labels:
        views = read_views(drawn(write_video, label, 99), made.spec)
        assert made.spec.labels[predictor.predict(views).mean(axis=0).argmax()] == label
    still = np.repeat(views[:, :1], views.shape[1], axis=1)
    assert predictor.predict(still)[0].argmax() == 0


def test_who_is_taught_what_it_is_to_rest_is_shown_no_stills_as_other(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    takes = [drawn(write_video, label, n) for label in ("rest", "swing") for n in range(6)]
    taught = teach(motion, "motion", takes)
    assert taught.extras == (DRAWN,)
    assert taught.measured is not None
    assert taught.measured.recall()["rest"] > 0.8


def test_other_layers_stay_and_the_same_takes_teach_the_same(
    tmp_path: Path, trained: TrainedModel
) -> None:
    takes = two_kinds(tmp_path, 3)
    first, second = (teach(trained, "tiny", takes) for _ in range(2))
    before = trained.network.timesformer.state_dict()
    for taught in (first, second):
        after = taught.model.network.timesformer.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(
        first.model.network.classifier.weight, second.model.network.classifier.weight
    )


@pytest.mark.parametrize("head", ["prototypes", "linear"])
def test_takes_of_other_are_what_nothing_is(
    tmp_path: Path, trained: TrainedModel, head: str
) -> None:
    takes = [
        replace(one, label="other") if one.label == "blue" else one
        for one in two_kinds(tmp_path, 4)
    ]
    taught = teach(trained, "tiny", takes, head=head)
    assert (taught.head, taught.extras) == (head, (STILLS, DRAWN))
    assert taught.model.spec.labels == ("other", "red")
    assert taught.model.spec.background == {"other"}
    assert taught.measured is not None
    assert taught.measured.recall() == {"other": 1.0, "red": 1.0}


def test_what_is_known_only_from_its_own_source_is_not_known(
    tmp_path: Path, trained: TrainedModel
) -> None:
    takes = [replace(one, source=one.label) for one in two_kinds(tmp_path, 2)]
    taught = teach(trained, "tiny", takes)
    assert taught.measured is None
    assert taught.model.temperature == 1.0


def test_labels_of_one_take_are_told_and_not_learnt_in_a_mirror(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    def walk(name: str, called: str, number: int) -> Example:
        rng = np.random.default_rng((number, len(name)))
        clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(name))
        return Example(write_video(list(clip.frames), fps=5, name=f"{called}-{number}.mp4"), called)

    ways = (("move left", "away"), ("move right", "home"))
    told: list[str] = []
    taught = teach(motion, "motion", [walk(*way, 0) for way in ways], problem=told.append)
    assert taught.measured is None
    (line,) = told
    assert line.startswith("takes of away, home are of one source only: nothing tells")
    predictor, labels = Predictor(taught.model), taught.model.spec.labels
    for number in range(1, 6):
        for name, called in ways:
            views = read_views(walk(name, called, number), taught.model.spec)
            answer = dict(zip(labels, predictor.predict(views).mean(axis=0), strict=True))
            assert answer[called] == max(answer["away"], answer["home"])


def test_takes_that_the_network_has_learnt_from_are_told(
    tmp_path: Path, trained: TrainedModel
) -> None:
    takes = two_kinds(tmp_path, 2)
    told: list[str] = []
    (tmp_path / "training.json").write_text(json.dumps({"films": as_json({"train": takes[:3]})}))
    record = read_record(tmp_path)
    taught = teach(trained, "mine", takes, record=record, problem=told.append)
    assert told == [
        "3 of 4 takes were learnt from before, by mine: what is told of left-out takes will be "
        "too good"
    ]
    assert taught.record == record


def test_films_that_cannot_be_decoded_are_told_and_left_out(
    tmp_path: Path, trained: TrainedModel
) -> None:
    takes = two_kinds(tmp_path, 2)
    takes[0].path.write_bytes(b"no film")
    told: list[str] = []
    taught = teach(trained, "tiny", takes, problem=told.append)
    assert taught.takes == {"blue": 1, "red": 2}
    assert "not a video" in told[0]
    (line,) = told[1:]
    assert line.startswith("takes of blue are of one source only: ")


def test_one_label_alone_is_told_with_what_to_do(tmp_path: Path, trained: TrainedModel) -> None:
    takes = two_kinds(tmp_path, 1)
    with pytest.raises(DataError, match=r"only takes of 'red'; .* actionwatch teach other"):
        teach(trained, "tiny", [one for one in takes if one.label == "red"])
    others = [replace(one, label="other") for one in takes]
    with pytest.raises(DataError, match=r"only takes of 'other'; .* actionwatch teach LABEL"):
        teach(trained, "tiny", others)


def test_labels_that_a_mirror_makes_each_other_are_taught_without_one(
    write_video: Callable[..., Path], motion: TrainedModel
) -> None:
    takes = []
    for name, called in (("move left", "away"), ("move right", "home")):
        for number in range(6):
            rng = np.random.default_rng((number, len(name)))
            clip = draw_clip(rng, size=128, difficulty=0.2, label=MOTIONS.index(name))
            file = write_video(list(clip.frames), fps=5, name=f"{called}-{number}.mp4")
            takes.append(Example(file, called))
    measured = teach(motion, "motion", takes).measured
    assert measured is not None
    assert measured.mean_class_accuracy > 0.9


def test_a_take_with_two_labels_is_told_and_left_out_as_one(
    tmp_path: Path, trained: TrainedModel
) -> None:
    takes = two_kinds(tmp_path, 2)
    takes[0].path.write_bytes(takes[-1].path.read_bytes())  # it shows red, and is said to be blue
    told: list[str] = []
    taught = teach(trained, "tiny", takes, problem=told.append)
    assert told[:2] == [
        "1 film is a copy of another, such as red/1.mp4 of blue/0.mp4",
        "blue/0.mp4 and red/1.mp4 are the same film: blue in one, red in the other",
    ]
    assert taught.takes == {"blue": 2, "red": 2}


def test_takes_shorter_than_a_window_are_told(tmp_path: Path, trained: TrainedModel) -> None:
    takes = list(read_data(write_films(tmp_path / "films", 2, seconds=0.5)).examples)
    told: list[str] = []
    teach(trained, "tiny", takes, problem=told.append)
    (line,) = told
    assert line.startswith("4 of 4 takes are shorter than the ")


@pytest.fixture
def taught(tmp_path: Path, trained: TrainedModel) -> Taught:
    return teach(trained, "tiny", two_kinds(tmp_path / "films", 2))


def test_a_model_takes_the_place_of_the_one_before(tmp_path: Path, taught: Taught) -> None:
    folder = tmp_path / "mine" / "model"
    (folder.parent / ".model-1.part").mkdir(parents=True)  # of one that was killed
    write(taught, folder)
    (folder / "old").touch()
    write(replace(taught, head="another"), folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
        "training.json",
    ]
    told = json.loads((folder / "training.json").read_text())
    assert told["head"] == "another"
    assert told["takes"] == {"blue": 2, "red": 2}
    assert "| red | 2 |" in (folder / "README.md").read_text()


def test_a_model_takes_the_place_of_nothing_else(tmp_path: Path, taught: Taught) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    check_place(folder)
    (folder / "training.json").write_text('{"films": {}}')  # of `train`
    with pytest.raises(CheckpointError, match="was not made by `actionwatch teach`"):
        write(taught, folder)
    assert [file.name for file in folder.iterdir()] == ["training.json"]


def windows(rng: np.random.Generator) -> Windows:
    """Two labels of three, five takes each, four windows a take."""
    labels = np.repeat([0, 2], 20)
    features = rng.normal(0, 1, (40, 8))
    features[:, 0] += 5 * labels
    takes = np.arange(40) // 4
    return Windows(features, labels, takes, takes)


@pytest.mark.parametrize("fit", [prototypes, linear])
def test_a_label_without_windows_is_never_the_answer(fit: Callable) -> None:
    some = windows(np.random.default_rng(0))
    answers = fit(some, 3).logits(some.features).argmax(axis=1)
    assert (answers == some.labels).mean() > 0.95
    assert 1 not in answers


def test_a_head_knows_nothing_of_the_group_that_it_answers() -> None:
    some = windows(np.random.default_rng(0))
    always = replace(some, groups=np.where(some.takes == 0, NO_GROUP, some.takes // 2))
    given: list[Windows] = []

    def fit(kept: Windows):
        given.append(kept)
        return prototypes(kept, 3)

    answered = [take for take, _ in left_out(always, some, fit)]
    assert answered == list(range(10))
    fitted = [set(kept.groups.tolist()) for kept in given]
    for group, groups in zip(range(10), fitted, strict=True):
        assert group not in groups
        assert NO_GROUP in groups


def test_labels_and_takes_weigh_alike_however_many_windows_they_have() -> None:
    labels, takes = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 2])
    some = Windows(np.zeros((5, 2)), labels, takes, takes)
    assert some.weights.tolist() == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2])

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointError
from model.evaluation.evaluate import evaluate
from model.families.timesformer.network import TimesformerForVideoClassification
from model.predictor import Predictor
from model.pretraining.evaluate import calibrated, drawn_samples
from model.pretraining.train import (
    Progress,
    Recipe,
    field_loss,
    finish,
    lengths,
    train_motion,
)
from model.trained_model import TrainedModel, load
from model.training.distributed import Team
from model.training.init_weights import know_place_and_time
from model.training.output_dir import claim
from tests.torchrun import run_by_two

ALONE = Team(1, 0, torch.device("cpu"), 1)


class StopHereError(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(
    tmp_path: Path, tiny: Recipe
) -> None:
    def stop_at_40(state: Progress) -> None:
        if state.clips == 40:
            raise StopHereError

    train_motion(tmp_path / "whole", tiny, team=ALONE)
    with pytest.raises(StopHereError):
        train_motion(tmp_path / "broken", tiny, team=ALONE, progress=stop_at_40)
    seen: list[int] = []
    train_motion(
        tmp_path / "broken", tiny, team=ALONE, progress=lambda state: seen.append(state.clips)
    )
    assert seen == [40, 48, 56, 64]  # from the end of the last whole lesson
    whole, broken = (load(tmp_path / name).network for name in ("whole", "broken"))
    for key, value in whole.state_dict().items():
        assert torch.equal(broken.state_dict()[key], value), key
    finish(tmp_path / "broken")
    with pytest.raises(CheckpointError, match="holds a finished checkpoint"):
        train_motion(tmp_path / "broken", tiny, team=ALONE)


def test_a_run_with_other_options_does_not_go_on(tmp_path: Path, tiny: Recipe) -> None:
    def stop_at_24(state: Progress) -> None:
        if state.clips == 24:
            raise StopHereError

    with pytest.raises(StopHereError):
        train_motion(tmp_path, tiny, team=ALONE, progress=stop_at_24)
    with pytest.raises(CheckpointError, match=r"training\.pt .* differs in seed"):
        train_motion(tmp_path, replace(tiny, seed=5), team=ALONE)
    done: list[int] = []
    longer = replace(tiny, clips=72)
    train_motion(tmp_path, longer, team=ALONE, progress=lambda state: done.append(state.clips))
    assert (done[0], done[-1]) == (24, 72)


def test_a_run_may_begin_with_what_another_has_learnt(tmp_path: Path, tiny: Recipe) -> None:
    begun = train_motion(tmp_path / "first", tiny, team=ALONE)
    seen: list[Progress] = []
    again = replace(tiny, seed=1, clips=8, rate=0.0, init=str(tmp_path / "first"))
    better = train_motion(tmp_path / "second", again, team=ALONE, progress=seen.append)
    assert seen[0].difficulty == 1.0  # nothing easy is left to learn
    kept = load(tmp_path / "first").network.state_dict()
    for key, value in better.network.state_dict().items():
        assert torch.equal(kept[key], value), key
    assert better.spec.labels == begun.spec.labels
    # What it began with is needed no more when it goes on.
    (tmp_path / "first").rename(tmp_path / "gone")
    train_motion(tmp_path / "second", replace(again, clips=16), team=ALONE)


def test_a_run_begins_with_no_model_of_another_shape(tmp_path: Path, tiny: Recipe) -> None:
    with pytest.raises(CheckpointError, match="--init motion: a motion model of this shape"):
        train_motion(tmp_path, replace(tiny, init="motion"), team=ALONE)


def test_lessons_get_harder_to_the_full(tmp_path: Path, tiny: Recipe) -> None:
    difficulties: list[float] = []
    recipe = replace(tiny, clips=320)
    train_motion(tmp_path, recipe, team=ALONE, progress=lambda s: difficulties.append(s.difficulty))
    assert difficulties[0] == 0.0
    assert difficulties == sorted(difficulties)
    assert difficulties[-1] == 1.0


def test_at_first_two_heads_look_at_the_frames_before_and_after(tiny: Recipe) -> None:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(replace(tiny, heads=4, hidden=64).network())
    know_place_and_time(network.timesformer)
    with torch.no_grad():
        _, patches = network.timesformer.embed(torch.randn(1, 4, 3, 32, 32))
        block = network.timesformer.blocks[0]
        tokens = block.temporal_norm(patches)[0]  # (frames, places, hidden)
        query, key, _ = block.temporal_attention.qkv(tokens).view(4, 4, 3, 4, 16).unbind(2)
    looks_at = torch.einsum("qphc,kphc->hqk", query, key).argmax(dim=2)  # over all places
    assert looks_at[0, 1:].tolist() == [0, 1, 2]
    assert looks_at[1, :-1].tolist() == [1, 2, 3]


def test_the_field_loss_is_zero_for_the_truth_alone() -> None:
    field = torch.zeros(1, 2, 4, 5)
    field[0, :, 1] = torch.tensor([1.0, 0.5, -0.5, 0.2, 0.0])
    answer = field.clone()
    answer[..., 0] = 40 * (field[..., 0] - 0.5)
    assert field_loss(answer, field) < 1e-6
    elsewhere = answer.clone()
    elsewhere[0, :, 0, 1:] = 9.0  # where nothing is, what moves is nobody's business
    assert field_loss(elsewhere, field) < 1e-6
    wrong = answer.clone()
    wrong[0, :, 1, 1:] *= -1
    assert field_loss(wrong, field) > 0.1


def test_evaluation_counts_every_clip(tmp_path: Path, tiny: Recipe) -> None:
    trained = train_motion(tmp_path, tiny, team=ALONE)
    done: list[int] = []
    measured = evaluate(
        Predictor(trained),
        trained.spec.labels,
        drawn_samples(trained, 50),
        progress=lambda: done.append(1),
    ).measured
    assert measured.confusion.sum() == sum(done) == 50


def test_the_embedded_model_knows_the_motions() -> None:
    motion = load("motion")
    result = evaluate(Predictor(motion), motion.spec.labels, drawn_samples(motion, 200, seed=1))
    assert result.measured.top(1) >= 0.8


def test_two_processes_train_one_model(tmp_path: Path, tiny: Recipe) -> None:
    program = (
        "import sys; from pathlib import Path; from model.training.distributed import team; "
        "from model.pretraining.train import Recipe, train_motion\n"
        f"with team() as own: train_motion(Path(sys.argv[1]), {tiny!r}, team=own)"
    )
    members = run_by_two("-c", program, tmp_path / "out")
    assert [one.returncode for one in members] == [0, 0], members[0].stderr + members[1].stderr
    by_two, alone, first = (
        torch.cat([value.flatten() for value in load(folder).network.state_dict().values()])
        for folder in (
            tmp_path / "out",
            trained_alone(tmp_path / "alone", tiny),
            trained_alone(tmp_path / "first", replace(tiny, rate=0.0)),
        )
    )
    # The same clips, in the same batches; but sums of halves are rounded otherwise.
    learnt = torch.linalg.vector_norm(alone - first)
    assert torch.linalg.vector_norm(by_two - alone) < 0.3 * learnt


def trained_alone(folder: Path, recipe: Recipe) -> Path:
    train_motion(folder, recipe, team=ALONE)
    return folder


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path, tiny: Recipe) -> None:
    with pytest.raises(CheckpointError, match="can't be shared out among 3 processes"):
        train_motion(tmp_path, tiny, team=Team(3, 0, torch.device("cpu"), 1))


def test_a_run_cannot_be_made_shorter_than_it_is(tmp_path: Path, tiny: Recipe) -> None:
    def stop_at_40(state: Progress) -> None:
        if state.clips == 40:
            raise StopHereError

    with pytest.raises(StopHereError):
        train_motion(tmp_path, tiny, team=ALONE, progress=stop_at_40)
    with pytest.raises(CheckpointError, match="learnt from 32 clips already"):
        train_motion(tmp_path, replace(tiny, clips=24), team=ALONE)
    train_motion(tmp_path, replace(tiny, clips=48), team=ALONE)
    assert lengths(tmp_path) == [64, 48]


def test_a_temperature_is_fitted_to_clips_of_its_own(tiny: Recipe, trained: TrainedModel) -> None:
    sure = replace(trained, network=copy.deepcopy(trained.network))
    with torch.no_grad():
        sure.network.classifier.weight *= 50  # sure of itself, and no better for it
    assert calibrated(sure, 30).temperature > 3
    assert calibrated(trained, 30) == calibrated(trained, 30)


def test_a_damaged_state_is_named(tmp_path: Path, tiny: Recipe) -> None:
    claim(tmp_path)
    (tmp_path / "training.pt").write_bytes(b"half written")
    with pytest.raises(CheckpointError, match=r"training\.pt can't be read"):
        train_motion(tmp_path, tiny, team=ALONE)

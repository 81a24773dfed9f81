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
from model.pretraining.config import PretrainConfig
from model.pretraining.evaluate import calibrated, synthetic_samples
from model.pretraining.train import (
    Progress,
    clip_targets,
    delete_training_state,
    field_loss,
    train_motion,
)
from model.trained_model import TrainedModel, load
from model.training.distributed import DistributedContext, TrainingError
from model.training.init_weights import mimetic_init
from model.training.output_dir import reserved
from tests.torchrun import run_two_ranks

SINGLE_PROCESS = DistributedContext(1, 0, torch.device("cpu"), 1)


class StopHereError(Exception):
    pass


def test_an_interrupted_run_resumes_to_the_same_weights(
    tmp_path: Path, tiny: PretrainConfig
) -> None:
    def stop_at_40(state: Progress) -> None:
        if state.clips == 40:
            raise StopHereError

    resumed = tmp_path / "resumed"
    train_motion(tmp_path / "whole", tiny, context=SINGLE_PROCESS)
    with pytest.raises(StopHereError):
        train_motion(resumed, tiny, context=SINGLE_PROCESS, on_progress=stop_at_40)
    clips: list[int] = []
    train_motion(
        resumed, tiny, context=SINGLE_PROCESS, on_progress=lambda state: clips.append(state.clips)
    )
    assert clips == [40, 48, 56, 64]  # from the end of the last complete stage
    state = load(resumed).network.state_dict()
    for key, value in load(tmp_path / "whole").network.state_dict().items():
        assert torch.equal(state[key], value), key
    delete_training_state(resumed)
    with pytest.raises(TrainingError, match="holds a finished checkpoint"):
        train_motion(resumed, tiny, context=SINGLE_PROCESS)


def test_a_run_with_other_options_is_not_resumed(tmp_path: Path, tiny: PretrainConfig) -> None:
    def stop_at_24(state: Progress) -> None:
        if state.clips == 24:
            raise StopHereError

    with pytest.raises(StopHereError):
        train_motion(tmp_path, tiny, context=SINGLE_PROCESS, on_progress=stop_at_24)
    with pytest.raises(CheckpointError, match=r"training\.pt .* differs in seed"):
        train_motion(tmp_path, replace(tiny, seed=5), context=SINGLE_PROCESS)
    clips: list[int] = []
    longer = replace(tiny, clips=72)
    train_motion(
        tmp_path,
        longer,
        context=SINGLE_PROCESS,
        on_progress=lambda state: clips.append(state.clips),
    )
    assert (clips[0], clips[-1]) == (24, 72)


def test_init_weights_are_loaded_and_start_at_full_difficulty(
    tmp_path: Path, tiny: PretrainConfig
) -> None:
    first = train_motion(tmp_path / "first", tiny, context=SINGLE_PROCESS)
    progress: list[Progress] = []
    config = replace(tiny, seed=1, clips=8, lr=0.0, init=str(tmp_path / "first"))
    second = train_motion(
        tmp_path / "second", config, context=SINGLE_PROCESS, on_progress=progress.append
    )
    assert progress[0].difficulty == 1.0
    state = load(tmp_path / "first").network.state_dict()
    for key, value in second.network.state_dict().items():
        assert torch.equal(state[key], value), key
    assert second.spec.labels == first.spec.labels
    # A resumed run no longer needs its init model.
    (tmp_path / "first").rename(tmp_path / "moved")
    train_motion(tmp_path / "second", replace(config, clips=16), context=SINGLE_PROCESS)


def test_init_of_another_architecture_is_rejected(tmp_path: Path, tiny: PretrainConfig) -> None:
    with pytest.raises(CheckpointError, match="--init motion: must be a motion model of the same"):
        train_motion(tmp_path, replace(tiny, init="motion"), context=SINGLE_PROCESS)


def test_difficulty_rises_to_its_maximum(tmp_path: Path, tiny: PretrainConfig) -> None:
    difficulties: list[float] = []
    train_motion(
        tmp_path,
        replace(tiny, clips=320),
        context=SINGLE_PROCESS,
        on_progress=lambda state: difficulties.append(state.difficulty),
    )
    assert difficulties[0] == 0.0
    assert difficulties == sorted(difficulties)
    assert difficulties[-1] == 1.0


def test_initially_two_heads_attend_to_the_previous_and_next_frame(tiny: PretrainConfig) -> None:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(
        replace(tiny.network, num_attention_heads=4, hidden_size=64)
    )
    mimetic_init(network.timesformer)
    with torch.no_grad():
        _, patches = network.timesformer.embed(torch.randn(1, 4, 3, 32, 32))
        block = network.timesformer.blocks[0]
        tokens = block.temporal_norm(patches)[0]  # (frames, positions, hidden)
        query, key, _ = block.temporal_attention.qkv(tokens).view(4, 4, 3, 4, 16).unbind(2)
    attended = torch.einsum("qphc,kphc->hqk", query, key).argmax(dim=2)  # over all positions
    assert attended[0, 1:].tolist() == [0, 1, 2]
    assert attended[1, :-1].tolist() == [1, 2, 3]


def test_the_field_loss_is_zero_only_for_the_truth() -> None:
    field = torch.zeros(1, 2, 4, 5)
    field[0, :, 1] = torch.tensor([1.0, 0.5, -0.5, 0.2, 0.0])
    prediction = field.clone()
    prediction[..., 0] = 40 * (field[..., 0] - 0.5)
    assert field_loss(prediction, field) < 1e-6
    background = prediction.clone()
    background[0, :, 0, 1:] = 9.0  # motion of an uncovered patch does not count
    assert field_loss(background, field) < 1e-6
    wrong = prediction.clone()
    wrong[0, :, 1, 1:] *= -1
    assert field_loss(wrong, field) > 0.1


def test_evaluation_counts_every_clip(tmp_path: Path, tiny: PretrainConfig) -> None:
    trained = train_motion(tmp_path, tiny, context=SINGLE_PROCESS)
    progress: list[int] = []
    report = evaluate(
        Predictor(trained),
        trained.spec.labels,
        synthetic_samples(trained, 50),
        on_progress=lambda: progress.append(1),
    ).report
    assert report.confusion.sum() == sum(progress) == 50


def test_the_embedded_model_recognizes_the_motions() -> None:
    motion = load("motion")
    result = evaluate(Predictor(motion), motion.spec.labels, synthetic_samples(motion, 200, seed=1))
    assert result.report.top(1) >= 0.8


def test_two_processes_train_one_model(tmp_path: Path, tiny: PretrainConfig) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from model.training.distributed import init_distributed\n"
        "from model.families.timesformer.configuration import TimesformerConfig\n"
        "from model.pretraining.config import PretrainConfig\n"
        "from model.pretraining.train import train_motion\n"
        "with init_distributed() as context:\n"
        f"    train_motion(Path(sys.argv[1]), {tiny!r}, context=context)"
    )
    ranks = run_two_ranks("-c", program, tmp_path / "out")
    assert [rank.returncode for rank in ranks] == [0, 0], ranks[0].stderr + ranks[1].stderr
    two, single, initial = (
        torch.cat([value.flatten() for value in load(folder).network.state_dict().values()])
        for folder in (
            tmp_path / "out",
            train_single(tmp_path / "single", tiny),
            train_single(tmp_path / "initial", replace(tiny, lr=0.0)),
        )
    )
    # The same clips in the same batches, but gradients are summed in another order.
    update = torch.linalg.vector_norm(single - initial)
    assert torch.linalg.vector_norm(two - single) < 0.3 * update


def train_single(folder: Path, config: PretrainConfig) -> Path:
    train_motion(folder, config, context=SINGLE_PROCESS)
    return folder


def test_an_indivisible_batch_is_rejected(tmp_path: Path, tiny: PretrainConfig) -> None:
    with pytest.raises(TrainingError, match="can't be divided among 3 processes"):
        train_motion(tmp_path, tiny, context=DistributedContext(3, 0, torch.device("cpu"), 1))


def test_fewer_clips_than_already_trained_are_rejected(
    tmp_path: Path, tiny: PretrainConfig
) -> None:
    def stop_at_40(state: Progress) -> None:
        if state.clips == 40:
            raise StopHereError

    with pytest.raises(StopHereError):
        train_motion(tmp_path, tiny, context=SINGLE_PROCESS, on_progress=stop_at_40)
    with pytest.raises(TrainingError, match="was already trained on 32 clips"):
        train_motion(tmp_path, replace(tiny, clips=24), context=SINGLE_PROCESS)
    train_motion(tmp_path, replace(tiny, clips=48), context=SINGLE_PROCESS)
    assert clip_targets(tmp_path) == [64, 48]


def test_an_overconfident_model_gets_a_high_temperature(
    tiny: PretrainConfig, trained: TrainedModel
) -> None:
    overconfident = replace(trained, network=copy.deepcopy(trained.network))
    with torch.no_grad():
        overconfident.network.classifier.weight *= 50
    assert calibrated(overconfident, 30).temperature > 3
    assert calibrated(trained, 30) == calibrated(trained, 30)


def test_a_damaged_state_is_named_in_the_error(tmp_path: Path, tiny: PretrainConfig) -> None:
    with reserved(tmp_path, SINGLE_PROCESS):
        (tmp_path / "training.pt").write_bytes(b"half written")
    with pytest.raises(CheckpointError, match=r"training\.pt can't be read"):
        train_motion(tmp_path, tiny, context=SINGLE_PROCESS)

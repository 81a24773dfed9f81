"""Training in one process, and in two as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.trained_model import TrainedModel, load, save
from model.training.distributed import DistributedContext, TrainingError, init_distributed
from tests.torchrun import run_two_ranks
from tests.two_kinds import write_videos

ROOT = Path(__file__).parents[3]


def test_single_process_is_the_main_process() -> None:
    with init_distributed() as own:
        assert (own.size, own.rank, own.is_main) == (1, 0, True)
        assert own.run_on_main(lambda: 0.25) == 0.25


# Without randomness that depends on the rank.
DETERMINISTIC = (
    "{epochs: 2, batch_size: 4, grad_accumulation_steps: 2, mixup: 0, drop_path: 0, "
    "precision: fp32}"
)


@pytest.fixture
def arguments(tmp_path: Path, trained: TrainedModel) -> list[object]:
    save(trained, tmp_path / "init")
    write_videos(tmp_path / "videos")
    (tmp_path / "config.yaml").write_text(DETERMINISTIC)
    options = ["--init", tmp_path / "init", "--config", tmp_path / "config.yaml"]
    return ["-m", "ui.cli", "train", tmp_path / "videos", *options, "--out"]


def test_two_ranks_train_the_same_weights_as_one(tmp_path: Path, arguments: list[object]) -> None:
    main, other = run_two_ranks(*arguments, tmp_path / "two")
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    assert main.stdout.count("waiting for clips") == 2
    assert "wrote" in main.stdout
    assert other.stdout == ""  # only rank 0 prints
    single = subprocess.run([sys.executable, *map(str, [*arguments, tmp_path / "one"])], cwd=ROOT)
    assert single.returncode == 0
    two, one = (load(tmp_path / name).network.state_dict() for name in ("two", "one"))
    for key, value in one.items():
        assert torch.allclose(two[key], value, atol=2e-4), key


def test_error_on_rank_0_ends_all_ranks(tmp_path: Path, arguments: list[object]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").touch()
    (tmp_path / "out" / "training.pt.part").mkdir()  # the state can't be written
    main, other = run_two_ranks(*arguments, tmp_path / "out")
    assert (main.returncode, other.returncode) == (2, 2)
    assert "training.pt can't be written" in main.stderr.splitlines()[-1]
    assert "Traceback" not in main.stderr + other.stderr
    assert "actionwatch:" not in other.stderr


def test_user_error_of_rank_0_is_raised_on_all_ranks_with_its_type() -> None:
    script = """if True:
        from model.training.distributed import TrainingError, init_distributed

        def fail():
            raise TrainingError("no luck")

        with init_distributed() as context:
            try:
                context.run_on_main(fail)
            except TrainingError as error:
                print(context.rank, error)
    """
    ranks = run_two_ranks("-c", script)
    assert [one.stdout for one in ranks] == ["0 no luck\n", "1 no luck\n"], ranks


def test_batch_that_is_not_divisible_by_the_ranks_is_rejected() -> None:
    with pytest.raises(TrainingError, match="a batch of 3 clips can't be divided among 2"):
        DistributedContext(2, 0, torch.device("cpu"), 1).per_rank_batch(3)

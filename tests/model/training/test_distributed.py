"""Two processes that train one network, as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointError
from model.trained_model import TrainedModel, load, save
from model.training.distributed import Team, team
from tests.torchrun import run_by_two
from tests.two_kinds import write_films

ROOT = Path(__file__).parents[3]


def test_a_process_by_itself_is_a_team_of_one() -> None:
    with team() as own:
        assert (own.size, own.rank, own.leads) == (1, 0, True)
        assert own.led(lambda: 0.25) == 0.25


# Nothing is drawn by lot for each process by itself.
EVEN = "{epochs: 2, batch: 4, accumulate: 2, mixup: 0, drop_path: 0, precision: fp32}"


@pytest.fixture
def arguments(tmp_path: Path, trained: TrainedModel) -> list[object]:
    save(trained, tmp_path / "init")
    write_films(tmp_path / "films")
    (tmp_path / "recipe.yaml").write_text(EVEN)
    options = ["--init", tmp_path / "init", "--config", tmp_path / "recipe.yaml"]
    return ["-m", "ui.cli", "train", tmp_path / "films", *options, "--out"]


def test_two_processes_learn_what_one_learns(tmp_path: Path, arguments: list[object]) -> None:
    leader, other = run_by_two(*arguments, tmp_path / "two")
    assert (leader.returncode, other.returncode) == (0, 0), leader.stderr + other.stderr
    assert leader.stdout.count("waiting for clips") == 2
    assert "wrote" in leader.stdout
    assert other.stdout == ""  # one of them speaks
    alone = subprocess.run([sys.executable, *map(str, [*arguments, tmp_path / "one"])], cwd=ROOT)
    assert alone.returncode == 0
    two, one = (load(tmp_path / name).network.state_dict() for name in ("two", "one"))
    for key, value in one.items():
        assert torch.allclose(two[key], value, atol=2e-4), key


def test_where_the_leader_fails_all_end(tmp_path: Path, arguments: list[object]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").touch()
    (tmp_path / "out" / "training.part").mkdir()  # what is kept after an epoch can't be written
    leader, other = run_by_two(*arguments, tmp_path / "out")
    assert (leader.returncode, other.returncode) == (2, 2)
    assert "training.pt can't be written" in leader.stderr.splitlines()[-1]
    assert "Traceback" not in leader.stderr + other.stderr
    assert "actionwatch:" not in other.stderr


def test_a_batch_that_cannot_be_shared_out_is_a_mistake() -> None:
    with pytest.raises(CheckpointError, match="a batch of 3 clips can't be shared out among 2"):
        Team(2, 0, torch.device("cpu"), 1).part(3)

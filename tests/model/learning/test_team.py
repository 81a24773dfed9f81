"""Two processes that train one network, as torchrun starts them."""

from __future__ import annotations

from pathlib import Path

import torch

from model.learning.team import team
from model.trained import TrainedModel, load, save
from tests.torchrun import run_by_two
from tests.two_kinds import write_films


def test_a_process_by_itself_is_a_team_of_one() -> None:
    with team() as own:
        assert (own.size, own.rank, own.leads) == (1, 0, True)
        assert own.told(0.25) == 0.25


def test_two_processes_train_one_network(tmp_path: Path, trained: TrainedModel) -> None:
    save(trained, tmp_path / "init")
    write_films(tmp_path / "films")
    (tmp_path / "recipe.yaml").write_text("{epochs: 2, batch: 2, accumulate: 2}")
    arguments = ["train", tmp_path / "films", "--out", tmp_path / "out"]
    arguments += ["--init", tmp_path / "init", "--config", tmp_path / "recipe.yaml"]
    leader, other = run_by_two("-m", "ui.cli", *arguments)
    assert (leader.returncode, other.returncode) == (0, 0), leader.stderr + other.stderr
    assert leader.stdout.count("waiting for clips") == 2
    assert "wrote" in leader.stdout
    assert other.stdout == ""  # one of them speaks
    network = load(tmp_path / "out").network
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())

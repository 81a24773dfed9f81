"""Two processes that train one network, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from model.learning.team import team
from model.trained import TrainedModel, load, save
from tests.two_kinds import write_films

ROOT = Path(__file__).parents[3]


def test_a_process_by_itself_is_a_team_of_one() -> None:
    with team() as own:
        assert (own.size, own.rank, own.leads) == (1, 0, True)
        assert own.told(0.25) == 0.25


def test_two_processes_train_one_network(tmp_path: Path, trained: TrainedModel) -> None:
    save(trained, tmp_path / "init")
    write_films(tmp_path / "films")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "recipe.yaml").write_text("{epochs: 2, batch: 2, accumulate: 2}")
    arguments = ["train", tmp_path / "films", "--out", tmp_path / "out"]
    arguments += ["--init", tmp_path / "init", "--config", tmp_path / "recipe.yaml"]
    members = [
        subprocess.Popen(
            [sys.executable, "-m", "ui.cli", *map(str, arguments)],
            cwd=ROOT,
            env={
                **os.environ,
                **{"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        (out, errors), (other, more) = (one.communicate(timeout=120) for one in members)
    finally:
        for one in members:
            one.kill()
    assert [one.returncode for one in members] == [0, 0], errors + more
    assert out.count("waiting for clips") == 2
    assert "wrote" in out
    assert other == ""  # one of them speaks
    network = load(tmp_path / "out").network
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())

"""train and evaluate as a person meets them, in processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from model.trained_model import load
from tests.two_kinds import write_films
from ui.cli.main import app

ROOT = Path(__file__).parents[3]


def actionwatch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ui.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return write_films(tmp_path / "films")


def test_a_model_is_trained_and_evaluated(tmp_path: Path, films: Path) -> None:
    (films / "red" / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "recipe.yaml").write_text("{batch: 4, rate: 0.002, ema: 0.5}")
    out = tmp_path / "colours"
    options = ["--config", tmp_path / "recipe.yaml", "--epochs", 6, "--background", "blue"]
    trained = actionwatch("train", films, "--out", out, *options, "--tensorboard", out / "tb")
    assert trained.returncode == 0, trained.stderr
    assert "broken.mp4: not a video" in trained.stderr
    assert "epoch   6  loss" in trained.stdout
    assert f"wrote {out}, the weights after epoch" in trained.stdout
    said = "of 2 clips kept aside 100.0% right (likely 34% to 100% of others; rather less, as"
    assert said in trained.stdout
    assert list((out / "tb").glob("events.out.tfevents.*"))
    assert load(out).spec.background == {"blue"}

    (films / "red" / "added.mp4").write_bytes((films / "red" / "0.mp4").read_bytes() + b"since")
    page = tmp_path / "report.html"
    asked = ("evaluate", out, films, "--split", "val", "--views", "2x1", "--html", page, "--json")
    evaluated = actionwatch(*asked)
    assert evaluated.returncode == 0, evaluated.stderr
    numbers = json.loads(evaluated.stdout)
    assert (numbers["clips"], numbers["windows"], numbers["top1"]) == (2, 4, 1.0)
    assert "colours" in page.read_text(encoding="utf-8")

    # What it has learnt from is no test, whatever a list says; what it was measured on may be.
    rows = [f"{kind}/{number}.mp4,{kind}" for kind in ("red", "blue") for number in range(6)]
    rows.append("red/added.mp4,red")
    counts = {}
    for said, asked in (("test", "val"), ("test", "test"), ("train", "train"), ("train", "val")):
        lines = ["path,label,start,end,split", *(f"{row},0,1,{said}" for row in rows)]
        (tmp_path / "list.csv").write_text("\n".join(lines))
        common = ("evaluate", out, tmp_path / "list.csv", "--films", films, "--json")
        answer = json.loads(actionwatch(*common, "--split", asked).stdout)
        counts[said, asked] = answer["clips"]
    assert counts == {
        ("test", "val"): 2,
        ("test", "test"): 3,
        ("train", "train"): 11,
        ("train", "val"): 2,
    }

    classified = actionwatch("classify", films / "red" / "0.mp4", "--model", out)
    assert classified.stdout.splitlines()[1].endswith("red")


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path, films: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("{batch: 4, epochs: 20, keep: last}")
    common = ["train", str(films), "--cache", str(tmp_path / "kept")]
    common += ["--config", str(tmp_path / "recipe.yaml")]
    for _ in range(2):
        killed = subprocess.Popen(
            [sys.executable, "-m", "ui.cli", *common, "--out", str(tmp_path / "killed")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert killed.stdout is not None
        for _ in range(random.randint(1, 5)):  # then it is somewhere in the next
            assert "epoch" in killed.stdout.readline()
        threading.Event().wait(random.uniform(0, 0.1))
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    rest = actionwatch(*common, "--out", tmp_path / "killed")
    assert rest.returncode == 0, rest.stderr
    assert "goes on after epoch" in rest.stdout
    assert "epoch   1 " not in rest.stdout
    whole = actionwatch(*common, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    courses = [
        [(one["train_loss"], one["val_loss"]) for one in told["history"]]
        for told in (
            json.loads((tmp_path / name / "training.json").read_text())
            for name in ("killed", "whole")
        )
    ]
    assert courses[0] == courses[1]
    first, second = (load(tmp_path / n).network.state_dict() for n in ("killed", "whole"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_clips_made_ready_by_other_processes_are_the_same(tmp_path: Path, films: Path) -> None:
    # In processes of their own: torch's loader leaves a handler of SIGCHLD behind, for which the
    # stack of pytest's fault handler is too small once OpenVINO has run.
    for workers in (0, 2):
        recipe = tmp_path / f"{workers}.yaml"
        recipe.write_text(f"{{batch: 4, epochs: 2, workers: {workers}}}")
        ran = actionwatch("train", films, "--out", tmp_path / str(workers), "--config", recipe)
        assert ran.returncode == 0, ran.stderr
    here, elsewhere = (load(tmp_path / name).network.state_dict() for name in ("0", "2"))
    assert all(torch.equal(value, elsewhere[key]) for key, value in here.items())


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, films: Path) -> None:
    command = [sys.executable, "-m", "ui.cli", "train", films, "--out", tmp_path / "out"]
    stopped = subprocess.Popen(
        [*map(str, command), "--epochs", "500"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who is started in the background of a script inherits that it is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert stopped.stdout is not None
    assert stopped.stdout.readline().startswith("epoch")
    stopped.send_signal(signal.SIGINT)
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert errors.splitlines()[-1].startswith("actionwatch: stopped; the same command goes on")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere", "--out", "x"], ["nowhere"]),
        (["train", "{films}", "--out", "x", "--init", "none"], ["'none'", "embedded"]),
        (["train", "{films}", "--out", "x", "--layers", "most"], ["layers", "head"]),
        (["train", "{films}", "--out", "x", "--background", "quiet"], ["quiet", "blue, red"]),
        (["train", "{films}", "--out", "x", "--layers", "²"], ["layers"]),
        (["evaluate", "motion", "{films}", "--views", "3"], ["--views 3", "10x1"]),
        (["evaluate", "motion", "{films}", "--split", "most"], ["--split most", "train"]),
        (["evaluate", "motion", "{films}", "--split", "val"], ["--split val", "leave --split out"]),
        (["evaluate", "motion", "{films}"], ["no clip of a label"]),
        (["evaluate", "motion", "{films}", "--corruption", "fog"], ["--corruption fog", "blur"]),
        (["evaluate", "motion", "{films}", "--fps", "10"], ["--fps", "drawn:1000"]),
        (["evaluate", "motion", "drawn:2", "--html", "no/x.html"], ["--html", "no folder no"]),
        (["train", "{films}", "--out", "motion"], ["--out motion", "embedded"]),
        (["teach", "x", "--source", "{films}", "--into", "."], ["model was not made by", "--into"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_gets_one_line(
    tmp_path: Path,
    films: Path,
    arguments: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.py").touch()
    given = [one.replace("{films}", str(films)) for one in arguments]
    given = [str(tmp_path / "out") if one == "x" else one for one in given]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("actionwatch: ")
    assert all(word in last for word in words), last
    assert not (tmp_path / "out" / "config.json").exists()

"""`actionwatch train` and `evaluate` in separate processes."""

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
from typer.testing import CliRunner, Result

from model.trained_model import load
from tests.model.color_family import color_model
from tests.two_kinds import write_videos
from ui.cli.main import app

ROOT = Path(__file__).parents[3]


def actionwatch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ui.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


def invoke(*arguments: object) -> Result:
    """The command in this process, which has imported torch already."""
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return write_videos(tmp_path / "videos")


def test_a_model_is_trained_and_evaluated(tmp_path: Path, videos: Path) -> None:
    (videos / "red" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "config.yaml").write_text("{batch_size: 4, lr: 0.002, ema: 0.5}")
    out = tmp_path / "colors"
    options = ["--config", tmp_path / "config.yaml", "--epochs", 6, "--background", "blue"]
    trained = actionwatch("train", videos, "--out", out, *options, "--tensorboard", out / "tb")
    assert trained.returncode == 0, trained.stderr
    assert "broken.mp4: not a video" in trained.stderr
    assert "epoch   6  loss" in trained.stdout
    assert f"wrote {out}, the weights after epoch" in trained.stdout
    result = "top-1 100.0% on 2 held-out clips (95% interval 34% to 100%; optimistic: these"
    assert result in trained.stdout
    assert list((out / "tb").glob("events.out.tfevents.*"))
    assert load(out).spec.background == {"blue"}

    (videos / "red" / "added.mp4").write_bytes((videos / "red" / "0.mp4").read_bytes() + b"since")
    page = tmp_path / "report.html"
    arguments = (
        "evaluate",
        out,
        videos,
        "--split",
        "val",
        "--views",
        "2x1",
        "--html",
        page,
        "--json",
    )
    evaluated = actionwatch(*arguments)
    assert evaluated.returncode == 0, evaluated.stderr
    numbers = json.loads(evaluated.stdout)
    assert (numbers["clips"], numbers["windows"], numbers["top1"]) == (2, 4, 1.0)
    assert "colors" in page.read_text(encoding="utf-8")

    # Training clips are never evaluated as test clips; validation clips may be.
    rows = [f"{kind}/{number}.mp4,{kind}" for kind in ("red", "blue") for number in range(6)]
    rows.append("red/added.mp4,red")
    counts = {}
    for listed_split, split in (
        ("test", "val"),
        ("test", "test"),
        ("train", "train"),
        ("train", "val"),
    ):
        lines = ["path,label,start,end,split", *(f"{row},0,1,{listed_split}" for row in rows)]
        (tmp_path / "list.csv").write_text("\n".join(lines))
        common = ("evaluate", out, tmp_path / "list.csv", "--videos", videos, "--json")
        answer = json.loads(invoke(*common, "--split", split).stdout)
        counts[listed_split, split] = answer["clips"]
    assert counts == {
        ("test", "val"): 2,
        ("test", "test"): 3,
        ("train", "train"): 11,
        ("train", "val"): 2,
    }

    classified = invoke("classify", videos / "red" / "0.mp4", "--model", out)
    assert classified.stdout.splitlines()[1].endswith("red")


def test_killed_run_resumes_to_the_same_weights(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "config.yaml").write_text("{batch_size: 4, epochs: 7, checkpoint: last}")
    common = ["train", str(videos), "--cache", str(tmp_path / "cache")]
    common += ["--config", str(tmp_path / "config.yaml")]
    for _ in range(2):
        killed = subprocess.Popen(
            [sys.executable, "-m", "ui.cli", *common, "--out", str(tmp_path / "killed")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert killed.stdout is not None
        for _ in range(random.randint(1, 2)):  # killed during the next epoch
            assert "epoch" in killed.stdout.readline()
        threading.Event().wait(random.uniform(0, 0.1))
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    rest = actionwatch(*common, "--out", tmp_path / "killed")
    assert rest.returncode == 0, rest.stderr
    assert "resumed after epoch" in rest.stdout
    assert "epoch   1 " not in rest.stdout
    whole = actionwatch(*common, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    histories = [
        [(one["train_loss"], one["val_loss"]) for one in training["history"]]
        for training in (
            json.loads((tmp_path / name / "training.json").read_text())
            for name in ("killed", "whole")
        )
    ]
    assert histories[0] == histories[1]
    first, second = (load(tmp_path / n).network.state_dict() for n in ("killed", "whole"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_loader_processes_do_not_change_the_weights(tmp_path: Path, videos: Path) -> None:
    # In separate processes: torch's loader leaves a SIGCHLD handler behind, which overflows the
    # stack of pytest's fault handler once OpenVINO has run.
    for workers in (0, 2):
        config = tmp_path / f"{workers}.yaml"
        config.write_text(f"{{batch_size: 4, epochs: 2, num_workers: {workers}}}")
        result = actionwatch("train", videos, "--out", tmp_path / str(workers), "--config", config)
        assert result.returncode == 0, result.stderr
    without, with_processes = (load(tmp_path / name).network.state_dict() for name in ("0", "2"))
    assert all(torch.equal(value, with_processes[key]) for key, value in without.items())


def test_ctrl_c_explains_how_to_resume(tmp_path: Path, videos: Path) -> None:
    command = [sys.executable, "-m", "ui.cli", "train", videos, "--out", tmp_path / "out"]
    stopped = subprocess.Popen(
        [*map(str, command), "--epochs", "500"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Background processes of a script inherit an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert stopped.stdout is not None
    assert stopped.stdout.readline().startswith("epoch")
    stopped.send_signal(signal.SIGINT)
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert errors.splitlines()[-1].startswith("actionwatch: stopped; run the same command again")
    assert "Traceback" not in errors


def test_model_of_another_family_is_not_trained(tmp_path: Path, videos: Path) -> None:
    with color_model(tmp_path):
        done = invoke("train", videos, "--out", tmp_path / "out", "--init", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.endswith(" is of the family color\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere", "--out", "x"], ["nowhere"]),
        (["train", "{videos}", "--out", "x", "--init", "none"], ["'none'", "embedded"]),
        (["train", "{videos}", "--out", "x", "--unfreeze", "most"], ["--unfreeze", "head"]),
        (["train", "{videos}", "--out", "x", "--background", "quiet"], ["quiet", "blue, red"]),
        (["train", "{videos}", "--out", "x", "--unfreeze", "²"], ["--unfreeze"]),
        (["train", "{videos}", "--out", "x", "--unfreeze", "9"], ["unfreeze: motion has 5"]),
        (["evaluate", "motion", "{videos}", "--views", "3"], ["--views 3", "10x1"]),
        (["evaluate", "motion", "{videos}", "--split", "most"], ["--split most", "train"]),
        (["evaluate", "motion", "{videos}", "--split", "val"], ["--split val", "omit --split"]),
        (["evaluate", "motion", "{videos}"], ["no clip of a label"]),
        (["evaluate", "motion", "{videos}", "--corruption", "fog"], ["--corruption fog", "blur"]),
        (["evaluate", "motion", "{videos}", "--fps", "10"], ["--fps", "synthetic:1000"]),
        (["evaluate", "motion", "synthetic:2", "--html", "no/x.html"], ["--html", "no folder no"]),
        (["train", "{videos}", "--out", "motion"], ["--out motion", "embedded"]),
        (["teach", "x", "--source", "{videos}", "--project", "."], ["not made by", "--project"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_error_is_one_line(
    tmp_path: Path,
    videos: Path,
    arguments: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.py").touch()
    given = [one.replace("{videos}", str(videos)) for one in arguments]
    given = [str(tmp_path / "out") if one == "x" else one for one in given]
    result = invoke(*given)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("actionwatch: ")
    assert all(word in last for word in words), last
    assert not (tmp_path / "out" / "config.json").exists()

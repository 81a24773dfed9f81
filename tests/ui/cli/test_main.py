"""The `actionwatch` command in separate processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from stream.sinks.event_log.event_log import EventLog
from stream.synthetic.scene import Scene
from tests.cli import ROOT, actionwatch, invoke
from tests.waiting import wait_for

_TIMEOUT_S = 180


def demo_scene() -> Scene:
    return Scene(7, width=320, height=240)


@pytest.fixture
def demo_clip(write_video: Callable[..., Path]) -> Path:
    """Five seconds of a synthetic scene with a motion."""
    scene = demo_scene()
    first = scene.ground_truth(10)[0]
    frames = [scene.render(first.start_s - 1.5 + n / 25) for n in range(125)]
    return write_video(frames, fps=25)


def test_help_lists_the_commands() -> None:
    result = actionwatch("--help")
    assert result.returncode == 0
    for command in ("run", "events", "train", "evaluate", "classify", "convert", "worker"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "no.yaml"], ["no.yaml", "No such file"]),
        (["run", "--source", "no.mp4", "--no-ui"], ["no.mp4", "no such file"]),
        (["run", "--source", "ftp://x/y", "--no-ui"], ["ftp://", "rtsp://"]),
        (["run", "--source", "rtsp://u:${NO_SUCH}@x/", "--no-ui"], ["${NO_SUCH}", "set it"]),
        (["run", "--model", "none", "--no-ui"], ["'none'", "embedded"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_error_of_a_run_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    result = actionwatch(*arguments, "--data", tmp_path / "data")
    assert result.returncode == 2
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("actionwatch:")]
    for word in words:
        assert word in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["doctor", "--source", "rtsp://u:pw@127.0.0.1:9/x"], ["nothing listens on port 9"]),
        (["events", "list", "--data", "nowhere"], ["nowhere", "no event log"]),
        (
            ["events", "export", "--data", ".", "--format", "xml"],
            ["xml", "activitynet, csv, elan, jsonl"],
        ),
        (["evaluate", "none", "synthetic:10"], ["'none'"]),
        (["classify", "x.mp4", "--model", "none"], ["'none'"]),
        (["classify", "x.mp4", "--fit", "stretch"], ["stretch", "crop, squash, letterbox"]),
        (["convert", "none.pyth", "out"], ["none.pyth", "No such file"]),
        (["convert", "README.md", "out"], ["README.md", "damaged, or holds code"]),
        (["convert", "README.md", "Makefile"], ["Makefile exists already"]),
        (["convert", "README.md", "model/weights/motion"], ["exists already"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    result = invoke(*arguments)
    assert result.exit_code == 2
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("actionwatch:")]
    for word in words:
        assert word in line
    assert "Traceback" not in result.stderr


def test_alert_that_can_not_work_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("alerts: {phone: {webhook: 'ftp://u:pw@x'}}\n")
    result = actionwatch("run", file, "--source", "demo:", "--no-ui", "--data", tmp_path / "data")
    assert result.returncode == 2
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("actionwatch:")]
    assert "alert phone: webhook must be an address like https" in line
    assert "Traceback" not in result.stderr
    assert "pw" not in result.stderr


def test_unreachable_camera_is_retried_and_reported_at_the_end(tmp_path: Path) -> None:
    source = ["--source", "rtsp://u:pw@127.0.0.1:9/x", "--source", "demo:"]
    until = "nothing listens on port 9; check the port; retrying"
    with running(*source, "--no-ui", "--data", tmp_path / "data", until=until) as run:
        scores = tmp_path / "data" / "scores" / "camera-2"
        wait_for(lambda: any(scores.glob("*.scores")))  # the other camera works meanwhile
        assert run.interrupt() == 2
        out, errors = run.output("out"), run.output("errors")
    (message,) = [line for line in errors.splitlines() if line.startswith("actionwatch:")]
    assert "camera camera-1: source rtsp://127.0.0.1:9/x can't be reached" in message
    assert "reconnect attempts" in out
    assert " 0 windows" not in out
    assert "pw" not in errors


def test_run_without_a_ready_worker_is_reported(tmp_path: Path) -> None:
    result = actionwatch("run", "--no-ui", "--duration", "0.1", "--data", tmp_path / "data")
    assert result.returncode == 0
    assert "no worker was ready in time: no window was scored" in result.stderr
    assert " 0 windows" in result.stdout


def test_used_port_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        result = actionwatch("run", "--port", port, "--data", tmp_path / "data")
    assert result.returncode == 2
    assert f"127.0.0.1:{port} can't be used" in result.stderr


def test_file_is_processed_to_its_end_and_its_events_are_listed(
    tmp_path: Path, demo_clip: Path
) -> None:
    data = tmp_path / "data"
    result = actionwatch("run", "--source", demo_clip, "--no-ui", "--data", data)
    assert result.returncode == 0, result.stderr
    assert "125 frames" in result.stdout
    assert "p95" in result.stdout
    listed = invoke("events", "list", "--data", data)
    exported = invoke("events", "export", "--data", data, "--format", "jsonl")
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    assert demo_scene().ground_truth(10)[0].label in [row["label"] for row in rows]
    assert all(row["end_s"] is not None for row in rows)
    assert len(listed.stdout.splitlines()) == len(rows)
    since = invoke("events", "export", "--data", data, "--since", "2999-01-01")
    assert since.stdout == ""


def test_files_are_classified_and_unreadable_ones_are_named(
    tmp_path: Path, demo_clip: Path
) -> None:
    result = actionwatch("classify", demo_clip, tmp_path / "no.mp4", demo_clip, "--top-k", 2)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0] == lines[3] == f"{demo_clip}  (4 clips of 1.6 s in 5.0 s)"
    assert len(lines) == 2 * 3
    assert all("%" in line for line in lines[1:3])
    assert f"{tmp_path / 'no.mp4'}: no such file" in result.stderr


def test_classify_prints_json_lines(tmp_path: Path, demo_clip: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    result = actionwatch("classify", text, demo_clip, "--json", "--clips", 3, "--top-k", 15)
    assert result.returncode == 1
    broken, answer = (json.loads(line) for line in result.stdout.splitlines())
    assert "not a video" in broken["error"]
    assert (answer["file"], answer["model"], answer["clips"]) == (str(demo_clip), "motion", 3)
    probabilities = [label["probability"] for label in answer["labels"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)


def test_converted_checkpoint_classifies(tmp_path: Path, demo_clip: Path) -> None:
    sizes = {"cls_token": (1, 1, 64), "pos_embed": (1, 5, 64), "time_embed": (1, 4, 64)}
    sizes |= {"patch_embed.proj.weight": (64, 3, 8, 8), "patch_embed.proj.bias": (64,)}
    for name in ("blocks.0.norm1", "blocks.0.norm2", "norm"):
        sizes |= {f"{name}.weight": (64,), f"{name}.bias": (64,)}
    for name, out, into in (
        ("blocks.0.attn.qkv", 192, 64),
        ("blocks.0.attn.proj", 64, 64),
        ("blocks.0.mlp.fc1", 128, 64),
        ("blocks.0.mlp.fc2", 64, 128),
        ("head", 3, 64),
    ):
        sizes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    tensors = {f"model.{name}": torch.ones(shape) for name, shape in sizes.items()}
    torch.save({"model_state": tensors}, tmp_path / "joint.pyth")
    (tmp_path / "labels.txt").write_text("jump\nrun\nrest\n")
    out = tmp_path / "joint"
    result = actionwatch(
        "convert", tmp_path / "joint.pyth", out, "--labels", tmp_path / "labels.txt", "--span", 2
    )
    assert result.returncode == 0, result.stderr
    assert "joint_space_time, 1 layers, 4 frames of 16 x 16 over 2.0 s, 3 labels" in result.stdout
    answer = actionwatch("classify", demo_clip, "--model", out, "--json")
    assert answer.returncode == 0, answer.stderr
    assert {one["label"] for one in json.loads(answer.stdout)["labels"]} == {"jump", "run", "rest"}


@dataclass(frozen=True)
class Running:
    """A run in a separate process."""

    process: subprocess.Popen[bytes]
    folder: Path

    def output(self, stream: str) -> str:
        return (self.folder / stream).read_text()

    def worker(self) -> int:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (child,) = " ".join(task.read_text() for task in tasks).split()
        return int(child)

    def interrupt(self) -> int:
        """Send SIGINT, as Ctrl+C does; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(_TIMEOUT_S)


@contextmanager
def running(*arguments: object, until: str) -> Iterator[Running]:
    """A run whose log contains `until`; killed at the end if it is still running."""
    with ExitStack() as stack:
        # A killed run leaves its socket files behind.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        out, errors = (
            stack.enter_context((folder / stream).open("wb")) for stream in ("out", "errors")
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.cli", "run", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=out,
            stderr=errors,
        )
        run = Running(process, folder)
        try:
            wait_for(lambda: until in run.output("errors") or process.poll() is not None)
            assert until in run.output("errors")
            yield run
        finally:
            process.kill()
            process.wait()


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    arguments = ("--no-ui", "--data", tmp_path / "data")
    with running(*arguments, until="frames over") as run:
        worker = run.worker()
        assert run.interrupt() == 0, run.output("errors")
        assert "frames" in run.output("out")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("until", ["live", "dashboard: http"])
def test_ctrl_c_stops_the_dashboard_even_during_its_start(tmp_path: Path, until: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running("--port", port, "--data", tmp_path / "data", until=until) as run:
        assert run.interrupt() == 0, run.output("errors")
        assert "Traceback" not in run.output("errors")


def test_after_a_kill_the_worker_exits_and_the_log_is_intact(tmp_path: Path) -> None:
    arguments = ("--no-ui", "--source", "demo:7", "--data", tmp_path / "data")
    with running(*arguments, until=" at ") as run:  # an event has started
        worker = run.worker()
        with EventLog.open(tmp_path / "data") as log:
            wait_for(lambda: log.count() > 0)  # it is logged just before it is stored
        run.process.kill()
        run.process.wait()
    never, tries = threading.Event(), 500
    while Path(f"/proc/{worker}").exists() and (tries := tries - 1):
        never.wait(0.02)
    assert not Path(f"/proc/{worker}").exists()
    listed = invoke("events", "list", "--data", tmp_path / "data")
    assert "ended: crash" in listed.stdout


def test_invalid_event_log_is_not_modified(tmp_path: Path) -> None:
    before = np.random.default_rng(0).bytes(5000)
    (tmp_path / "events.sqlite").write_bytes(before)
    result = actionwatch("events", "list", "--data", tmp_path)
    assert result.returncode == 2
    assert (tmp_path / "events.sqlite").read_bytes() == before


def test_doctor_describes_machine_and_source(write_video: Callable[..., Path]) -> None:
    file = write_video([np.full((48, 64, 3), n, np.uint8) for n in range(30, 60)], fps=25)
    report = actionwatch("doctor", "--source", str(file)).stdout
    for words in ("torch 2", "avcodec", "GPUs: ", "precision auto is", "webcams: "):
        assert words in report
    assert "64 x 48, 25.0 frames/s" in report
    assert "nothing to change" in report


def test_webcams_are_listed() -> None:
    result = actionwatch("list-cameras")
    assert result.returncode == 0
    assert result.stdout

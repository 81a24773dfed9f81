"""Commands on an event log: events list, events export, evaluate-events."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webvtt
from rich.cells import cell_len

from stream.config.config import Config
from stream.evaluation.ground_truth import read_ground_truth
from stream.messages import Review
from stream.sinks.event_log.event_log import EventLog
from tests.cli import ROOT, invoke
from tests.event_samples import NASTY, START_UTC, logged

EVENTS = [
    logged("wave", 1.5, 4.0),
    logged(NASTY, 3.25, 12.0),
    logged("wave", 5.0, 6.0, camera="desk"),
    logged("jump", 20.0, 26.0, camera="desk"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with EventLog.create(folder) as log:
        log.write_updates(EVENTS)
    return folder


def test_default_data_folder_is_that_of_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    data.rename(Config.model_fields["data"].default)
    assert len(invoke("events", "list").stdout.splitlines()) == 4


def test_events_are_filtered_by_camera_label_and_time(data: Path) -> None:
    assert len(invoke("events", "list", "--data", data).stdout.splitlines()) == 4
    waves = invoke("events", "list", "--data", data, "--camera", "desk", "--label", "wave")
    assert waves.stdout.splitlines() == [
        f"2026-01-31T23:59:55.000Z  desk          wave{' ' * 22}     1.0 s  peak 0.90"
    ]
    until = ["--since", "2026-01-31T23:59:53", "--until", "2026-02-01"]
    none = invoke("events", "list", "--data", data, "--label", "no such")
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == f"actionwatch: {data}: no events to list\n"
    between = invoke("events", "list", "--data", data, *until)
    assert ["wave" in line for line in between.stdout.splitlines()] == [False, True]


def test_events_are_filtered_by_peak_and_review(tmp_path: Path) -> None:
    updates = [
        logged("wave", 1.0, 2.0),
        logged("run", 3.0, 4.0, peak=0.5),
        logged("jump", 5.0, 6.0),
    ]
    with EventLog.create(tmp_path) as log:
        log.write_updates(updates)
        log.review(updates[0].event.id, Review("corrected", "hop\nskip"), START_UTC)
        log.review(updates[1].event.id, Review("rejected"), START_UTC)

    def listed(*more: object) -> list[str]:
        lines = invoke("events", "list", "--data", tmp_path, *more).stdout.splitlines()
        return [" ".join(line.split()[2:]) for line in lines]

    assert listed() == [
        "wave 1.0 s peak 0.90 corrected: hop skip",
        "run 1.0 s peak 0.50 rejected",
        "jump 1.0 s peak 0.90",
    ]
    assert [line[:4] for line in listed("--reviewed")] == ["wave", "run "]
    assert [line[:4] for line in listed("--unreviewed")] == ["jump"]
    assert [line[:4] for line in listed("--min-peak", 0.6)] == ["wave", "jump"]
    assert [line[:4] for line in listed("--label", "hop\nskip")] == ["wave"]
    command = ["events", "export", "--data", tmp_path, "--format"]
    subtitles = invoke(*command, "webvtt", "--reviewed")
    assert [cue.raw_text for cue in webvtt.from_string(subtitles.stdout).captions] == ["hop skip"]
    assert subtitles.stderr == "actionwatch: skipped 1 rejected events\n"
    whole = invoke(*command, "jsonl", "--unreviewed", "--min-peak", 0.9)
    assert [json.loads(line)["label"] for line in whole.stdout.splitlines()] == ["jump"]


@pytest.mark.parametrize("format_name", ["jsonl", "csv", "webvtt", "activitynet", "elan"])
def test_file_and_standard_output_have_the_same_content(
    tmp_path: Path, data: Path, format_name: str
) -> None:
    command = ["events", "export", "--data", data, "--format", format_name]
    printed = invoke(*command)
    assert (printed.exit_code, printed.stderr) == (0, "")
    out = tmp_path / "exported"
    assert invoke(*command, "--out", out).exit_code == 0
    assert out.read_bytes() == printed.stdout_bytes
    assert b"\xc3\xb6ffnen" in printed.stdout_bytes  # UTF-8


def test_csv_export_is_readable_by_csv_readers(data: Path) -> None:
    exported = invoke("events", "export", "--data", data, "--format", "csv").stdout_bytes
    read = list(csv.DictReader(io.StringIO(exported.decode("utf-8"), newline="")))
    assert [one["label"] for one in read] == ["wave", NASTY, "wave", "jump"]


def test_times_use_the_selected_time_base(tmp_path: Path, data: Path) -> None:
    command = ["events", "export", "--data", data, "--format", "webvtt", "--camera", "desk"]
    starts = [
        [cue.start for cue in webvtt.from_string(invoke(*command, *more).stdout).captions]
        for more in ((), ("--time-base", "wall"), ("--time-offset", 17))
    ]
    assert starts == [
        ["00:00:05.000", "00:00:20.000"],
        ["23:59:55.000", "24:00:10.000"],
        ["00:00:03.000"],
    ]


def test_parquet_is_written_to_a_file_or_a_pipe(tmp_path: Path, data: Path) -> None:
    command = ["events", "export", "--data", data, "--format", "parquet"]
    out = tmp_path / "events.parquet"
    assert invoke(*command, "--out", out).exit_code == 0
    assert pq.read_table(out)["label"].to_pylist() == ["wave", NASTY, "wave", "jump"]
    assert invoke(*command).stdout_bytes == out.read_bytes()


def test_parquet_is_rejected_for_a_terminal(data: Path) -> None:
    leader, terminal = pty.openpty()
    command = ["events", "export", "--data", str(data), "--format", "parquet"]
    with os.fdopen(leader), os.fdopen(terminal, "w") as stdout:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "ui.cli", *command],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert "parquet is binary and not for a terminal; give a file with --out" in done.stderr


@pytest.mark.parametrize(
    "command", ["events list", "events export --format jsonl", "events export --format webvtt"]
)
def test_closed_pipe_causes_no_traceback(tmp_path: Path, command: str) -> None:
    with EventLog.create(tmp_path) as log:  # more than a pipe holds
        log.write_updates([logged("wave " + "a" * 40, n, n + 0.5) for n in range(3000)])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ui.cli", *command.split(), "--data", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_open_events_and_mixed_runs_are_reported(tmp_path: Path) -> None:
    later = START_UTC + timedelta(hours=1)
    with EventLog.create(tmp_path) as log:  # open while the run continues
        log.write_updates([logged("wave", 9, 10), logged("jump", 1, 3, start_utc=later)])
        log.write_updates([logged("run", 5, None, start_utc=later)])
        done = invoke("events", "export", "--data", tmp_path, "--format", "webvtt")
    assert done.exit_code == 0
    assert "skipped 1 open events" in done.stderr
    assert "door: contains several runs, and each starts at 0" in done.stderr
    wall = ["--format", "webvtt", "--time-base", "wall", "--until", "2026-02-01T00:30"]
    assert invoke("events", "export", "--data", tmp_path, *wall).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--format", "xml"],
            "--format xml: must be one of activitynet, csv, elan, jsonl, parquet, webvtt",
        ),
        (
            ["--format", "webvtt", "--time-base", "sun"],
            "--time-base sun: must be one of media, wall",
        ),
        (
            ["--time-base", "wall"],
            "--time-base is for activitynet, elan, webvtt; jsonl contains both",
        ),
        (
            ["--format", "webvtt", "--time-base", "wall", "--time-offset", "3"],
            "--time-offset is a media time",
        ),
        (["--format", "webvtt", "--media", "x.mp4"], "--media is for --format elan"),
        (["--format", "elan", "--media", "no.mp4"], "--media no.mp4: no such file"),
        (["--since", "soon"], "--since soon: must be a time like 2026-01-31"),
        (["--until", "later"], "--until later: must be a time like 2026-01-31"),
        (["--out", "nowhere/x"], "nowhere/x can't be written: No such file"),
        (["--out", "/dev/null"], "/dev/null is not a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_error_is_one_line(data: Path, arguments: list[str], words: str) -> None:
    done = invoke("events", "export", "--data", data, *arguments)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("actionwatch: ")
    assert words in line


def test_missing_log_is_reported_in_one_line(tmp_path: Path) -> None:
    done = invoke("events", "export", "--data", tmp_path)
    assert done.exit_code == 2
    assert f"no event log in {tmp_path}" in done.stderr


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    file = tmp_path / "truth.csv"
    rows = [
        "file,label,start,end",
        "door.mp4,wave,1,4",
        "desk.mp4,hop,0:20,0:25",
        "desk.mp4,run,1,2",
    ]
    file.write_text("\n".join(rows) + "\n")
    return file


def evaluated(*arguments: object) -> tuple[dict[str, Any], str]:
    done = invoke("evaluate-events", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_log_is_compared_with_ground_truth(data: Path, truth: Path) -> None:
    given = ["--truth", truth, "--log", data, "--map", "hop=jump", "--duration", 1800]
    report, notes = evaluated(*given)
    assert report["duration_s"] == 3600
    assert report["cameras"] == {"door.mp4": "door", "desk.mp4": "desk"}
    labels = {one["label"]: one for one in report["labels"]}
    assert set(labels) == {"wave", "jump", "run", NASTY}
    assert labels["jump"]["at_iou"][2] == {
        **{"iou": 0.7, "matched": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    }
    assert (labels["wave"]["false_alarms"], labels["wave"]["start_error_s"]) == (1, 0.5)
    assert labels["wave"]["delay_s"] == 1.25
    assert labels["jump"]["mean_ap"] == 0.7  # 5 s of 6: a hit up to overlap 0.8
    assert (report["only_in_truth"], report["only_in_log"]) == (["run"], [NASTY])
    assert "labels in the truth only: run" in notes
    assert report["overall"]["false_alarms_per_hour"] == 2.0


def test_table_is_aligned_and_complete(data: Path, truth: Path) -> None:
    done = invoke("evaluate-events", "--truth", truth, "--log", data, "--map", "hop=jump")
    assert done.exit_code == 0
    head, *lines = done.stdout.splitlines()[:-4]
    assert head.split() == [
        *("label", "truth", "events", "F1@0.3", "F1@0.5", "F1@0.7", "P@0.5", "R@0.5", "AP"),
        *("start", "|start|", "delay", "p95", "false", "per", "h"),
    ]
    (jump,) = (line for line in lines if line.startswith("jump"))
    assert jump.split()[1:9] == ["1", "1", "1.00", "1.00", "1.00", "1.00", "1.00", "0.70"]
    wide = " ".join(NASTY.split())
    assert any(line.startswith(wide) for line in lines)
    assert len({cell_len(line) for line in (head, *lines) if not line.endswith(" -")}) == 1
    assert lines[-1].startswith("all")


@pytest.mark.parametrize("format_name", ["jsonl", "csv"])
def test_export_is_evaluated_like_the_log(
    tmp_path: Path, data: Path, truth: Path, format_name: str
) -> None:
    out = tmp_path / "log"
    invoke("events", "export", "--data", data, "--format", format_name, "--out", out)
    assert evaluated("--truth", truth, "--log", out) == evaluated("--truth", truth, "--log", data)


def test_cameras_and_labels_can_be_selected(data: Path, truth: Path) -> None:
    report, _ = evaluated("--truth", truth, "--log", data, "--camera", "door", "--label", "wave")
    assert report["cameras"] == {"door.mp4": "door"}
    assert [one["label"] for one in report["labels"]] == ["wave"]
    assert report["overall"]["mean_ap"] == 0.7  # 2.5 s of 3
    assert report["duration_s"] == 4


def test_file_without_events_counts_as_missed(tmp_path: Path, data: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label,start,end\ndoor,wave,1,4\nyard,wave,1,4\n")
    report, notes = evaluated("--truth", tmp_path / "t.csv", "--log", data)
    assert report["overall"]["at_iou"][0]["recall"] == 0.5
    assert "no events in the log for: yard" in notes
    assert "skipped cameras without ground truth: desk" in notes


def test_log_without_events_has_no_false_alarms(tmp_path: Path) -> None:
    EventLog.create(tmp_path / "data").close()
    (tmp_path / "still.csv").write_text("label,start,end\n")
    report, notes = evaluated(
        "--truth", tmp_path / "still.csv", "--log", tmp_path / "data", "--duration", 3600
    )
    assert (report["duration_s"], report["overall"]["false_alarms_per_hour"]) == (3600, 0.0)
    assert "still" in notes


def test_export_compared_with_itself_is_perfect(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "truth.json"
    invoke("events", "export", "--data", data, "--format", "activitynet", "--out", out)
    assert len(read_ground_truth(out).segments) == 4
    report, notes = evaluated("--truth", out, "--log", data, "--rank", "mean")
    assert report["overall"]["mean_ap"] == 1.0
    assert notes == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--truth", "no.csv"], "no.csv can't be read: No such file"),
        (["--log", "no.jsonl"], "no.jsonl can't be read: No such file"),
        (["--log", "tests"], "no event log in tests"),
        (["--rank", "score"], "--rank score: must be one of peak, mean"),
        (["--label-from", "name"], "--label-from name: must be one of value, tier"),
        (["--map", "hop"], "--map hop: must be a label of the truth, =, and a label of the log"),
        (["--map", "x=y"], "--map x=y: the truth has no label 'x', only hop, run, wave"),
        (["--camera", "x", "--camera", "y"], "--camera x: not in the log and not in the truth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_error_of_evaluate_events_is_one_line(
    data: Path, truth: Path, arguments: list[str], words: str
) -> None:
    given: list[object] = list(arguments)
    for flag, value in (("--truth", truth), ("--log", data)):
        if flag not in arguments:
            given += [flag, value]
    done = invoke("evaluate-events", *given)
    assert done.exit_code == 2
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("actionwatch: ")]
    assert words in line

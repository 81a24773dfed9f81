"""`actionwatch evaluate-events`: compares an event log with ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.event_commands import allow_closed_pipe, rows, warn_about_clock_resets
from ui.cli.terminal import fail, print_error, print_line

if TYPE_CHECKING:
    from stream.evaluation.event_metrics import LabelMetrics, Report
    from stream.formats.ground_truth import GroundTruth


def evaluate_events(
    truth: Annotated[
        list[Path],
        typer.Option(help="ground truth, such as .csv, ActivityNet .json, ELAN .eaf; repeatable"),
    ],
    log: Annotated[Path, typer.Option(help="data folder, or its export as jsonl or csv")],
    camera: Annotated[list[str] | None, typer.Option(help="only this camera; repeatable")] = None,
    label: Annotated[list[str] | None, typer.Option(help="only this label; repeatable")] = None,
    duration: Annotated[
        float | None,
        typer.Option(min=0, help="recorded seconds of each camera, else until its last event ends"),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="TRUTH=LOG", help="rename a label of the truth; repeatable"),
    ] = None,
    label_from: Annotated[
        str, typer.Option(help="ELAN: label by annotation value or by tier")
    ] = "value",
    rank: Annotated[str, typer.Option(help="rank for average precision: peak or mean")] = "peak",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare an event log with ground truth: F1, mAP, delays, false alarms."""
    from stream.evaluation.event_metrics import (
        cameras_of,
        evaluate,
        predicted_segments,
        total_duration_s,
    )

    for flag, value, choices in (
        ("--rank", rank, ("peak", "mean")),
        ("--label-from", label_from, ("value", "tier")),
    ):
        if value not in choices:
            fail(f"{flag} {value}: must be one of {', '.join(choices)}")
    truth_set = _map_labels(_truth(truth, label_from), map or [])
    logged = _log(log)
    labels = {one.label for one in truth_set.segments}
    log_cameras = list(dict.fromkeys(row["camera"] for row in logged))
    for flag, wanted_names, known_names in (
        ("--camera", camera or [], {*log_cameras, *truth_set.files}),
        ("--label", label or [], {row["label"] for row in logged} | labels),
    ):
        if unknown := [one for one in wanted_names if one not in known_names]:
            fail(f"{flag} {unknown[0]}: not in the log and not in the truth")
    cameras = list(dict.fromkeys(camera or log_cameras))
    camera_of = cameras_of(truth_set.files, cameras)
    if cameras and truth_set.files and not camera_of:
        fail(
            f"no camera of the log ({', '.join(cameras)}) has the name of a file of the truth "
            f"({', '.join(truth_set.files)}); rename the files"
        )
    # A file without a camera in the log counts as missed, unless --camera selects cameras.
    files = [file for file in truth_set.files if file in camera_of or not camera]
    file_of = {camera: file for file, camera in camera_of.items()}
    wanted = set(label or [])
    segments = [
        one
        for one in truth_set.segments
        if one.file in files and (not wanted or one.label in wanted)
    ]
    events = [
        replace(one, file=file_of[one.file])
        for one in predicted_segments(logged, rank=rank)
        if one.file in file_of and (not wanted or one.label in wanted)
    ]
    total_s = total_duration_s(segments, events) if duration is None else duration * len(files)
    report = evaluate(segments, events, duration_s=total_s)
    notes = {
        "no events in the log for": [file for file in files if file not in camera_of],
        "skipped cameras without ground truth": [name for name in cameras if name not in file_of],
        "labels in the truth only": list(report.only_in_truth),
        "labels in the log only": list(report.only_in_log),
    }
    for note, names in notes.items():
        if names:
            print_error(f"{note}: {', '.join(names)}")
    with allow_closed_pipe():
        print_line(_as_json(report, camera_of) if as_json else _as_text(report))


def _truth(files: Sequence[Path], label_from: str) -> GroundTruth:
    from stream.evaluation.ground_truth import read_ground_truth
    from stream.formats.ground_truth import GroundTruth

    parts = [read_ground_truth(file, label_from=label_from) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.unaligned:
            print_error(f"{file}: skipped {part.unaligned} annotations without times")
    names = dict.fromkeys(name for part in parts for name in part.files)
    return GroundTruth(tuple(names), tuple(one for part in parts for one in part.segments))


def _map_labels(truth: GroundTruth, pairs: Sequence[str]) -> GroundTruth:
    labels = {one.label for one in truth.segments}
    names: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (equals and old and new):
            fail(f"--map {pair}: must be a label of the truth, =, and a label of the log")
        if old not in labels:
            fail(f"--map {pair}: the truth has no label {old!r}, only {', '.join(sorted(labels))}")
        names[old] = new
    segments = (replace(one, label=names.get(one.label, one.label)) for one in truth.segments)
    return replace(truth, segments=tuple(segments))


def _log(log: Path) -> list[dict[str, Any]]:
    from stream.evaluation.ground_truth import read_rows

    found = rows(log) if log.is_dir() else read_rows(log)
    warn_about_clock_resets(found, "export one of them with `events export --since --until`")
    still_open = sum(row["end_s"] is None for row in found)
    if still_open:
        print_error(f"skipped {still_open} open events")
    return found


def _as_json(report: Report, camera_of: dict[str, str]) -> str:
    whole = {
        "duration_s": report.duration_s,
        "overall": _label_as_dict(report.overall),
        "labels": [_label_as_dict(one) for one in report.labels],
        "only_in_truth": report.only_in_truth,
        "only_in_log": report.only_in_log,
        "cameras": camera_of,  # file of the truth -> camera of the log
    }
    return json.dumps(whole, ensure_ascii=False, indent=2)


def _label_as_dict(one: LabelMetrics) -> dict[str, Any]:
    from stream.evaluation.event_metrics import AP_IOU_THRESHOLDS

    at = None if one.ap is None else dict(zip(map(str, AP_IOU_THRESHOLDS), one.ap, strict=True))
    return _rounded({**asdict(one), "ap": at, "mean_ap": one.mean_ap})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple | list) else value


def _as_text(report: Report) -> str:
    from stream.evaluation.event_metrics import IOU_THRESHOLDS

    head = ["label", "truth", "events", *(f"F1@{iou}" for iou in IOU_THRESHOLDS)]
    head += ["P@0.5", "R@0.5", "AP", "start", "|start|", "delay", "p95", "false", "per h"]
    lines = [head, *(_cells(one) for one in (*report.labels, report.overall))]
    return (
        f"{align_columns(lines)}\n"
        f"duration: {report.duration_s:.0f} s\n"
        "AP: average precision, mean over IoU 0.5 to 0.95; last row: mAP\n"
        "start, delay: medians of matches at IoU 0.5, in seconds; start below 0 is early\n"
        "false: events that overlap no truth segment of their label"
    )


def _cells(one: LabelMetrics) -> list[str]:
    half = one.at_iou[1]
    return [
        " ".join(one.label.split()),  # one line
        str(one.truth),
        str(one.events),
        *(_cell(matches.f1) for matches in one.at_iou),
        _cell(half.precision),
        _cell(half.recall),
        _cell(one.mean_ap),
        _cell(one.start_error_s, "+.2f"),
        _cell(one.start_error_abs_s),
        _cell(one.delay_s),
        _cell(one.delay_p95_s),
        str(one.false_alarms),
        _cell(one.false_alarms_per_hour, ".1f"),
    ]


def _cell(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def align_columns(lines: Sequence[Sequence[str]]) -> str:
    """A table: the first column left-aligned, the others right-aligned."""
    from rich.cells import cell_len  # width in terminal cells

    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    rendered = []
    for line in lines:
        padding = [" " * (width - cell_len(text)) for width, text in zip(widths, line, strict=True)]
        cells = [
            line[0] + padding[0],
            *(gap + text for gap, text in zip(padding[1:], line[1:], strict=True)),
        ]
        rendered.append("  ".join(cells).rstrip())
    return "\n".join(rendered)

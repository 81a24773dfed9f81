"""The command that compares an event log with what really happened: score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.event_commands import pipe_may_close, rows
from ui.cli.terminal import complain, give_up, say

if TYPE_CHECKING:
    from stream.evaluation.event_metrics import LabelScore, Report
    from stream.evaluation.ground_truth import GroundTruth


def score(
    truth: Annotated[
        list[Path],
        typer.Option(help="what happened: .csv, ActivityNet's .json or ELAN's .eaf; repeatable"),
    ],
    log: Annotated[Path, typer.Option(help="data folder, or its export as jsonl or csv")],
    camera: Annotated[list[str] | None, typer.Option(help="only this camera; repeatable")] = None,
    label: Annotated[list[str] | None, typer.Option(help="only this label; repeatable")] = None,
    duration: Annotated[
        float | None,
        typer.Option(min=0, help="seconds that each camera watched, else until its last end"),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="TRUTH=LOG", help="the log's name for a label; repeatable"),
    ] = None,
    label_from: Annotated[
        str, typer.Option(help="of ELAN: labels are the annotations' value or their tier")
    ] = "value",
    rank: Annotated[str, typer.Option(help="average precision ranks by peak or mean")] = "peak",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say how well a log agrees with what really happened."""
    from stream.evaluation.event_metrics import MatchError, cameras_of, found, watched_s
    from stream.evaluation.event_metrics import score as compare
    from stream.evaluation.ground_truth import TruthError

    for flag, value, choices in (
        ("--rank", rank, ("peak", "mean")),
        ("--label-from", label_from, ("value", "tier")),
    ):
        if value not in choices:
            give_up(f"{flag} {value}: must be one of {', '.join(choices)}")
    try:
        known = _renamed(_truth(truth, label_from), map or [])
        logged = _log(log)
        labels = {one.label for one in known.segments}
        there = list(dict.fromkeys(row["camera"] for row in logged))
        for flag, asked, has in (
            ("--camera", camera or [], {*there, *known.files}),
            ("--label", label or [], {row["label"] for row in logged} | labels),
        ):
            if strangers := [one for one in asked if one not in has]:
                give_up(f"{flag} {strangers[0]}: neither the log nor the truth knows it")
        cameras = list(dict.fromkeys(camera or there))
        camera_of = cameras_of(known.files, cameras)
    except (TruthError, MatchError) as error:
        give_up(str(error))
    if cameras and known.files and not camera_of:
        give_up(
            f"no camera of the log ({', '.join(cameras)}) has the name of a file of the truth "
            f"({', '.join(known.files)}); rename the files"
        )
    # A file whose camera logged nothing was missed, unless only some cameras are asked for.
    files = [file for file in known.files if file in camera_of or not camera]
    file_of = {camera: file for file, camera in camera_of.items()}
    wanted = set(label or [])
    segments = [
        one for one in known.segments if one.file in files and (not wanted or one.label in wanted)
    ]
    events = [
        replace(one, file=file_of[one.file])
        for one in found(logged, rank=rank)
        if one.file in file_of and (not wanted or one.label in wanted)
    ]
    watched = watched_s(segments, events) if duration is None else duration * len(files)
    report = compare(segments, events, watched_s=watched)
    notes = {
        "no event in the log is of": [file for file in files if file not in camera_of],
        "left out, as the truth doesn't tell of them": [
            name for name in cameras if name not in file_of
        ],
        "labels in the truth only": list(report.only_in_truth),
        "labels in the log only": list(report.only_in_log),
    }
    for words, names in notes.items():
        if names:
            complain(f"{words}: {', '.join(names)}")
    with pipe_may_close():
        say(_as_json(report, camera_of) if as_json else _as_text(report))


def _truth(files: Sequence[Path], label_from: str) -> GroundTruth:
    from stream.evaluation.ground_truth import GroundTruth, read_truth

    parts = [read_truth(file, label_from=label_from) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.unaligned:
            complain(f"{file}: left out, as they have no times of their own: {part.unaligned}")
    names = dict.fromkeys(name for part in parts for name in part.files)
    return GroundTruth(tuple(names), tuple(one for part in parts for one in part.segments))


def _renamed(truth: GroundTruth, pairs: Sequence[str]) -> GroundTruth:
    labels = {one.label for one in truth.segments}
    names: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (equals and old and new):
            give_up(f"--map {pair}: must be a label of the truth, =, and the log's name for it")
        if old not in labels:
            give_up(
                f"--map {pair}: the truth has no label {old!r}, only {', '.join(sorted(labels))}"
            )
        names[old] = new
    segments = (replace(one, label=names.get(one.label, one.label)) for one in truth.segments)
    return replace(truth, segments=tuple(segments))


def _log(log: Path) -> list[dict[str, Any]]:
    from stream.evaluation.ground_truth import read_rows
    from stream.formats.relative_times import of_many_runs

    found = rows(log) if log.is_dir() else read_rows(log)
    mixed = of_many_runs(found)
    if mixed:
        complain(
            f"{', '.join(mixed)}: of several runs, each of which begins at 0; export the one that "
            "is meant with `events export --since --until`"
        )
    still_open = sum(row["end_s"] is None for row in found)
    if still_open:
        complain(f"left out as they are still open: {still_open}")
    return found


def _as_json(report: Report, camera_of: dict[str, str]) -> str:
    whole = {
        "watched_s": report.watched_s,
        "overall": _label_as_dict(report.overall),
        "labels": [_label_as_dict(one) for one in report.labels],
        "only_in_truth": report.only_in_truth,
        "only_in_log": report.only_in_log,
        "cameras": camera_of,  # file of the truth -> camera of the log
    }
    return json.dumps(whole, ensure_ascii=False, indent=2)


def _label_as_dict(one: LabelScore) -> dict[str, Any]:
    from stream.evaluation.event_metrics import AP_OVERLAPS

    values = asdict(one)
    average = None if one.mean_ap is None else round(one.mean_ap, 4)
    at = None if one.ap is None else dict(zip(map(str, AP_OVERLAPS), one.ap, strict=True))
    return _rounded({**values, "ap": at, "mean_ap": average})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple | list) else value


def _as_text(report: Report) -> str:
    from stream.evaluation.event_metrics import OVERLAPS

    head = ["label", "truth", "events", *(f"F1@{overlap}" for overlap in OVERLAPS)]
    head += ["P@0.5", "R@0.5", "AP", "start", "|start|", "delay", "p95", "false", "per h"]
    lines = [head, *(_cells(one) for one in (*report.labels, report.overall))]
    return (
        f"{aligned(lines)}\n"
        f"watched: {report.watched_s:.0f} s\n"
        "AP: average precision, the mean over overlaps 0.5 to 0.95; of all: mAP\n"
        "start, delay: medians of pairs at overlap 0.5, in seconds; start below 0 is early\n"
        "false: events that overlap no truth of their label"
    )


def _cells(one: LabelScore) -> list[str]:
    half = one.agreements[1]
    return [
        " ".join(one.label.split()),  # on one line
        str(one.truth),
        str(one.events),
        *(_cell(agreement.f1) for agreement in one.agreements),
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


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the first one to the left, the others to the right."""
    from rich.cells import cell_len  # how wide a terminal shows it

    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    shown = []
    for line in lines:
        room = [" " * (width - cell_len(text)) for width, text in zip(widths, line, strict=True)]
        cells = [
            line[0] + room[0],
            *(gap + text for gap, text in zip(room[1:], line[1:], strict=True)),
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)

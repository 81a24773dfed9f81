"""ActivityNet JSON: writes ground truth and predictions at once, reads ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from stream.formats.base import FORMATS, EventFormat, Options
from stream.formats.ground_truth import GroundTruth, GroundTruthError, checked_segment


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    """Ground truth (`database`) and predictions (`results`) at once.

    ActivityNet's evaluation requires `database`, `taxonomy` and `version` of the one file, and
    `results`, `version` and `external_data` of the other.
    (https://github.com/activitynet/ActivityNet, Evaluation/eval_detection.py)
    """
    events = options.relative(rows)
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    nodes: list[dict[str, Any]] = [
        {"nodeId": number, "nodeName": label, "parentId": 0, "parentName": "Root"}
        for number, label in enumerate(sorted({event.label for event in events}), start=1)
    ]
    database: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for camera in sorted({event.camera for event in events}):
        segments = [
            {"label": event.label, "score": event.score, "segment": [event.start_s, event.end_s]}
            for event in events
            if event.camera == camera
        ]
        results[camera] = segments
        annotations = [{"label": one["label"], "segment": one["segment"]} for one in segments]
        # "validation" is the default subset of its evaluation.
        database[camera] = {"subset": "validation", "annotations": annotations}
    document = {
        "version": "VERSION 1.3",
        "taxonomy": [root, *nodes],
        "database": database,
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    file.write(json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")


def _read(path: Path, label_from: str) -> GroundTruth:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise GroundTruthError(f"{path} line {error.lineno} is not JSON: {error.msg}") from error
    database = document.get("database") if isinstance(document, dict) else None
    if not isinstance(database, dict):
        raise GroundTruthError(f"{path}: `database` is missing, the ground truth of ActivityNet")
    segments = []
    for file, entry in database.items():
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            raise GroundTruthError(f"{path}: database {file!r}: `annotations` must be a list")
        for number, one in enumerate(annotations, start=1):
            where = f"{path}: database {file!r} annotation {number}"
            try:
                start_s, end_s = map(float, one["segment"])
                label = str(one["label"])
            except (KeyError, TypeError, ValueError):
                raise GroundTruthError(
                    f"{where} must hold `label` and `segment`: [start, end] in seconds"
                ) from None
            segments.append(checked_segment(where, file, label, start_s, end_s))
    return GroundTruth(tuple(database), tuple(segments))


FORMATS.add(
    "activitynet",
    EventFormat("ActivityNet (JSON)", ".json", "application/json", _write, _read, is_relative=True),
)

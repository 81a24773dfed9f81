"""Annotations of public datasets: Kinetics, UCF101, Something-Something and ActivityNet.

Local copies of these datasets rarely have all videos. An invalid row gets a problem; a file of
another format raises ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.data.annotation_rows import (
    AnnotationFile,
    AnnotationRow,
    parse_row,
    split_from_filename,
)

UCF101 = re.compile(r"(?P<split>train|test)list(?P<number>\d+)\.txt", re.IGNORECASE)
_UCF101_VIDEO = re.compile(r"v_(?P<name>\w+)_(?P<group>g\d+)_c\d+", re.ASCII)


def kinetics(location: str, cells: Mapping[str, str]) -> AnnotationRow:
    """A row of a Kinetics CSV: label, youtube_id, time_start, time_end, split.

    Downloaded videos are trimmed to ID_SSSSSS_EEEEEE, or whole as ID.
    Source: Kay et al. 2017, arXiv 1705.06950.
    """
    video = cells["youtube_id"].strip()
    if not video:
        return AnnotationRow(location, problem="youtube_id is empty")
    row = parse_row(
        location,
        label=cells["label"],
        bounds=(cells.get("time_start"), cells.get("time_end")),
        split=cells.get("split", ""),
        stems=(video,),
        source=video,
    )
    if row.start_s is None or row.end_s is None:
        return row
    return replace(row, trimmed_stem=f"{video}_{round(row.start_s):06d}_{round(row.end_s):06d}")


def ucf101(file: Path, text: str) -> AnnotationFile:
    """trainlistNN.txt or testlistNN.txt, and the other one if it is in the same folder.

    A line is `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi`, in a train list followed by a number.
    The videos of a group are cut from one recording. Source: Soomro et al. 2012, arXiv 1212.0402.
    """
    rows = list(_ucf101_rows(file, text))
    sibling = _sibling(file, {"train": "test", "test": "train"})
    if sibling is not None:
        rows += _ucf101_rows(sibling, sibling.read_text(encoding="utf-8-sig"))
    return AnnotationFile(file, tuple(rows), published=True)


def read_json(file: Path, text: str) -> AnnotationFile:
    """A JSON file of Something-Something or of ActivityNet."""
    content = _parse_json(text)
    if isinstance(content, dict) and isinstance(content.get("database"), dict):
        return AnnotationFile(
            file, tuple(_activitynet_rows(file, content["database"])), published=True
        )
    if not isinstance(content, list) or not any(
        isinstance(one, dict) and "id" in one for one in content
    ):
        raise ValueError(
            'is neither a list of {"id", "label", "template"}, as Something-Something has, nor '
            '{"database": {ID: {"subset", "annotations"}}}, as ActivityNet has'
        )
    rows = list(_something_rows(file, content))
    sibling = _sibling(file, {"train": "validation", "validation": "train"})
    if sibling is not None:
        more = _parse_json(
            sibling.read_text(encoding="utf-8-sig"), f"has {sibling.name} beside it, which "
        )
        rows += _something_rows(sibling, more if isinstance(more, list) else [])
    return AnnotationFile(file, tuple(rows), published=True)


def _parse_json(text: str, prefix: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{prefix}is not JSON: {error}") from error


def _sibling(file: Path, words: Mapping[str, str]) -> Path | None:
    """The file beside `file` with the words in its name replaced, if it exists."""
    name = re.sub("|".join(words), lambda found: words[found[0]], file.name)
    sibling = file.with_name(name)
    return sibling if name != file.name and sibling.is_file() else None


def _ucf101_rows(file: Path, text: str) -> Iterator[AnnotationRow]:
    found = UCF101.fullmatch(file.name)
    split = found["split"] if found else ""
    for number, line in enumerate(text.splitlines(), 1):
        path = re.sub(r"\s+\d+$", "", line.strip()).replace("\\", "/")
        if not path:
            continue
        folder, _, name = path.rpartition("/")
        stem = Path(name).stem
        group = _UCF101_VIDEO.fullmatch(stem)
        source = f"{group['name']} {group['group']}" if group else ""
        label = folder.rpartition("/")[2] or (group["name"] if group else "")
        yield parse_row(
            f"{file.name} line {number}",
            label=label,
            path=path,
            split=split,
            stems=(stem,),
            source=source,
        )


def _something_rows(file: Path, entries: Sequence[Any]) -> Iterator[AnnotationRow]:
    """Of [{"id", "label", "template"}]. Source: Goyal et al. 2017, arXiv 1706.04261."""
    split = split_from_filename(file.stem)
    for number, entry in enumerate(entries, 1):
        location = f"{file.name} entry {number}"
        video = str(entry.get("id", "")).strip() if isinstance(entry, dict) else ""
        if not video:
            yield AnnotationRow(location, problem="it has no id")
            continue
        # "Putting [something] on a surface"; `label` has the name of the object instead.
        text = entry.get("template") or entry.get("label")
        label = re.sub(r"[\[\]]", "", text) if isinstance(text, str) else ""
        yield parse_row(location, label=label, split=split, stems=(video,), source=video)


def _activitynet_rows(file: Path, database: Mapping[str, Any]) -> Iterator[AnnotationRow]:
    """Of {ID: {"subset", "annotations"}}. Source: Caba Heilbron et al. 2015, CVPR."""
    for video, entry in database.items():
        location = f"{file.name} {video}"
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            yield AnnotationRow(location, problem="it has no annotations")
            continue
        for annotation in annotations:
            segment = annotation.get("segment") if isinstance(annotation, dict) else None
            if not isinstance(segment, list) or len(segment) != 2 or None in segment:
                problem = "an annotation has no segment [start, end]"
                yield AnnotationRow(location, problem=problem)
                continue
            yield parse_row(
                location,
                label=annotation.get("label"),
                bounds=(segment[0], segment[1]),
                split=str(entry.get("subset", "")),
                stems=(f"v_{video}", video),
                source=video,
            )

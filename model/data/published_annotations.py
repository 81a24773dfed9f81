"""Annotations of public datasets: Kinetics, UCF101, Something-Something and ActivityNet.

Local copies of these datasets rarely have all videos. An invalid row gets a problem; a file of
another format raises ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.data.annotation_rows import (
    AnnotationFile,
    AnnotationRow,
    normalize_label,
    parse_bounds,
    parse_split,
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
    try:
        if not video:
            raise ValueError("youtube_id is empty")
        start_s, end_s = parse_bounds(cells.get("time_start"), cells.get("time_end"))
        label, split = normalize_label(cells["label"]), parse_split(cells.get("split", ""))
    except ValueError as error:
        return AnnotationRow(location, problem=str(error))
    trimmed_stem = ""
    if start_s is not None and end_s is not None:
        trimmed_stem = f"{video}_{round(start_s):06d}_{round(end_s):06d}"
    return AnnotationRow(
        location,
        label,
        trimmed_stem=trimmed_stem,
        stems=(video,),
        start_s=start_s,
        end_s=end_s,
        source=video,
        split=split,
    )


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
    split = parse_split(found["split"]) if found else ""
    for number, line in enumerate(text.splitlines(), 1):
        path = re.sub(r"\s+\d+$", "", line.strip()).replace("\\", "/")
        if not path:
            continue
        folder, _, name = path.rpartition("/")
        stem = Path(name).stem
        group = _UCF101_VIDEO.fullmatch(stem)
        source = f"{group['name']} {group['group']}" if group else ""
        location = f"{file.name} line {number}"
        try:
            label = normalize_label(folder.rpartition("/")[2] or (group["name"] if group else ""))
        except ValueError as error:
            yield AnnotationRow(location, path=path, problem=str(error))
            continue
        yield AnnotationRow(location, label, path, stems=(stem,), source=source, split=split)


def _something_rows(file: Path, entries: Sequence[Any]) -> Iterator[AnnotationRow]:
    """Of [{"id", "label", "template"}]. Source: Goyal et al. 2017, arXiv 1706.04261."""
    split = split_from_filename(file.stem)
    for number, entry in enumerate(entries, 1):
        location = f"{file.name} entry {number}"
        try:
            if not isinstance(entry, dict) or not str(entry.get("id", "")).strip():
                raise ValueError("it has no id")
            # "Putting [something] on a surface"; `label` has the name of the object instead.
            text = entry.get("template") or entry.get("label")
            label = normalize_label(re.sub(r"[\[\]]", "", text) if isinstance(text, str) else "")
        except ValueError as error:
            yield AnnotationRow(location, problem=str(error))
            continue
        video = str(entry["id"]).strip()
        yield AnnotationRow(location, label, stems=(video,), source=video, split=split)


def _activitynet_rows(file: Path, database: Mapping[str, Any]) -> Iterator[AnnotationRow]:
    """Of {ID: {"subset", "annotations"}}. Source: Caba Heilbron et al. 2015, CVPR."""
    for video, entry in database.items():
        location = f"{file.name} {video}"
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            yield AnnotationRow(location, problem="it has no annotations")
            continue
        for annotation in annotations:
            try:
                split = parse_split(str(entry.get("subset", "")))
                segment = annotation.get("segment") if isinstance(annotation, dict) else None
                if not isinstance(segment, list) or len(segment) != 2 or None in segment:
                    raise ValueError("an annotation has no segment [start, end]")
                start_s, end_s = parse_bounds(*segment)
                text = annotation.get("label")
                label = normalize_label(text if isinstance(text, str) else "")
            except ValueError as error:
                yield AnnotationRow(location, problem=str(error))
                continue
            yield AnnotationRow(
                location,
                label,
                stems=(f"v_{video}", video),
                start_s=start_s,
                end_s=end_s,
                source=video,
                split=split,
            )

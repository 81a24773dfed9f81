"""Lists of published films: of Kinetics, UCF101, Something-Something and ActivityNet.

Who has such films rarely has all of them. What a row says wrongly is in the row; ValueError, saying
what was expected, is for a list that is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.data.annotation_rows import (
    Listed,
    Row,
    label_of,
    split_in_name,
    split_of,
    stretch,
)

UCF101 = re.compile(r"(?P<split>train|test)list(?P<number>\d+)\.txt", re.IGNORECASE)
_UCF101_FILM = re.compile(r"v_(?P<name>\w+)_(?P<group>g\d+)_c\d+", re.ASCII)


def kinetics(place: str, cells: Mapping[str, str]) -> Row:
    """A row of a Kinetics CSV: label, youtube_id, time_start, time_end, split.

    Who downloads these films cuts them to ID_SSSSSS_EEEEEE, or keeps them whole as ID.
    Source: Kay et al. 2017, arXiv 1705.06950.
    """
    film = cells["youtube_id"].strip()
    try:
        if not film:
            raise ValueError("youtube_id is empty")
        start_s, end_s = stretch(cells.get("time_start"), cells.get("time_end"))
        label, split = label_of(cells["label"]), split_of(cells.get("split", ""))
    except ValueError as error:
        return Row(place, problem=str(error))
    cut = ""
    if start_s is not None and end_s is not None:
        cut = f"{film}_{round(start_s):06d}_{round(end_s):06d}"
    return Row(
        place,
        label,
        cut=cut,
        stems=(film,),
        start_s=start_s,
        end_s=end_s,
        source=film,
        split=split,
    )


def ucf101(file: Path, text: str) -> Listed:
    """trainlistNN.txt or testlistNN.txt, with its sibling where that lies beside it.

    A line is `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi`, in a train list with a number after
    it. The films of a group are cut from one video. Source: Soomro et al. 2012, arXiv 1212.0402.
    """
    rows = list(_ucf101_rows(file, text))
    beside = _beside(file, {"train": "test", "test": "train"})
    if beside is not None:
        rows += _ucf101_rows(beside, beside.read_text(encoding="utf-8-sig"))
    return Listed(file, tuple(rows), published=True)


def json_list(file: Path, text: str) -> Listed:
    """A JSON file of Something-Something or of ActivityNet."""
    said = _parsed(text)
    if isinstance(said, dict) and isinstance(said.get("database"), dict):
        return Listed(file, tuple(_activitynet_rows(file, said["database"])), published=True)
    if not isinstance(said, list) or not any(isinstance(one, dict) and "id" in one for one in said):
        raise ValueError(
            'is neither a list of {"id", "label", "template"}, as Something-Something has, nor '
            '{"database": {ID: {"subset", "annotations"}}}, as ActivityNet has'
        )
    rows = list(_something_rows(file, said))
    beside = _beside(file, {"train": "validation", "validation": "train"})
    if beside is not None:
        more = _parsed(
            beside.read_text(encoding="utf-8-sig"), f"has {beside.name} beside it, which "
        )
        rows += _something_rows(beside, more if isinstance(more, list) else [])
    return Listed(file, tuple(rows), published=True)


def _parsed(text: str, which: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{which}is no JSON: {error}") from error


def _beside(file: Path, words: Mapping[str, str]) -> Path | None:
    """The list beside `file` that has another word in its name, if there is one."""
    name = re.sub("|".join(words), lambda found: words[found[0]], file.name)
    beside = file.with_name(name)
    return beside if name != file.name and beside.is_file() else None


def _ucf101_rows(file: Path, text: str) -> Iterator[Row]:
    found = UCF101.fullmatch(file.name)
    split = split_of(found["split"]) if found else ""
    for number, line in enumerate(text.splitlines(), 1):
        path = re.sub(r"\s+\d+$", "", line.strip()).replace("\\", "/")
        if not path:
            continue
        folder, _, name = path.rpartition("/")
        stem = Path(name).stem
        cut_from = _UCF101_FILM.fullmatch(stem)
        source = f"{cut_from['name']} {cut_from['group']}" if cut_from else ""
        place = f"{file.name} line {number}"
        try:
            label = label_of(folder.rpartition("/")[2] or (cut_from["name"] if cut_from else ""))
        except ValueError as error:
            yield Row(place, path=path, problem=str(error))
            continue
        yield Row(place, label, path, stems=(stem,), source=source, split=split)


def _something_rows(file: Path, said: Sequence[Any]) -> Iterator[Row]:
    """Of [{"id", "label", "template"}]. Source: Goyal et al. 2017, arXiv 1706.04261."""
    split = split_in_name(file.stem)
    for number, one in enumerate(said, 1):
        place = f"{file.name} entry {number}"
        try:
            if not isinstance(one, dict) or not str(one.get("id", "")).strip():
                raise ValueError("it has no id")
            # "Putting [something] on a surface"; `label` says what the thing was.
            says = one.get("template") or one.get("label")
            label = label_of(re.sub(r"[\[\]]", "", says) if isinstance(says, str) else "")
        except ValueError as error:
            yield Row(place, problem=str(error))
            continue
        film = str(one["id"]).strip()
        yield Row(place, label, stems=(film,), source=film, split=split)


def _activitynet_rows(file: Path, database: Mapping[str, Any]) -> Iterator[Row]:
    """Of {ID: {"subset", "annotations"}}. Source: Caba Heilbron et al. 2015, CVPR."""
    for film, said in database.items():
        place = f"{file.name} {film}"
        marks = said.get("annotations") if isinstance(said, dict) else None
        if not isinstance(marks, list):
            yield Row(place, problem="it has no annotations")
            continue
        for mark in marks:
            try:
                split = split_of(str(said.get("subset", "")))
                segment = mark.get("segment") if isinstance(mark, dict) else None
                if not isinstance(segment, list) or len(segment) != 2 or None in segment:
                    raise ValueError("an annotation has no segment [start, end]")
                start_s, end_s = stretch(*segment)
                says = mark.get("label")
                label = label_of(says if isinstance(says, str) else "")
            except ValueError as error:
                yield Row(place, problem=str(error))
                continue
            stems = (f"v_{film}", film)
            yield Row(
                place, label, stems=stems, start_s=start_s, end_s=end_s, source=film, split=split
            )

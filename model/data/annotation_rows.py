"""A row of an annotation file: a labeled segment of a video, or why the row can't be used."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.messages import MAX_LABEL_LENGTH
from stream.runtime.errors import printable

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_TIME = re.compile(
    r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)", re.ASCII | re.I
)


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """A row as the annotation file has it; the video may not exist."""

    location: str  # "clips.csv line 3", for a person
    label: str = ""
    path: str = ""  # the video's path as the file has it
    trimmed_stem: str = ""  # or the name, without suffix, of a video that is just this segment
    stems: tuple[str, ...] = ()  # or possible names, without suffix, of the whole video
    start_s: float | None = None
    end_s: float | None = None
    source: str = ""  # the recording that the video was cut from; "" if unknown
    event: str = ""  # the event of a log whose clip this is
    split: str = ""
    file: Path | None = None  # the video, once it was found
    problem: str = ""  # why the row can't be used; then only location, path and file are valid


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """The rows of an annotation file or of a folder."""

    file: Path
    rows: tuple[AnnotationRow, ...]
    published: bool = False  # of a public dataset; usually some of its videos are missing
    problems: tuple[str, ...] = ()  # a line for each file that has no rows


def normalize_label(text: str) -> str:
    """The label in Unicode's NFC form, stripped. Raises ValueError for an invalid label."""
    label = unicodedata.normalize("NFC", text).strip()
    if not label:
        raise ValueError("the label is empty")
    if len(label) > MAX_LABEL_LENGTH:
        raise ValueError(
            f"a label can have at most {MAX_LABEL_LENGTH} characters, this has {len(label)}"
        )
    if "\0" in label or any("\ud800" <= character <= "\udfff" for character in label):
        raise ValueError("the label has invalid characters")
    return label


def parse_row(
    location: str,
    *,
    label: object,
    path: str = "",
    bounds: tuple[object, object] = (None, None),
    split: str = "",
    **fields: Any,
) -> AnnotationRow:
    """The row with the values of these texts, or with the problem of an invalid one."""
    try:
        start_s, end_s = parse_bounds(*bounds)
        return AnnotationRow(
            location,
            normalize_label(label if isinstance(label, str) else ""),
            path,
            start_s=start_s,
            end_s=end_s,
            split=parse_split(split),
            **fields,
        )
    except ValueError as error:
        return AnnotationRow(location, path=path, problem=str(error))


def parse_split(text: str) -> str:
    """ "train", "val", "test", or "" for empty text. Raises ValueError for another word."""
    word = text.strip().casefold()
    if word and word not in _SPLITS:
        raise ValueError(f"split must be train, val or test, got {printable(text)!r:.60}")
    return _SPLITS.get(word, "")


def split_from_filename(stem: str) -> str:
    """The split that a word of the file name means; "" if there are none or several."""
    words = re.split(r"[^a-z]+", stem.casefold())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else ""


def parse_bounds(start: object, end: object) -> tuple[float | None, float | None]:
    """Start and end of a segment in seconds; None for the start and the end of the video.

    Each is a number of seconds, a text such as `83.5`, `1:23.5`, `0:01:23.5`, or empty. Raises
    ValueError for anything else, and if the end is not after the start.
    """
    start_s, end_s = _seconds("start", start), _seconds("end", end)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ValueError(f"end must be after start, got {start_s or 0:g} s to {end_s:g} s")
    return start_s, end_s


def _seconds(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    # Tables separated by semicolons often use a decimal comma.
    found = _TIME.fullmatch(str(value).strip().replace(",", "."))
    if found is None or isinstance(value, bool):
        raise ValueError(f"{name} must be seconds or h:mm:ss, got {printable(value)!r:.60}")
    hours, minutes, seconds = (float(found[part] or 0) for part in ("h", "m", "s"))
    if (found["m"] and seconds >= 60) or (found["h"] and minutes >= 60):
        raise ValueError(f"{name} must be seconds or h:mm:ss, got {printable(value)!r:.60}")
    total_s = 3600 * hours + 60 * minutes + seconds
    if not math.isfinite(total_s):
        raise ValueError(f"{name} must be a finite time, got {printable(value)!r:.60}")
    return total_s

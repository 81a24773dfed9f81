"""A row of a list of films: a stretch of a film and what it shows, or why it says nothing."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from stream.messages import LONGEST_LABEL

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_TIME = re.compile(
    r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)", re.ASCII | re.I
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a list says of a stretch of a film. It is not known yet whether there is that film."""

    place: str  # "clips.csv line 3", for a person
    label: str = ""
    path: str = ""  # where the film is, as the list has it
    cut: str = ""  # or the name, without a suffix, of a film that is just this stretch
    stems: tuple[str, ...] = ()  # or names without a suffix that the whole film may have
    start_s: float | None = None
    end_s: float | None = None
    source: str = ""  # what the film was cut from; "" where the list doesn't say
    event: str = ""  # and of which event of a log it is the clip
    split: str = ""
    file: Path | None = None  # where the film is, once it was found
    problem: str = ""  # why this row can't be used; then only `place`, `path` and `file` count


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list says."""

    file: Path
    rows: tuple[Row, ...]
    published: bool = False  # who has such films rarely has all of them
    problems: tuple[str, ...] = ()  # lines about what made no row


def label_of(text: str) -> str:
    """A label, the same however its letters were composed. Raises ValueError for what is none."""
    label = unicodedata.normalize("NFC", text).strip()
    if not label:
        raise ValueError("the label is empty")
    if len(label) > LONGEST_LABEL:
        raise ValueError(f"a label may have {LONGEST_LABEL} characters, this has {len(label)}")
    if "\0" in label or any("\ud800" <= character <= "\udfff" for character in label):
        raise ValueError("the label holds what is no text")
    return label


def split_of(text: str) -> str:
    """ "train", "val", "test", or "" for nothing. Raises ValueError for another word."""
    word = text.strip().casefold()
    if word and word not in _SPLITS:
        raise ValueError(f"split must be train, val or test, got {shown(text)!r:.60}")
    return _SPLITS.get(word, "")


def split_in_name(stem: str) -> str:
    """The split that the words of a file's name tell of; "" for none, or several."""
    words = re.split(r"[^a-z]+", stem.casefold())
    told = {_SPLITS[word] for word in words if word in _SPLITS}
    return told.pop() if len(told) == 1 else ""


def stretch(start: object, end: object) -> tuple[float | None, float | None]:
    """The seconds from which and to which a film shows something; None for its own ends.

    Each is a number of seconds or a text as `83.5`, `1:23.5`, `0:01:23.5`, or empty. Raises
    ValueError for anything else, and where the end is not after the start.
    """
    start_s, end_s = _seconds("start", start), _seconds("end", end)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ValueError(f"end must be after start, got {start_s or 0:g} s to {end_s:g} s")
    return start_s, end_s


def shown(text: object) -> str:
    """A name as it may stand in one line for a person, without what is no text or ends a line."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        else character
        for character in str(text)
    )


def _seconds(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    # Where a semicolon parts columns, a comma is often the decimal point.
    found = _TIME.fullmatch(str(value).strip().replace(",", "."))
    if found is None or isinstance(value, bool):
        raise ValueError(f"{name} must be seconds or h:mm:ss, got {shown(value)!r:.60}")
    hours, minutes, seconds = (float(found[part] or 0) for part in ("h", "m", "s"))
    if (found["m"] and seconds >= 60) or (found["h"] and minutes >= 60):
        raise ValueError(f"{name} must be seconds or h:mm:ss, got {shown(value)!r:.60}")
    total_s = 3600 * hours + 60 * minutes + seconds
    if not math.isfinite(total_s):
        raise ValueError(f"{name} must be a time within a film, got {shown(value)!r:.60}")
    return total_s

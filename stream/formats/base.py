"""What an event format is, and the registry of formats: one module of this package each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stream.formats.ground_truth import GroundTruth
from stream.formats.relative_times import TIME_BASES, RelativeEvent, to_relative_times
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import replacing
from stream.runtime.registry import Registry


class ExportError(UserError, ValueError):
    """An export that is impossible. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of single formats. The time base is for relative formats; others contain both."""

    time_base: str = "media"  # or "wall", see stream/formats/relative_times.py
    time_offset_s: float = 0.0  # media time that becomes 0: the start of a clip in its source
    media: Path | None = None  # the linked video, for formats that link one
    spreadsheet: bool = False  # CSV: escape text that looks like a formula

    def __post_init__(self) -> None:
        if self.time_base not in TIME_BASES:
            raise ExportError(
                f"time base {self.time_base!r} must be one of {', '.join(TIME_BASES)}"
            )

    def relative(self, rows: Iterable[Mapping[str, Any]]) -> list[RelativeEvent]:
        """The events of a relative format, see to_relative_times."""
        return to_relative_times(rows, time_base=self.time_base, time_offset_s=self.time_offset_s)


@dataclass(frozen=True, slots=True)
class EventFormat:
    """A file format of events.

    `write` writes rows with the keys COLUMNS, and gives the same bytes for the same rows.
    `read` reads a file as ground truth; its second argument selects the labels of ELAN, see
    stream/evaluation/ground_truth.py. It raises GroundTruthError, naming the file and the location
    of the error, UnicodeDecodeError and OSError.
    """

    title: str  # in menus
    suffix: str  # of file names, with the dot
    media_type: str
    write: Callable[[Iterable[Mapping[str, Any]], IO[bytes], Options], None]
    read: Callable[[Path, str], GroundTruth] | None = None
    is_relative: bool = False  # closed events only, in seconds from Options.time_base
    is_binary: bool = False  # not for a terminal
    links_media: bool = False  # Options.media


FORMATS: Registry[EventFormat] = Registry("event format", "stream.formats")


def export(
    rows: Iterable[Mapping[str, Any]],
    file: IO[bytes],
    format_name: str,
    options: Options = Options(),
) -> int:
    """Write rows with the keys COLUMNS; return the number of skipped open events.

    Raises ExportError for an unknown format or a missing package.
    """
    if format_name not in FORMATS:
        raise ExportError(f"format {format_name!r} must be one of {', '.join(sorted(FORMATS))}")
    event_format = FORMATS[format_name]
    if not event_format.is_relative:
        event_format.write(rows, file, options)
        return 0
    rows = list(rows)
    event_format.write(rows, file, options)
    return sum(row["end"] is None for row in rows)


def export_file(
    rows: Iterable[Mapping[str, Any]],
    path: Path,
    format_name: str,
    options: Options = Options(),
) -> int:
    """Like `export`, to a file that is replaced atomically.

    Raises ExportError, naming the file, if it can't be written.
    """
    path = path.resolve()  # replaces the target of a link, not the link
    if path.exists() and not path.is_file():
        raise ExportError(f"{path} is not a file; give a file with --out")
    try:
        with replacing(path, shared=True) as part, part.open("wb") as file:
            return export(rows, file, format_name, options)
    except OSError as error:
        raise ExportError(
            f"{path} can't be written: {reason_of(error)}; give another file with --out"
        ) from error


def rounded(value: Any) -> Any:
    """A value of a row with milliseconds, the resolution of all formats."""
    return round(value, 3) if isinstance(value, float) else value

"""Recorded files that are to be scanned: their names and keys, and a folder's notes of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av

from stream.config.config import Config
from stream.events.processor import Film
from stream.sinks.event_log.rows import moment

_NOTES = "scanned.json"
_UNKNOWN = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EMBEDDED = Path(__file__).parents[2] / "model" / "weights"
_OF_A_MODEL = {".json", ".safetensors", ".bin"}
_LONGEST_STEM = 55  # with a hyphen and eight digits, a camera's name


class ScanError(Exception):
    """A scan that can't begin or go on. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A film that is to be scanned."""

    file: Path
    name: str  # in the log, where a camera's name stands
    content: str  # a hash of its bytes
    film: Film
    duration_s: float | None  # as far as the file says
    copies: tuple[Path, ...]  # other files with this name and content


@dataclass(frozen=True, slots=True)
class Noted:
    """What a folder of scans knows of a film."""

    content: str
    key: str = ""  # the Film's, when it was scanned whole


def plan(
    files: Sequence[Path],
    config: Config,
    *,
    began: datetime | None = None,
    on_read: Callable[[int], None] = lambda count: None,
) -> list[Wanted]:
    """The films that there are to scan into the data folder of `config`.

    A film is called as its file; where that is the name of another one, here or in the folder, some
    digits of its content are added. `began` is UTC of the first picture of each film, if it is
    known. Else it is what the file itself says; one that does not gets 1970-01-01, so that its
    times read as times since its beginning. All files are read once, which may take a while:
    `on_read` is told of each part how many bytes it has.
    Raises OSError for a file that can't be read, ScanError for the folder's notes.
    """
    films: dict[tuple[str, str], list[Path]] = {}
    for file in dict.fromkeys(files):
        films.setdefault((_stem(file), _digest([file], on_read)), []).append(file)
    noted = notes(config.data)
    way = _way_of_scanning(config)
    wanted: list[Wanted] = []
    for (stem, content), (file, *copies) in films.items():
        known = {noted[stem].content} if stem in noted else set()
        others = known | {other for same, other in films if same == stem}
        name = _name(stem, content, noted, is_shared=others != {content})
        duration_s, created = _facts(file)
        began_utc = began or created or _UNKNOWN
        depends_on = (name, content, began_utc.timestamp(), way)
        key = hashlib.blake2b(json.dumps(depends_on).encode(), digest_size=16).hexdigest()
        wanted.append(Wanted(file, name, content, Film(began_utc, key), duration_s, tuple(copies)))
    return wanted


def notes(folder: Path) -> dict[str, Noted]:
    """What a folder of scans notes of films, by name; nothing where it has no notes.

    Raises ScanError, naming the file, where they can't be read.
    """
    file = folder / _NOTES
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: Noted(one["content"], one["key"]) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ScanError(f"{file} can't be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ScanError(
            f"{file} holds no notes that this version can read; give another --out"
        ) from error


def note(folder: Path, new: Mapping[str, Noted]) -> None:
    """Add to the notes of a folder. Raises ScanError where they can't be written."""
    told = {name: asdict(one) for name, one in {**notes(folder), **new}.items()}
    file = folder / _NOTES
    part = file.with_name(f"{_NOTES}.part")
    try:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise ScanError(f"{file} can't be written: {error.strerror or error}") from error


def _stem(file: Path) -> str:
    """A file's name as far as it may be one of a camera, see stream/config/types.py."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("._-")[:_LONGEST_STEM] or "film"


def _name(stem: str, content: str, noted: Mapping[str, Noted], *, is_shared: bool) -> str:
    distinct = f"{stem}-{content[:8]}"
    for name in (stem, distinct):
        if name in noted and noted[name].content == content:
            return name  # for ever
    return distinct if is_shared else stem


def _digest(files: Sequence[Path], on_read: Callable[[int], None] = lambda count: None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
                on_read(len(block))
    return digest.hexdigest()


def _way_of_scanning(config: Config) -> str:
    """All that the events depend on besides the film, as far as it is known here.

    What "auto" will mean, only the worker knows. A model of the Hugging Face hub is its name.
    """
    how = {"engine", "precision", "device", "compile"}
    settings = {
        "window": config.window.model_dump(),
        "events": config.events.model_dump(),
        "worker": config.worker.model_dump(include=how),
        "model": [config.model, _digest(_files_of_model(config.model))],
        "version": _version(),
    }
    return json.dumps(settings, default=sorted, sort_keys=True)


def _files_of_model(name: str) -> list[Path]:
    """Of an embedded model or a folder; none of others."""
    folder = _EMBEDDED / name
    if not (folder / "config.json").is_file():
        with contextlib.suppress(RuntimeError):  # ~ of nobody
            folder = Path(name).expanduser()
    return sorted(file for file in folder.glob("*.*") if file.suffix in _OF_A_MODEL)


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("actionwatch")
    return ""  # run from its source


def _facts(file: Path) -> tuple[float | None, datetime | None]:
    """How long a film is in seconds, and when it was taken, as far as it says so."""
    try:
        with av.open(str(file.resolve())) as container:
            if not container.streams.video:
                return None, None
            duration_s = container.duration / av.time_base if container.duration else None
            return duration_s, _created(container.metadata.get("creation_time", ""))
    except (av.error.FFmpegError, OSError):
        return None, None  # the scan itself says what is wrong with it


def _created(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        created = moment(text)
        # Cameras without a clock write the beginning of their time.
        return created.astimezone(timezone.utc) if created.year > 1990 else None
    return None

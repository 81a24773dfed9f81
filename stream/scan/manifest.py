"""Video files to scan: their names and keys, and the manifest of a scan folder."""

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
from stream.events.processor import ScanInput
from stream.runtime.errors import UserError, reason_of
from stream.runtime.files import write_atomically
from stream.sinks.event_log.rows import moment

_MANIFEST = "scanned.json"
_UNKNOWN_START = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MODEL_SUFFIXES = {".json", ".safetensors", ".bin"}
_MAX_STEM_LENGTH = 55  # with a hyphen and eight digits, a valid camera name


class ScanError(UserError):
    """A scan that can't start or continue. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class ScanJob:
    """A video to scan."""

    file: Path
    name: str  # its camera name in the event log
    content: str  # a hash of its bytes
    scan_input: ScanInput
    duration_s: float | None  # None if the file does not state it
    copies: tuple[Path, ...]  # other files with the same name and content


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """The state of a video in a scan folder."""

    content: str
    key: str = ""  # the key of its ScanInput once it is complete


def plan(
    files: Sequence[Path],
    config: Config,
    *,
    model_folder: Path | None = None,
    start_utc: datetime | None = None,
    on_read: Callable[[int], None] = lambda count: None,
) -> list[ScanJob]:
    """The scan jobs for video files, with the data folder of `config` as output.

    `model_folder` holds the files of the model of `config`; None for one of the Hugging Face hub,
    which is identified by its name.

    The name of a video is its file name; on a collision, here or in the folder, digits of its
    content hash are appended. `start_utc` is the time of the first frame of all videos; the default
    is the creation time in the file, or else 1970-01-01, so that times read as times since the
    start. All files are read once, which may take a while: `on_read` is called with the size of
    each block in bytes.
    Raises OSError for a file that can't be read, ScanError for an invalid manifest.
    """
    videos: dict[tuple[str, str], list[Path]] = {}
    for file in dict.fromkeys(files):
        videos.setdefault((_stem(file), _digest([file], on_read)), []).append(file)
    manifest = read_manifest(config.data)
    settings = _scan_settings(config, model_folder)
    jobs: list[ScanJob] = []
    for (stem, content), (file, *copies) in videos.items():
        known = {manifest[stem].content} if stem in manifest else set()
        contents = known | {other for same, other in videos if same == stem}
        name = _name(stem, content, manifest, is_shared=contents != {content})
        duration_s, created = _read_metadata(file)
        first_utc = start_utc or created or _UNKNOWN_START
        depends_on = (name, content, first_utc.timestamp(), settings)
        key = hashlib.blake2b(json.dumps(depends_on).encode(), digest_size=16).hexdigest()
        scan_input = ScanInput(first_utc, key)
        jobs.append(ScanJob(file, name, content, scan_input, duration_s, tuple(copies)))
    return jobs


def read_manifest(folder: Path) -> dict[str, ManifestEntry]:
    """The manifest of a scan folder: entries by video name; empty if there is none.

    Raises ScanError, naming the file, if it can't be read.
    """
    file = folder / _MANIFEST
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: ManifestEntry(one["content"], one["key"]) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ScanError(f"{file} can't be read: {reason_of(error)}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ScanError(f"{file} is not a manifest of this version; give another --out") from error


def write_manifest(folder: Path, new: Mapping[str, ManifestEntry]) -> None:
    """Add entries to the manifest of a folder. Raises ScanError if it can't be written."""
    entries = {name: asdict(one) for name, one in {**read_manifest(folder), **new}.items()}
    file = folder / _MANIFEST
    try:
        write_atomically(file, json.dumps(entries, indent=1) + "\n")
    except OSError as error:
        raise ScanError(f"{file} can't be written: {reason_of(error)}") from error


def _stem(file: Path) -> str:
    """The file name as a valid camera name, see stream/config/types.py."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("._-")[:_MAX_STEM_LENGTH] or "video"


def _name(
    stem: str, content: str, manifest: Mapping[str, ManifestEntry], *, is_shared: bool
) -> str:
    distinct = f"{stem}-{content[:8]}"
    for name in (stem, distinct):
        if name in manifest and manifest[name].content == content:
            return name  # a video never changes its name
    return distinct if is_shared else stem


def _digest(files: Sequence[Path], on_read: Callable[[int], None] = lambda count: None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
                on_read(len(block))
    return digest.hexdigest()


def _scan_settings(config: Config, model_folder: Path | None) -> str:
    """All settings that affect the events, as JSON.

    "auto" stays as it is: only the worker resolves it.
    """
    files = sorted(model_folder.glob("*.*")) if model_folder else []
    inference = {"engine", "precision", "device", "compile"}
    settings = {
        "window": config.window.model_dump(),
        "events": config.events.model_dump(),
        "worker": config.worker.model_dump(include=inference),
        "model": [config.model, _digest([one for one in files if one.suffix in _MODEL_SUFFIXES])],
        "version": _version(),
    }
    return json.dumps(settings, default=sorted, sort_keys=True)


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("actionwatch")
    return ""  # not installed


def _read_metadata(file: Path) -> tuple[float | None, datetime | None]:
    """The duration in seconds and the creation time of a video, if the file states them."""
    try:
        with av.open(str(file.resolve())) as container:
            if not container.streams.video:
                return None, None
            duration_s = container.duration / av.time_base if container.duration else None
            return duration_s, _created(container.metadata.get("creation_time", ""))
    except (av.error.FFmpegError, OSError):
        return None, None  # the scan reports the error


def _created(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        created = moment(text)
        # Cameras without a clock write their epoch.
        return created.astimezone(timezone.utc) if created.year > 1990 else None
    return None

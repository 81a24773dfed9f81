"""Recorded files scanned whole: every window scored, the log and the exports the same each time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from threading import Event as StopEvent

import av

from stream.config import CameraConfig, Config
from stream.decoding import SourceError
from stream.event_log import EventLog
from stream.exports import export_file
from stream.judge import Film
from stream.keeping_config import RecordingConfig
from stream.pipeline import Pipeline
from stream.score_log import FOLDER as SCORES

EXPORTS = {"jsonl": ".jsonl", "webvtt": ".vtt"}  # formats of each file's events, and their suffixes
_DONE = "scanned.json"
_LOOK_EVERY_S = 0.1
_UNKNOWN = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be scanned."""

    file: Path
    name: str  # in the log, where a camera's name stands
    film: Film
    duration_s: float | None  # as far as the file says


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of a file: events, or why it could not be read."""

    wanted: Wanted
    events: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan has come, in seconds of film."""

    done_s: float
    reading: tuple[str, ...]


def plan(files: Sequence[Path], config: Config, *, began: datetime | None = None) -> list[Wanted]:
    """What there is to scan. `began` is UTC of the first picture of each file, if it is known.

    Else it is what the file itself says; a file that does not gets 1970-01-01, so that its times
    read as times since its beginning.
    Raises OSError for a file that is not there, or may not be read.
    """
    wanted: list[Wanted] = []
    names: set[str] = set()
    for file in files:
        duration_s, created = _facts(file)
        name = _name(file, names)
        names.add(name)
        film = Film(began or created or _UNKNOWN, _key(file, name, config))
        wanted.append(Wanted(file, name, film, duration_s))
    return wanted


def left_to_do(wanted: Iterable[Wanted], out: Path) -> list[Wanted]:
    """Those of the files that were not yet scanned whole, by the same model and settings."""
    done = _done(out)
    return [
        one
        for one in wanted
        if done.get(one.name) != one.film.key
        or not all((out / f"{one.name}{suffix}").is_file() for suffix in EXPORTS.values())
    ]


def scan(
    wanted: Sequence[Wanted],
    config: Config,
    *,
    stop: StopEvent,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Scanned]:
    """Scan files into the data folder of `config`, and say of each what became of it.

    What an earlier, interrupted scan has left of them is replaced.
    Raises SourceError where the model can't work, EventLogError where the folder can't be used.
    """
    out = config.data
    _make_room(wanted, out)
    films = {one.name: one.film for one in wanted}
    pending = {one.name: one for one in wanted}
    done_s = 0.0
    with Pipeline(_for_files(config, wanted), films=films) as pipeline:
        while pending and not stop.is_set():
            over = pipeline.over.wait(_LOOK_EVERY_S)
            reading = {
                name: view.prediction.end_s
                for name in pending
                if (view := pipeline.view(name)).prediction is not None
            }
            on_progress(Progress(done_s + sum(reading.values()), tuple(reading)))
            ready = [name for name in pending if name in pipeline.finished]
            if ready and pipeline.written:
                for name in ready:
                    one = pending.pop(name)
                    done_s += one.duration_s or reading.get(name, 0.0)
                    yield _finish(one, pipeline.cameras[name].reason, out)
            elif over and not ready:
                break
    if pipeline.failure and pending and not stop.is_set():
        raise SourceError(pipeline.failure)


def _for_files(config: Config, wanted: Iterable[Wanted]) -> Config:
    cameras = {one.name: CameraConfig(source=str(one.file.resolve())) for one in wanted}
    # One clip at a time: what it is scored with must not change its score by a bit.
    worker = config.worker.model_copy(update={"batch": 1})
    return config.model_copy(
        update={
            "cameras": cameras,
            "worker": worker,
            "recording": RecordingConfig(),
            "alerts": {},
            "publish": None,
        }
    )


def _make_room(wanted: Sequence[Wanted], out: Path) -> None:
    with EventLog.create(out) as log:
        for one in wanted:
            log.delete([row["id"] for row in log.rows(camera=one.name)])
            shutil.rmtree(out / SCORES / one.name, ignore_errors=True)
    _note(out, {name: key for name, key in _done(out).items() if name not in _names(wanted)})


def _names(wanted: Iterable[Wanted]) -> set[str]:
    return {one.name for one in wanted}


def _finish(one: Wanted, reason: str, out: Path) -> Scanned:
    """Export the events of a file, and note that it is done."""
    if reason:
        return Scanned(one, 0, reason)
    with EventLog.open(out) as log:
        rows = list(log.rows(camera=one.name))
    for kind, suffix in EXPORTS.items():
        export_file(rows, out / f"{one.name}{suffix}", kind)
    _note(out, {**_done(out), one.name: one.film.key})
    return Scanned(one, len(rows))


def _done(out: Path) -> Mapping[str, str]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((out / _DONE).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _note(out: Path, done: Mapping[str, str]) -> None:
    part = out / f"{_DONE}.part"
    part.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    part.replace(out / _DONE)


def _name(file: Path, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("._-") or "film"
    name, number = stem[:56], 1
    while name in taken:
        number += 1
        name = f"{stem[:56]}-{number}"
    return name


def _key(file: Path, name: str, config: Config) -> str:
    """Of what the events depend on: the film, the model, and the settings."""
    digest = hashlib.blake2b(name.encode())
    with file.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    for settings in (config.window, config.events):
        digest.update(json.dumps(settings.model_dump(), default=sorted, sort_keys=True).encode())
    digest.update(config.model.encode())
    return digest.hexdigest()[:32]


def _facts(file: Path) -> tuple[float | None, datetime | None]:
    """How long a film is, and when it was taken, as far as it says so."""
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
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        # Cameras without a clock write the beginning of their time.
        return moment.astimezone(timezone.utc) if moment.year > 1990 else None
    return None

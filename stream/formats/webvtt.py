"""WebVTT: subtitles, a cue for each event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

from stream.formats.base import FORMATS, EventFormat, Options


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    """Cues by start (https://www.w3.org/TR/webvtt1/), with the camera if there are several."""
    events = options.relative(rows)
    many_cameras = len({event.camera for event in events}) > 1
    cues = ["WEBVTT\n"]
    for event in events:
        text = f"{event.camera}: {event.label}" if many_cameras else event.label
        text = " ".join(text.split()).replace("&", "&amp;")  # an empty line would end the cue
        text = text.replace("<", "&lt;").replace(">", "&gt;")
        cues.append(
            f"{event.id}\n{_cue_time(event.start_s)} --> {_cue_time(event.end_s)}\n{text}\n"
        )
    file.write("\n".join(cues).encode())


def _cue_time(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:"
        f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    )


FORMATS.add(
    "webvtt",
    EventFormat("Subtitles (WebVTT)", ".vtt", "text/vtt; charset=utf-8", _write, is_relative=True),
)

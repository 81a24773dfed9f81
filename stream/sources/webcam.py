"""Source type: a local camera, by its index."""

from __future__ import annotations

from stream.sources.base import SOURCE_TYPES, OpenOptions, Source, SourceError
from stream.sources.live import LiveSource, open_capture

_HINT = "is it plugged in, and free? `actionwatch list-cameras` lists webcams"


class WebcamType:
    """A whole number: 0 is the first camera."""

    def matches(self, spec: int | str) -> bool:
        return isinstance(spec, int)

    def validate(self, spec: int | str) -> None:
        if not 0 <= int(spec) < 1000:
            raise SourceError(f"source {spec}: a webcam's index is 0 or more, and below 1000")

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        capture = open_capture(int(spec), spec, options, lambda: _HINT)
        return LiveSource(capture, spec, options, has_timestamps=False)


SOURCE_TYPES.add("webcam", WebcamType())

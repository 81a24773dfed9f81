"""Source type: a local camera, by its index."""

from __future__ import annotations

from stream.sources.base import SOURCE_TYPES, OpenOptions, Source, SourceError
from stream.sources.live import LiveSource, check_open
from stream.sources.opencv_capture import open_webcam
from stream.sources.subprocess_capture import SubprocessCapture

_HINT = "is it plugged in, and free? `actionwatch list-cameras` lists webcams"


class WebcamType:
    """A whole number: 0 is the first camera."""

    def matches(self, spec: int | str) -> bool:
        return isinstance(spec, int)

    def validate(self, spec: int | str) -> None:
        if not 0 <= int(spec) < 1000:
            raise SourceError(f"source {spec}: a webcam's index is 0 or more, and below 1000")

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        index = int(spec)
        capture = (
            SubprocessCapture(index, options.network)
            if options.in_subprocess
            else open_webcam(index)
        )
        opened = check_open(capture, spec, lambda: _HINT)
        return LiveSource(opened, spec, options, has_timestamps=False)


SOURCE_TYPES.add("webcam", WebcamType())

"""Source type: a network camera or a video on a web server, by rtsp:// or http:// address."""

from __future__ import annotations

from functools import partial

import cv2

from stream.runtime.secrets import redact, resolve_secrets
from stream.sources.base import SOURCE_TYPES, OpenOptions, Source, SourceError
from stream.sources.diagnostics import check_reachable, explain_open_failure, validate_url
from stream.sources.live import LiveSource, open_capture
from stream.sources.video_file import FileSource, VideoReader

_SCHEMES = ("rtsp", "rtsps", "http", "https")
_MOTION_JPEG = cv2.VideoWriter.fourcc(*"MJPG")


class NetworkType:
    """An address, or `file:PATH` with a file that holds one."""

    def matches(self, spec: int | str) -> bool:
        return isinstance(spec, str) and ("://" in spec or spec.startswith("file:"))

    def validate(self, spec: int | str) -> None:
        address = resolve_secrets(str(spec))
        scheme, separator, _ = address.partition("://")
        if not separator:  # the address is not printed: it may be a secret
            raise SourceError(f"source {spec} must hold an address like rtsp://user:pass@host/")
        if scheme.lower() not in _SCHEMES:
            raise SourceError(
                f"source {redact(spec)}: {scheme}:// is not known; "
                "use rtsp://, http://, a file, a webcam's index or demo:"
            )
        if problem := validate_url(address):
            raise SourceError(f"source {redact(spec)}: {problem}")

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        address = resolve_secrets(str(spec))
        timeout_s = options.network.open_timeout_s
        if problem := check_reachable(address, timeout_s=timeout_s):
            raise SourceError(f"source {redact(spec)} can't be reached: {problem}")
        explain = partial(explain_open_failure, address, timeout_s=timeout_s)
        capture = open_capture(address, spec, options, explain)
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            return FileSource(VideoReader(capture, redact(spec)), now=options.now)
        # ffmpeg invents timestamps for motion JPEG over HTTP, at 25 fps.
        is_motion_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == _MOTION_JPEG
        has_timestamps = not (is_motion_jpeg and address.lower().startswith("http"))
        return LiveSource(capture, spec, options, has_timestamps=has_timestamps)


SOURCE_TYPES.add("network", NetworkType())

"""Probes a source: opens it, reads it for some seconds, and advises on its settings."""

from __future__ import annotations

import contextlib
import glob
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stream.capture.frame_quality import FrameQualityCheck
from stream.sources.base import OpenOptions, open_source
from stream.sources.opencv_capture import open_webcam
from stream.sources.source_clock import SourceClock

_MAX_WEBCAMS = 5  # indices to try, where the system has no list


@dataclass(frozen=True)
class ProbeReport:
    """The properties of one source. Times in seconds."""

    open_s: float
    first_frame_s: float  # from the start of opening to the first usable frame
    width: int
    height: int
    fps: float
    jitter_s: float  # of frame intervals: the 95th percentile minus the median
    counts: dict[str, int]  # of anomalies, see SourceClock
    fault: str  # of the frames, see FrameQualityCheck

    def advice(self) -> list[str]:
        """The settings to change, in sentences."""
        found = []
        if self.fault:
            found.append(f"it sends a {self.fault}: check the camera itself")
        if self.fps < 10:
            found.append(f"{self.fps:.1f} fps is low: set 15 or more in the camera")
        if self.fps > 40:
            found.append("more than 30 fps costs time and adds nothing: set 25 or 30")
        if self.width * self.height > 1920 * 1080:
            found.append(
                f"{self.width} x {self.height} is costly to decode: use the camera's second stream"
            )
        if self.first_frame_s > 3:
            found.append(
                f"the first frame took {self.first_frame_s:.1f} s: "
                "set a key frame every second or two"
            )
        if self.counts.get("stale_frames_dropped", 0) > self.fps:
            found.append("it sends old frames first; they are dropped, nothing to do")
        if self.counts.get("untrusted_timestamps"):
            found.append("its presentation times can't be trusted: arrival times are used instead")
        elif self.counts.get("clock_jumps", 0) > 1:
            found.append("its clock jumps: set a time server in the camera")
        if self.jitter_s > 0.5:
            found.append("frames arrive in bursts: try a cable, or transport: udp")
        return found


def probe_source(
    source: int | str, *, seconds: float = 5.0, now: Callable[[], float] = time.monotonic
) -> ProbeReport:
    """Open a source and read it for some seconds. Raises SourceError where that fails."""
    counts: Counter[str] = Counter()
    clock = SourceClock(count=lambda name: counts.update([name]))
    check, times, shape, started_at = FrameQualityCheck(), [], (0, 0, 3), now()
    with contextlib.closing(open_source(source, OpenOptions(now, clock))) as opened:
        opened_at = now()
        first_at = until = None
        while until is None or now() < until:
            moment = opened.grab(threading.Event())
            if moment is None:  # end of a video file
                break
            if until is None:
                first_at = now()
                until = first_at + seconds
            times.append(moment.time_s)
            pixels = opened.retrieve()
            if pixels is not None:
                shape = pixels.shape
                check.update(pixels, moment.time_s)
    gaps = np.diff(times) if len(times) > 1 else np.array([np.inf])
    return ProbeReport(
        open_s=opened_at - started_at,
        first_frame_s=(opened_at if first_at is None else first_at) - started_at,
        width=shape[1],
        height=shape[0],
        fps=float(1 / np.mean(gaps)),
        jitter_s=float(np.percentile(gaps, 95) - np.median(gaps)) if len(times) > 1 else 0.0,
        counts=dict(counts),
        fault=check.fault,
    )


def list_webcams() -> Iterable[tuple[int, str]]:
    """Index and name of each local camera: from the kernel's list on Linux, else by opening."""
    if sys.platform == "linux":
        for folder in sorted(glob.glob("/sys/class/video4linux/video*")):
            # A camera has several devices; the first one delivers the frames.
            if _read(Path(folder) / "index") in ("0", ""):
                yield int(folder.rpartition("video")[2]), _read(Path(folder) / "name")
        return
    for index in range(_MAX_WEBCAMS):
        capture = open_webcam(index)
        if capture.isOpened():
            yield index, f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f} pixels wide"
        capture.release()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""

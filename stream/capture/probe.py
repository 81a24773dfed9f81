"""What a source is like: opened, watched for some seconds, and what to change about it."""

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

from stream.capture.frame_quality import PictureCheck
from stream.sources.base import Source, open_source
from stream.sources.opencv_capture import NetworkOptions, open_webcam
from stream.sources.source_clock import SourceClock

_PROBED = 5  # webcam indices, where the system has no list


@dataclass(frozen=True)
class Findings:
    """Of one source. Times in seconds."""

    open_s: float
    first_s: float  # from asking until the first picture that can be used
    width: int
    height: int
    fps: float  # pictures that came in a second
    uneven_s: float  # between pictures: the 95th percentile above the median
    counts: dict[str, int]  # what was left out or mended, see SourceClock
    fault: str  # of the pictures, see PictureCheck

    def advice(self) -> list[str]:
        """What to change, in sentences."""
        found = []
        if self.fault:
            found.append(f"it sends a {self.fault}: look at the camera itself")
        if self.fps < 10:
            found.append(f"{self.fps:.1f} pictures a second are few: set 15 or more in the camera")
        if self.fps > 40:
            found.append("more than 30 pictures a second cost time and gain nothing: set 25 or 30")
        if self.width * self.height > 1920 * 1080:
            found.append(
                f"{self.width} x {self.height} costs much decoding: take the camera's second stream"
            )
        if self.first_s > 3:
            found.append(
                f"the first picture took {self.first_s:.1f} s: set a key frame each second or two"
            )
        if self.counts.get("drained_frames", 0) > self.fps:
            found.append("it sends old pictures first; they are left out, nothing to do")
        if self.counts.get("distrusted_clocks"):
            found.append("its presentation times can't be trusted: arrival times are used instead")
        elif self.counts.get("clock_jumps", 0) > 1:
            found.append("its clock jumps: set a time server in the camera")
        if self.uneven_s > 0.5:
            found.append("pictures come in bursts: try a cable, or transport: udp")
        return found


def examine(
    source: int | str,
    *,
    seconds: float = 5.0,
    network: NetworkOptions | None = None,
    opener: Callable[..., Source] = open_source,
    now: Callable[[], float] = time.monotonic,
) -> Findings:
    """Open a source and watch it for a while. Raises SourceError where that is not possible."""
    counts: Counter[str] = Counter()
    clock = SourceClock(count=lambda name: counts.update([name]))
    check, times, shape, began = PictureCheck(), [], (0, 0, 3), now()
    with contextlib.closing(opener(source, now=now, clock=clock, network=network)) as opened:
        opened_at = now()
        first_at = until = None
        while until is None or now() < until:
            moment = opened.grab(threading.Event())
            if moment is None:  # a recording is over
                break
            if until is None:
                first_at = now()
                until = first_at + seconds
            times.append(moment.time_s)
            pixels = opened.picture()
            if pixels is not None:
                shape = pixels.shape
                check.see(pixels, moment.time_s)
    gaps = np.diff(times) if len(times) > 1 else np.array([np.inf])
    return Findings(
        open_s=opened_at - began,
        first_s=(opened_at if first_at is None else first_at) - began,
        width=shape[1],
        height=shape[0],
        fps=float(1 / np.mean(gaps)),
        uneven_s=float(np.percentile(gaps, 95) - np.median(gaps)) if len(times) > 1 else 0.0,
        counts=dict(counts),
        fault=check.fault,
    )


def webcams() -> Iterable[tuple[int, str]]:
    """Index and name of the cameras at this machine: by the kernel's list on Linux, else tried."""
    if sys.platform == "linux":
        for folder in sorted(glob.glob("/sys/class/video4linux/video*")):
            # A camera has several devices; the first one gives the pictures.
            if _read(Path(folder) / "index") in ("0", ""):
                yield int(folder.rpartition("video")[2]), _read(Path(folder) / "name")
        return
    for index in range(_PROBED):
        capture = open_webcam(index)
        if capture.isOpened():
            yield index, f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f} pixels wide"
        capture.release()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""

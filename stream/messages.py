"""Frozen dataclasses that cross a thread or a process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

FITS = ("crop", "squash", "letterbox")
VERDICTS = ("confirmed", "corrected", "rejected")  # rejected: no such action happened
MAX_NOTE_LENGTH = 2000  # characters of a reviewer's note
MAX_LABEL_LENGTH = 200  # characters of a corrected label
_MIN_EVENT_GAP_S = 5.0
_MAX_PIXEL_SECONDS = 60 * 512 * 512  # seconds x pixels of a window: 2 GB of ring for one camera


@dataclass(frozen=True, slots=True)
class FrameTime:
    """The time of a frame on two clocks."""

    time_s: float  # seconds since the source's start, on its own clock if it has one
    seen_at: float  # monotonic seconds when the frame was due or arrived


@dataclass(frozen=True, slots=True, eq=False)  # eq=False: equality of arrays is ambiguous
class Frame:
    """One frame of a camera."""

    pixels: np.ndarray  # uint8 RGB, (H, W, 3), read-only
    time_s: float  # see FrameTime
    seen_at: float
    index: int  # counts the frames of the source from 0


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """The input of a checkpoint and the labels of its scores. The worker announces it.

    A clip has `frames` frames at equally spaced times. `span_s` includes one step per frame, as "8
    frames, 32 apart" does: first and last frame are (frames - 1) steps apart.
    """

    model: str
    labels: tuple[str, ...]
    background: frozenset[str]  # labels that mean "nothing happens" and start no event
    frames: int
    span_s: float
    height: int
    width: int
    fit: str = "crop"  # how frames of another shape are resized, see stream/regions/resize.py
    shortest_edge: int = 0  # with "crop": the shorter side is resized to this before the crop

    def __post_init__(self) -> None:
        if min(self.frames, self.height, self.width, self.span_s) <= 0:
            raise ValueError(
                "a clip needs frames, height, width and span_s above 0, got "
                f"{self.frames}, {self.height}, {self.width} and {self.span_s}"
            )
        pixel_seconds = self.span_s * self.height * self.width
        # `not` because it also rejects a span of inf or nan.
        if not (pixel_seconds <= _MAX_PIXEL_SECONDS and self.frames <= 1024):
            raise ValueError(
                f"{self.frames} frames of {self.height} x {self.width} pixels over {self.span_s} s "
                "exceed the size of a camera's ring; is the checkpoint damaged?"
            )
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if not self.labels:
            raise ValueError(f"model {self.model} announces no labels")

    @property
    def step_s(self) -> float:
        return self.span_s / self.frames

    @property
    def event_gap_s(self) -> float:
        """A longer gap between the predictions of a stream closes its open events."""
        # A large model on a slow machine may need as long as its clips last.
        return max(_MIN_EVENT_GAP_S, self.span_s)

    def shape(self, clips: int) -> tuple[int, int, int, int, int]:
        """The shape of a batch of clips: (clips, frames, height, width, 3)."""
        return (clips, self.frames, self.height, self.width, 3)

    def times(self, end_s: float) -> np.ndarray:
        """The frame times of a window that ends at `end_s`: (frames,), seconds."""
        return end_s - self.step_s * np.arange(self.frames - 1, -1, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A window of frames for the model."""

    camera: str
    number: int  # unique within a run; its scores have the same number
    frames: np.ndarray  # uint8 RGB, (T, H, W, 3)
    times: np.ndarray  # float64 seconds, (T,), the camera's clock

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise ValueError(f"clip frames must be (T, H, W, 3), got {self.frames.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of one clip from a worker."""

    number: int
    probabilities: np.ndarray  # float32, (labels,); sums to 1 for a single-label model
    inference_s: float  # of the whole batch


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The scores of one window of one camera."""

    camera: str
    labels: tuple[str, ...]
    probabilities: np.ndarray  # float32, (labels,)
    start_s: float  # the window, on the camera's clock
    end_s: float
    newest_at: float  # monotonic seconds of the window's newest frame
    inference_s: float
    sent_at: float | None = None  # monotonic seconds, to the worker; None for stored scores
    received_at: float | None = None  # monotonic seconds when its scores arrived

    @property
    def middle_s(self) -> float:
        """The center of the window, which its scores describe best."""
        return (self.start_s + self.end_s) / 2

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable labels with their probabilities, best first."""
        return top_labels(self.labels, self.probabilities, count)


@dataclass(frozen=True, slots=True)
class Event:
    """A detected action of a camera, open or ended. Times are on the camera's clock.

    `start_s` and `end_s` are the limits of the action; `detected_s` is the time of the newest frame
    that was needed to detect it.
    """

    id: str  # unique over runs and machines
    camera: str
    label: str
    start_s: float
    latest_s: float  # the last time at which its score was high enough
    end_s: float | None  # None while it is open
    detected_s: float
    peak: float
    peak_s: float  # time of the peak
    mean: float
    closed_by: str = ""  # "" if the action ended, else "stop", "gap" or "crash"


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An update of an event, with the values that the log adds to it."""

    event: Event
    change: str  # "start", "progress" or "end"
    start_utc: datetime  # of the camera's time 0
    model: str

    def utc(self, time_s: float) -> datetime:
        """Convert a time on the camera's clock."""
        return self.start_utc + timedelta(seconds=time_s)


@dataclass(frozen=True, slots=True)
class EventMedia:
    """The clip and snapshot of an event: file names without folders, "" for a missing file."""

    event_id: str
    clip: str
    snapshot: str
    note: str = ""  # why the clip is missing or incomplete
    clip_start_s: float | None = None  # time of its first frame, on the camera's clock


@dataclass(frozen=True, slots=True)
class Review:
    """A person's review of an event, stored in addition to the model's label.

    The verdict is one of VERDICTS, or "" to undo the review. Raises ValueError for invalid values.
    """

    verdict: str = ""
    corrected: str = ""  # the right label, with the verdict "corrected"
    note: str = ""
    by: str = ""  # the reviewer, if known

    def __post_init__(self) -> None:
        if self.verdict not in ("", *VERDICTS):
            raise ValueError(
                f"verdict {self.verdict!r} must be one of {', '.join(VERDICTS)}, or empty to undo "
                "the review"
            )
        if (self.verdict == "corrected") != bool(self.corrected.strip()):
            raise ValueError(
                "the verdict corrected needs the right label, and other verdicts have none; got "
                f"verdict {self.verdict!r} with label {self.corrected!r}"
            )
        for name, text, max_length in (
            ("the right label", self.corrected, MAX_LABEL_LENGTH),
            ("the note", self.note, MAX_NOTE_LENGTH),
            ("the reviewer's name", self.by, MAX_LABEL_LENGTH),
        ):
            if len(text) > max_length:
                raise ValueError(
                    f"{name} may have {max_length} characters, got {len(text)}; shorten it"
                )
            # Not every database can store NUL characters and lone surrogates.
            if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"{name} contains characters that are not text; type it again")


def top_labels(
    labels: tuple[str, ...], probabilities: np.ndarray, count: int
) -> list[tuple[str, float]]:
    """The likeliest labels with their probabilities, (labels,), best first."""
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [(labels[index], float(probabilities[index])) for index in best]

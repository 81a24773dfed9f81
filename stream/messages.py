"""What crosses a thread or a process: frozen dataclasses, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

FITS = ("crop", "squash", "letterbox")
VERDICTS = ("confirmed", "corrected", "rejected")  # rejected: nothing of the kind happened
LONGEST_NOTE = 2000  # characters of what a person writes about an event
LONGEST_LABEL = 200  # and of the label that a person gives
_LARGEST = 60 * 512 * 512  # seconds x pixels of a window: 2 GB of ring for one camera


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture was taken, on two clocks."""

    time_s: float  # seconds since the source began, by the source's own clock where it has one
    seen_at: float  # monotonic seconds when the picture was due or arrived


@dataclass(frozen=True, slots=True, eq=False)  # eq=False: equality of arrays is ambiguous
class Frame:
    """One picture from a camera."""

    pixels: np.ndarray  # uint8 RGB, (H, W, 3), read-only
    time_s: float  # see Moment
    seen_at: float
    index: int  # counts the pictures of the source from 0


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a checkpoint wants to see and what its answers mean. The worker announces it.

    A clip is `frames` pictures at equally spaced times. `span_s` counts a whole step for each of
    them, as "8 frames, 32 apart" does: between the first and the last lie (frames - 1) steps.
    """

    model: str
    labels: tuple[str, ...]
    background: frozenset[str]  # labels that mean "nothing happens" and make no event
    frames: int
    span_s: float
    height: int
    width: int
    fit: str = "crop"  # how a picture of another shape is made to fit, see stream/regions/resize.py
    shortest_edge: int = 0  # with "crop": the shorter side is brought to this before the crop

    def __post_init__(self) -> None:
        if min(self.frames, self.height, self.width, self.span_s) <= 0:
            raise ValueError(
                "a clip needs frames, height, width and span_s above 0, got "
                f"{self.frames}, {self.height}, {self.width} and {self.span_s}"
            )
        # Also false for a span that is infinite or no number.
        if not (self.span_s * self.height * self.width <= _LARGEST and self.frames <= 1024):
            raise ValueError(
                f"{self.frames} frames of {self.height} x {self.width} pixels over {self.span_s} s "
                "are more than a camera's ring may hold; is the checkpoint damaged?"
            )
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if not self.labels:
            raise ValueError(f"model {self.model} announces no labels")

    @property
    def step_s(self) -> float:
        return self.span_s / self.frames

    def shape(self, clips: int) -> tuple[int, int, int, int, int]:
        """Of so many clips in one array."""
        return (clips, self.frames, self.height, self.width, 3)

    def times(self, end_s: float) -> np.ndarray:
        """The times wanted for a window whose newest frame is at `end_s`: (frames,), seconds."""
        return end_s - self.step_s * np.arange(self.frames - 1, -1, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A window of frames on its way to the model."""

    camera: str
    number: int  # unique within a run; the answer carries it back
    frames: np.ndarray  # uint8 RGB, (T, H, W, 3)
    times: np.ndarray  # float64 seconds, (T,), the camera's clock

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise ValueError(f"clip frames must be (T, H, W, 3), got {self.frames.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A worker's answer to one clip."""

    number: int
    probabilities: np.ndarray  # float32, (labels,); sums to 1 if only one label can hold
    inference_s: float  # what the batch took, shared by all of its clips


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model thinks of one window of one camera."""

    camera: str
    labels: tuple[str, ...]
    probabilities: np.ndarray  # float32, (labels,)
    start_s: float  # the window, on the camera's clock
    end_s: float
    newest_at: float  # monotonic seconds of the window's newest frame
    inference_s: float
    sent_at: float | None = None  # monotonic seconds, to the worker; None for one that was kept
    answered_at: float | None = None  # and when its scores came back

    @property
    def middle_s(self) -> float:
        """The moment that a window speaks of best."""
        return (self.start_s + self.end_s) / 2

    def top(self, count: int) -> list[tuple[str, float]]:
        """The likeliest labels with their probabilities, best first."""
        return top_labels(self.labels, self.probabilities, count)


@dataclass(frozen=True, slots=True)
class Event:
    """An action that began, and perhaps ended, in front of a camera. Times are the camera's.

    `start_s` and `end_s` say when the action happened, `detected_s` when the newest picture was
    taken that was needed to notice it.
    """

    id: str  # unique over runs and machines
    camera: str
    label: str
    start_s: float
    latest_s: float  # the last moment at which it was seen to go on
    end_s: float | None  # None while it is open
    detected_s: float
    peak: float
    peak_s: float  # when the peak was
    mean: float
    closed_by: str = ""  # "" for an event that ended by itself, else "stop", "gap" or "crash"


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event with all that the log keeps of it, each time that there is news of it."""

    event: Event
    change: str  # "start", "progress" or "end"
    began_utc: datetime  # of the camera's time 0
    model: str

    def utc(self, time_s: float) -> datetime:
        """A moment of the camera's clock."""
        return self.began_utc + timedelta(seconds=time_s)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of an event: file names without folders, "" for what there is not."""

    event_id: str
    clip: str
    snapshot: str
    note: str = ""  # why there is no clip, or not all of it
    clip_start_s: float | None = None  # when its first picture was taken, on the camera's clock


@dataclass(frozen=True, slots=True)
class Review:
    """What a person says of an event. It is kept beside what the model said.

    The verdict is one of VERDICTS, or "" to take it back. Raises ValueError, naming what is wrong.
    """

    verdict: str = ""
    corrected: str = ""  # with the verdict "corrected": the label that it should have had
    note: str = ""
    by: str = ""  # who says so, as far as that is known

    def __post_init__(self) -> None:
        if self.verdict not in ("", *VERDICTS):
            raise ValueError(
                f"verdict {self.verdict!r} must be one of {', '.join(VERDICTS)}, or empty to take "
                "it back"
            )
        if (self.verdict == "corrected") != bool(self.corrected.strip()):
            raise ValueError(
                "the verdict corrected needs the right label, and other verdicts have none; got "
                f"verdict {self.verdict!r} with label {self.corrected!r}"
            )
        for name, text, most in (
            ("the right label", self.corrected, LONGEST_LABEL),
            ("the note", self.note, LONGEST_NOTE),
            ("who reviewed it", self.by, LONGEST_LABEL),
        ):
            if len(text) > most:
                raise ValueError(f"{name} may have {most} characters, got {len(text)}; shorten it")
            # What not every database can hold: zeros, and halves of characters.
            if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"{name} holds what is no text; write it anew")


def top_labels(
    labels: tuple[str, ...], probabilities: np.ndarray, count: int
) -> list[tuple[str, float]]:
    """The likeliest labels with their probabilities, (labels,), best first."""
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [(labels[index], float(probabilities[index])) for index in best]

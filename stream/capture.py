"""The capture thread of a camera: source -> latest picture and ring. It owns the source."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from stream.messages import ClipSpec, Frame
from stream.metrics import Metrics
from stream.picture import LatestPicture
from stream.resize import fit_picture
from stream.ring import FrameRing
from stream.sources import Source, SourceError, check_source, is_finite, open_source, shown

_log = logging.getLogger(__name__)
_FRAMES_TO_JUDGE_RATE = 50

CONNECTING, LIVE, OFFLINE, ENDED, FAILED = "connecting", "live", "offline", "ended", "failed"


class Camera:
    """One camera. Its thread runs between `start` and `stop`, or until the source ends.

    A source that can't be opened at first is a mistake to be told: the camera has failed. One
    that breaks off later is opened again, after ever longer pauses.
    `fit` says what the model sees of a wide picture, else the model does.
    Raises SourceError at once for what can't be a source at all.
    """

    def __init__(
        self,
        name: str,
        source: int | str,
        metrics: Metrics,
        *,
        fit: str | None = None,
        opener: Callable[..., Source] = open_source,
        on_frame: Callable[[], None] = lambda: None,
        retry_s: tuple[float, float] = (1.0, 30.0),  # first and longest pause
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_source(source)
        self.name = name
        self.source = shown(source)
        self.picture = LatestPicture()
        self.state = CONNECTING
        self.reason = ""  # why it failed or is offline
        self.ring: FrameRing | None = None  # from when the model's wishes are known
        self.began_at: float | None = None  # monotonic seconds of time 0 of this camera's clock
        self._source = source
        self._fit = fit
        self._opener = opener
        self._metrics = metrics
        self._on_frame = on_frame
        self._retry_s = retry_s
        self._now = now
        self._spec: ClipSpec | None = None
        self._gaps: list[float] = []  # between the first frames that the model may see, in seconds
        self._watched = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, spec: ClipSpec) -> None:
        """From now on keep frames as the model wants them. A finite source begins now."""
        self._spec = replace(spec, fit=self._fit) if self._fit else spec
        self.ring = FrameRing(spec)
        self._watched.set()

    def tell_stop(self) -> None:
        self._stop.set()
        self._watched.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False where it did not come in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def over(self) -> bool:
        """Nothing more will come from this camera."""
        return self.state in (ENDED, FAILED)

    def _run(self) -> None:
        try:
            self._watch_source()
        except Exception as error:  # the thread's own death is news, not silence
            _log.exception("camera %s: capture died", self.name)
            self._change(FAILED, f"{type(error).__name__}: {error}")
        self._on_frame()

    def _watch_source(self) -> None:
        if is_finite(self._source):
            self._watched.wait()  # or its beginning would be over before anyone looks
        pause_s, longest_s = self._retry_s
        while not self._stop.is_set():
            try:
                source = self._opener(self._source, now=self._now, began_at=self.began_at)
            except SourceError as error:
                if self.began_at is None:
                    self._change(FAILED, str(error))
                    return
                self._change(OFFLINE, str(error))
            else:
                try:
                    self._read_all(source)
                    if not self._stop.is_set():
                        self._change(ENDED)
                    return
                except SourceError as error:
                    if source.finite or self.began_at is None:
                        self._change(FAILED, str(error))
                        return
                    if self.state == LIVE:
                        pause_s = self._retry_s[0]
                    self._change(OFFLINE, str(error))
                finally:
                    source.close()
            self._metrics.count("reconnect_attempts", self.name)
            if self.ring is not None:
                self.ring.clear()
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    def _read_all(self, source: Source) -> None:
        last_s: float | None = None
        while (frame := source.read(self._stop)) is not None:
            if self.state != LIVE:
                self.began_at = frame.seen_at - frame.time_s
                self._change(LIVE)
            frame.pixels.flags.writeable = False
            self._take(frame)
            if last_s is not None:
                self._judge_rate(frame.time_s - last_s)
            last_s = frame.time_s

    def _take(self, frame: Frame) -> None:
        self._metrics.count("frames", self.name)
        self.picture.put(frame)
        ring, spec = self.ring, self._spec
        if ring is None or spec is None:
            return
        if ring.wants(frame.time_s):
            ring.append(fit_picture(frame.pixels, spec), frame.time_s, frame.seen_at)
            self._on_frame()
        else:
            self._metrics.count("thinned_frames", self.name)

    def _judge_rate(self, gap_s: float) -> None:
        """Say once, by name, that a camera is too slow for the model."""
        if self._spec is None or len(self._gaps) == _FRAMES_TO_JUDGE_RATE:
            return
        self._gaps.append(gap_s)
        usual_s = sum(self._gaps) / len(self._gaps)
        if len(self._gaps) == _FRAMES_TO_JUDGE_RATE and usual_s > self._spec.step_s:
            _log.warning(
                "camera %s gives %.1f frames a second, but model %s was trained on %.1f: "
                "its answers will be worse; set the camera faster",
                self.name,
                1 / usual_s,
                self._spec.model,
                1 / self._spec.step_s,
            )

    def _change(self, state: str, reason: str = "") -> None:
        if state != self.state:
            level = logging.WARNING if state in (OFFLINE, FAILED) else logging.INFO
            because = f", {reason}" if reason else ""
            _log.log(level, "%s (%s): %s%s", self.name, self.source, state, because)
        self.reason = reason
        self.state = state

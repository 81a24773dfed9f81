"""A camera: keeps its source open, and puts its pictures into the ring and before viewers.

Its thread minds the one that reads (`stream/capture/session.py`), which owns the source.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from stream.capture.frame_quality import PictureCheck
from stream.capture.latest_frame import WIDEST, LatestPicture
from stream.capture.session import Reading
from stream.config.config import CameraConfig
from stream.messages import ClipSpec, Frame, Moment
from stream.regions.clip_source import ClipStream
from stream.regions.motion_gate import MotionGate
from stream.regions.zone import Zone
from stream.runtime.metrics import Metrics
from stream.runtime.secrets import shown
from stream.sources.base import Source, check_source, is_finite, open_source
from stream.sources.opencv_capture import NetworkOptions
from stream.sources.source_clock import SourceClock

_log = logging.getLogger(__name__)
_FRAMES_TO_JUDGE_RATE = 50
_STEADY_S = 10.0  # a camera that was live this long begins again with the shortest pause
_MOST_ABANDONED = 3  # reads that hang, of one camera; from then on in processes
_OPENING_S = 5.0  # besides the network's part: finding out why not, or starting a process
_GAP_S = 1.0  # without pictures

CONNECTING, LIVE, STALLED, OFFLINE = "connecting", "live", "stalled", "offline"
ENDED, FAILED = "ended", "failed"


class Camera:
    """One camera. It is kept open between `start` and `tell_stop`, or until its source ends.

    A live source that can't be opened, breaks off, or brings nothing new for `stall_after` is
    opened anew after ever longer pauses; a recording that can't be read has failed.
    With `hold`, which is given the names of its streams, a recording is read without a pace of its
    own: it waits there after each picture for as long as its windows have to.
    Raises SourceError at once for what can't be a source at all.
    """

    def __init__(
        self,
        name: str,
        config: CameraConfig,
        metrics: Metrics,
        *,
        opener: Callable[..., Source] = open_source,
        on_frame: Callable[[], None] = lambda: None,
        hold: Callable[[Iterable[str], threading.Event], None] | None = None,
        widest: int = WIDEST,
        first_pause_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_source(config.source)
        self.name = name
        self.source = shown(config.source)
        self.picture = LatestPicture(widest)
        self.state = CONNECTING
        self.reason = ""  # why it failed, stalled or is offline
        self.made_at = now()  # monotonic seconds
        self.changed_at = self.made_at  # monotonic seconds when it came into this state
        self.streams = _streams(name, config)
        self.began_at: float | None = None  # monotonic seconds of time 0 of this camera's clock
        self._config = config
        self._network = NetworkOptions(
            config.transport, config.open_timeout, min(config.read_timeout, config.stall_after)
        )
        self._opener = opener
        self._metrics = metrics
        self._on_frame = on_frame
        self._hold = hold
        self._first_pause_s = first_pause_s
        self._now = now
        self._spec: ClipSpec | None = None
        self._check = PictureCheck()
        self._frames = 0
        self._last_s: float | None = None  # time of the newest picture
        self._clock = SourceClock(count=lambda name: metrics.count(name, self.name))
        self._gaps: list[float] = []  # between the first frames that the model may see, in seconds
        self._watched = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()  # so that a reading that was given up changes nothing
        self._reading: Reading | None = None
        self._given_up: list[Reading] = []  # that may still be in a read
        self._abandoned: list[Reading] = []  # those of them that should have returned by now
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, spec: ClipSpec) -> None:
        """From now on keep frames as the model wants them. A recording begins now."""
        with self._lock:
            if self._spec is not None:
                return  # it does so already
            self._spec = spec
        for stream in self.streams:
            # All of a zone is meant, whatever its shape.
            fit = self._config.fit or ("letterbox" if stream.zone else spec.fit)
            stream.watch(replace(spec, fit=fit))
        self._watched.set()

    def forget(self) -> None:
        """Let the memory of its frames go: nobody will ask for them any more."""
        with self._lock:
            for stream in self.streams:
                stream.ring = None
        self.picture.forget()

    def tell_stop(self) -> None:
        self._stop.set()
        self._watched.set()
        with self._lock:
            if self._reading is not None:
                self._reading.give_up()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads' end; False where it did not come in time."""
        deadline = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        reading = self._reading
        if reading is not None and not reading.join(max(0.0, deadline - time.monotonic())):
            return False
        return not self._thread.is_alive()

    @property
    def fault(self) -> str:
        """What is wrong with the pictures of a camera that is live."""
        return self._check.fault if self.state == LIVE else ""

    @property
    def since_at(self) -> float:
        """Monotonic seconds since when it is in its state, or has its fault."""
        if self.fault and self.began_at is not None:
            return max(self.changed_at, self.began_at + self._check.since_s)
        return self.changed_at

    @property
    def over(self) -> bool:
        """Nothing more will come from this camera."""
        return self.state in (ENDED, FAILED)

    def _run(self) -> None:
        try:
            self._keep_open()
        except Exception as error:  # the thread's own death is news, not silence
            _log.exception("camera %s died", self.name)
            self._change(FAILED, f"{type(error).__name__}: {error}")
        self._on_frame()

    def _keep_open(self) -> None:
        recorded = is_finite(self._config.source)
        if recorded:
            self._watched.wait()  # or its beginning would be over before anyone looks
        pause_s = self._first_pause_s
        while (reading := self._begin()) is not None:
            stalled = self._mind(reading)
            if self._stop.is_set():
                return
            if recorded or reading.finite:
                self._change(FAILED if reading.error else ENDED, reading.error)
                return
            if reading.newest_at - reading.began_at > _STEADY_S:
                pause_s = self._first_pause_s
            self._give_up(reading, stalled)
            # Not all at once, where a network with many cameras comes back.
            self._stop.wait(pause_s * random.uniform(0.75, 1.25))
            pause_s = min(2 * pause_s, self._config.retry_max)

    def _begin(self) -> Reading | None:
        """Open the source; None at the stop."""
        isolated = self._hanging() >= _MOST_ABANDONED
        if isolated:
            _log.warning("%s: reads hang; it gets a process of its own", self.name)
            self._metrics.count("isolated_openings", self.name)
        opening = partial(
            self._opener,
            self._config.source,
            now=self._now,
            clock=self._clock,
            network=self._network,
            isolated=isolated,
            paced=self._hold is None,
        )
        reading = Reading(self.name, opening, self._take, now=self._now)
        with self._lock:
            if self._stop.is_set():
                return None
            self._reading = reading
        reading.start()
        return reading

    def _mind(self, reading: Reading) -> bool:
        """Wait until an opening of the source is over. True where it just brings nothing new."""
        while not reading.over and not self._stop.is_set():
            patience_s = self._config.stall_after
            if not reading.brought_something:
                patience_s = max(patience_s, self._network.open_timeout_s + _OPENING_S)
            left_s = reading.newest_at + patience_s - self._now()
            if reading.finite or is_finite(self._config.source):  # recordings may stand still
                reading.news.wait()
            elif left_s <= 0:
                return True
            else:
                reading.news.wait(left_s)
        return False

    def _give_up(self, reading: Reading, stalled: bool) -> None:
        """Close an opening of the source that is of no more use."""
        with self._lock:
            self._reading = None
            silent_s = self._now() - reading.newest_at
            if stalled and reading.brought_something:
                self._metrics.count("stalls", self.name)
                self._change(STALLED, f"no new picture for {silent_s:.0f} s")
            elif stalled:
                self._change(OFFLINE, f"source {self.source} was not open within {silent_s:.0f} s")
            else:
                self._change(OFFLINE, reading.error or "the stream ended")
            self._last_s = None
            self._clear()
        reading.give_up()
        self._given_up.append(reading)
        self._metrics.count("reconnect_attempts", self.name)

    def _hanging(self) -> int:
        """How many reads do not return, though their time is up."""
        self._abandoned = [one for one in self._abandoned if not one.join(0)]
        for reading in list(self._given_up):
            waited_s = self._now() - (reading.given_up_at or 0.0)
            if reading.join(0):
                self._given_up.remove(reading)
            elif waited_s > self._network.read_timeout_s:
                self._given_up.remove(reading)
                self._abandoned.append(reading)
                self._metrics.count("abandoned_reads", self.name)
        return len(self._abandoned)

    def _take(self, reading: Reading, source: Source, moment: Moment) -> None:
        """A new picture has come. On the reading's thread."""
        began = self._now()
        wanting = [stream for stream in self.streams if stream.wants(moment.time_s)]
        wanted = wanting or self.picture.wants(moment.seen_at)
        pixels = source.picture() if wanted else None
        with self._lock:
            if reading is not self._reading:
                return
            self._note(moment)
            if not wanted:
                self._metrics.count("unneeded_frames", self.name)
                return
            if pixels is None:
                self._metrics.count("damaged_frames", self.name)
                return
            pixels.flags.writeable = False
            self._frames += 1
            if self._check.see(pixels, moment.time_s):
                self._metrics.count(f"{self._check.fault.replace(' ', '_')}s", self.name)
            self.picture.put(Frame(pixels, moment.time_s, moment.seen_at, self._frames - 1))
            for stream in wanting:
                stream.take(pixels, moment)
        self._metrics.measure("capture", self._now() - began)
        self._on_frame()
        if self._hold is not None:
            self._hold([stream.name for stream in self.streams], self._stop)

    def _note(self, moment: Moment) -> None:
        self._metrics.count("frames", self.name)
        if self._clock.began_at is not None:
            self.began_at = self._clock.began_at
        elif self.began_at is None:
            self.began_at = moment.seen_at - moment.time_s
        if self.state != LIVE:
            self._change(LIVE)
        if self._last_s is not None:
            gap_s = moment.time_s - self._last_s
            self._judge_rate(gap_s)
            self._heed_gap(gap_s)
        self._last_s = moment.time_s

    def _heed_gap(self, gap_s: float) -> None:
        if self._spec is not None and gap_s > longest_gap_s(self._spec):
            self._metrics.count("gaps", self.name)
            self._clear()

    def _clear(self) -> None:
        for stream in self.streams:
            stream.clear()

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
            level = logging.WARNING if state in (STALLED, OFFLINE, FAILED) else logging.INFO
            because = f", {reason}" if reason else ""
            because += "; trying again" if state in (STALLED, OFFLINE) else ""
            _log.log(level, "%s (%s): %s%s", self.name, self.source, state, because)
            self.changed_at = self._now()
        self.reason = reason
        self.state = state


def longest_gap_s(spec: ClipSpec) -> float:
    """Between two pictures of one window, in seconds; no window may span more."""
    return max(_GAP_S, 1.5 * spec.step_s)


def _streams(name: str, config: CameraConfig) -> tuple[ClipStream, ...]:
    """Of a camera's zones; without any, of the whole picture."""

    def gate() -> MotionGate | None:
        chosen = config.motion_gate
        if chosen is None:
            return None
        return MotionGate(
            area=chosen.area, difference=chosen.difference, look_every_s=chosen.look_every
        )

    if not config.zones:
        return (ClipStream(name, gate=gate()),)
    return tuple(
        ClipStream(f"{name}/{key}", zone=Zone(zone.points, mask=zone.mask), gate=gate())
        for key, zone in config.zones.items()
    )

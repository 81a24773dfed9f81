"""A camera: keeps its source open and writes frames to the ring buffers and the latest frame.

Its thread supervises the capture thread (`stream/capture/session.py`), which owns the source.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from stream.capture.frame_quality import FrameQualityCheck
from stream.capture.latest_frame import DEFAULT_WIDTH, LatestFrame
from stream.capture.session import CaptureSession
from stream.config.config import CameraConfig
from stream.messages import ClipSpec, Frame, FrameTime
from stream.regions.base import regions_of
from stream.regions.clip_source import RegionClipSource
from stream.runtime.metrics import Metrics
from stream.runtime.secrets import redact
from stream.runtime.service import Backoff, ServiceThread
from stream.sources.base import NetworkOptions, OpenOptions, Source, check_source, open_source
from stream.sources.source_clock import SourceClock

_log = logging.getLogger(__name__)
_FRAME_RATE_SAMPLES = 50
_STEADY_S = 10.0  # after a session this long the retry delay is reset
_MAX_HUNG_READS = 3  # per camera; from then on it is read in subprocesses
_OPEN_OVERHEAD_S = 5.0  # besides the network timeout: diagnosis, or the start of a process
_MAX_GAP_S = 1.0  # between frames

CONNECTING, LIVE, STALLED, OFFLINE = "connecting", "live", "stalled", "offline"
ENDED, FAILED = "ended", "failed"


class Camera:
    """One camera, kept open from `start` to `request_stop`, or until its source ends.

    A live source that can't be opened, disconnects, or delivers no frame for `stall_timeout` is
    reopened with exponential backoff; a video file that can't be read has failed.
    `on_frame` is called after each frame and at the end, on the reading thread. A video file that
    is not `paced` is read as fast as `on_frame` returns.
    Raises SourceError at once for a spec that can't be a source.
    """

    def __init__(
        self,
        name: str,
        config: CameraConfig,
        metrics: Metrics,
        *,
        opener: Callable[[int | str, OpenOptions], Source] = open_source,
        on_frame: Callable[[Camera], None] = lambda camera: None,
        paced: bool = True,
        default_width: int = DEFAULT_WIDTH,
        initial_retry_delay_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_source(config.source)
        self.name, self.config = name, config
        self.source = redact(config.source)
        self.latest_frame = LatestFrame(default_width)
        self.state = CONNECTING
        self.reason = ""  # why it failed, stalled or is offline
        self.created_at = now()  # monotonic seconds
        self.changed_at = self.created_at  # monotonic seconds of the latest state change
        self._regions = regions_of(name, config)
        self.started_at: float | None = None  # monotonic seconds of time 0 of this camera's clock
        self._network = NetworkOptions(
            config.transport, config.open_timeout, min(config.read_timeout, config.stall_timeout)
        )
        self._opener = opener
        self._metrics = metrics
        self._on_frame = on_frame
        self._paced = paced
        self._backoff = Backoff(initial_retry_delay_s, config.max_retry_delay)
        self._now = now
        self._spec: ClipSpec | None = None
        self._check = FrameQualityCheck()
        self._frames = 0
        self._last_s: float | None = None  # time of the newest frame
        self._clock = SourceClock(count=lambda name: metrics.count(name, self.name))
        self._gaps: list[float] = []  # between the first frames for the model, in seconds
        self._buffering = threading.Event()
        self._lock = threading.Lock()  # so that an abandoned session changes nothing
        self._session: CaptureSession | None = None
        self._abandoned: list[CaptureSession] = []  # whose threads may still be in a read
        on_crash = partial(self._set_state, FAILED)
        self._thread = ServiceThread(
            f"camera {name}", self._run, metrics=metrics, camera=name, on_crash=on_crash
        )
        self.stopping = self._thread.stopping

    def start(self) -> None:
        self._thread.start()

    def start_buffering(self, spec: ClipSpec) -> None:
        """Store frames in the model's input format from now on. A video file starts now."""
        with self._lock:
            if self._spec is not None:
                return  # it is buffering already
            self._spec = spec
        for region in self._regions:
            region.start_buffering(spec)
        self._buffering.set()

    def release_buffers(self) -> None:
        """Free the memory of all frames; no reader needs them any more."""
        with self._lock:
            for region in self._regions:
                region.release()
        self.latest_frame.clear()

    def request_stop(self) -> None:
        self._thread.request_stop()
        self._buffering.set()
        with self._lock:
            if self._session is not None:
                self._session.request_stop()

    def join(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        ended, session = self._thread.join(timeout_s), self._session  # the last session
        if session is not None:
            ended &= session.thread.join(max(0.0, deadline - time.monotonic()))
        return ended

    @property
    def streams(self) -> tuple[RegionClipSource, ...]:
        """The clip sources of all its regions."""
        return tuple(one for region in self._regions for one in region.clip_sources().values())

    @property
    def stream_names(self) -> list[str]:
        return [stream.name for stream in self.streams]

    @property
    def fault(self) -> str:
        """The fault of a live camera's frames, see FrameQualityCheck; "" if there is none."""
        return self._check.fault if self.state == LIVE else ""

    @property
    def since_at(self) -> float:
        """Monotonic seconds when its present state, or its fault, started."""
        if self.fault and self.started_at is not None:
            return max(self.changed_at, self.started_at + self._check.since_s)
        return self.changed_at

    @property
    def has_ended(self) -> bool:
        """Whether this camera delivers no more frames."""
        return self.state in (ENDED, FAILED)

    def _run(self) -> None:
        try:
            self._keep_open()
        finally:
            self._on_frame(self)

    def _keep_open(self) -> None:
        while (session := self._start_session()) is not None:
            stalled = self._supervise(session)
            if self.stopping.is_set():
                return
            if session.finite or session.is_permanent:
                self._set_state(FAILED if session.error else ENDED, session.error)
                return
            if session.newest_at - session.started_at > _STEADY_S:
                self._backoff.reset()
            self._abandon(session, stalled)
            self.stopping.wait(self._backoff.next_s())

    def _start_session(self) -> CaptureSession | None:
        """Open the source in a new session; None after `request_stop`."""
        in_subprocess = self._count_hung_reads() >= _MAX_HUNG_READS
        if in_subprocess:
            _log.warning("%s: reads hang; the camera is read in a subprocess", self.name)
            self._metrics.count("subprocess_captures", self.name)
        options = OpenOptions(
            self._now, self._clock, self._network, in_subprocess=in_subprocess, paced=self._paced
        )
        session = CaptureSession(
            self.name,
            partial(self._opener, self.config.source, options),
            self._process_frame,
            metrics=self._metrics,
            ready=self._buffering,
            now=self._now,
        )
        with self._lock:
            if self.stopping.is_set():
                return None
            self._session = session
        session.thread.start()
        return session

    def _supervise(self, session: CaptureSession) -> bool:
        """Wait until a session ends. True if it stalled instead."""
        while not session.ended and not self.stopping.is_set():
            timeout_s = self.config.stall_timeout
            if not session.has_frames:
                timeout_s = max(timeout_s, self._network.open_timeout_s + _OPEN_OVERHEAD_S)
            left_s = session.newest_at + timeout_s - self._now()
            if left_s <= 0 and not session.finite:
                return True
            session.wakeup.wait(None if session.finite else left_s)  # video files may pause
        return False

    def _abandon(self, session: CaptureSession, stalled: bool) -> None:
        """Stop a session that ended or stalled, without waiting for its thread."""
        with self._lock:
            self._session = None
            silent_s = self._now() - session.newest_at
            if stalled and session.has_frames:
                self._metrics.count("stalls", self.name)
                self._set_state(STALLED, f"no new frame for {silent_s:.0f} s")
            elif stalled:
                self._set_state(
                    OFFLINE, f"source {self.source} was not open within {silent_s:.0f} s"
                )
            else:
                self._set_state(OFFLINE, session.error or "the stream ended")
            self._last_s = None
            self._clear_rings()
        session.request_stop()
        self._abandoned.append(session)
        self._metrics.count("reconnect_attempts", self.name)

    def _count_hung_reads(self) -> int:
        """Number of reads that have not returned although they timed out."""
        self._abandoned = [one for one in self._abandoned if not one.thread.join(0)]
        for session in self._abandoned:
            waited_s = self._now() - session.stop_requested_at
            if not session.hangs and waited_s > self._network.read_timeout_s:
                session.hangs = True
                self._metrics.count("hung_reads", self.name)
        return sum(session.hangs for session in self._abandoned)

    def _process_frame(self, session: CaptureSession, source: Source, moment: FrameTime) -> None:
        """Handle a new frame. Runs on the session's thread."""
        received_at = self._now()
        accepting = [region for region in self._regions if region.accepts(moment.time_s)]
        wanted = accepting or self.latest_frame.is_due(moment.seen_at)
        pixels = source.retrieve() if wanted else None
        with self._lock:
            if session is not self._session:
                return
            self._update_state(moment)
            if not wanted:
                self._metrics.count("unused_frames", self.name)
                return
            if pixels is None:
                self._metrics.count("damaged_frames", self.name)
                return
            pixels.flags.writeable = False
            self._frames += 1
            if self._check.update(pixels, moment.time_s):
                self._metrics.count(f"{self._check.fault.replace(' ', '_')}s", self.name)
            self.latest_frame.put(Frame(pixels, moment.time_s, moment.seen_at, self._frames - 1))
            for region in accepting:
                region.add_frame(pixels, moment)
        self._metrics.measure("capture", self._now() - received_at)
        self._on_frame(self)

    def _update_state(self, moment: FrameTime) -> None:
        self._metrics.count("frames", self.name)
        if self._clock.started_at is not None:
            self.started_at = self._clock.started_at
        elif self.started_at is None:
            self.started_at = moment.seen_at - moment.time_s
        if self.state != LIVE:
            self._set_state(LIVE)
        if self._last_s is not None and self._spec is not None:
            gap_s = moment.time_s - self._last_s
            self._check_frame_rate(self._spec, gap_s)
            if gap_s > max_gap_s(self._spec):
                self._metrics.count("gaps", self.name)
                self._clear_rings()
        self._last_s = moment.time_s

    def _clear_rings(self) -> None:
        for region in self._regions:
            region.clear()

    def _check_frame_rate(self, spec: ClipSpec, gap_s: float) -> None:
        """Warn once if the camera's frame rate is too low for the model."""
        if len(self._gaps) == _FRAME_RATE_SAMPLES:
            return
        self._gaps.append(gap_s)
        mean_gap_s = sum(self._gaps) / len(self._gaps)
        if len(self._gaps) == _FRAME_RATE_SAMPLES and mean_gap_s > spec.step_s:
            _log.warning(
                "camera %s delivers %.1f fps, but model %s was trained at %.1f fps: "
                "its predictions will be worse; set a higher frame rate in the camera",
                self.name,
                1 / mean_gap_s,
                spec.model,
                1 / spec.step_s,
            )

    def _set_state(self, state: str, reason: str = "") -> None:
        if state != self.state:
            level = logging.WARNING if state in (STALLED, OFFLINE, FAILED) else logging.INFO
            because = f", {reason}" if reason else ""
            because += "; retrying" if state in (STALLED, OFFLINE) else ""
            _log.log(level, "%s (%s): %s%s", self.name, self.source, state, because)
            self.changed_at = self._now()
        self.reason = reason
        self.state = state


def max_gap_s(spec: ClipSpec) -> float:
    """Longest gap between two frames of one window, in seconds."""
    return max(_MAX_GAP_S, 1.5 * spec.step_s)

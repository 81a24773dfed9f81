"""The streams that the scheduler serves, and their due windows.

Guarded by the scheduler's lock; has no lock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.messages import ClipSpec
from stream.runtime.metrics import Metrics
from stream.scheduling.window_grid import WindowGrid
from stream.scheduling.window_state import ClipSource, DueWindow, StreamState


class StreamRegistry:
    """The streams of cameras and of browser sessions.

    A browser session gets no more windows than a camera, however fast its own clock runs.
    """

    def __init__(
        self,
        streams: Mapping[str, ClipSource],
        metrics: Metrics,
        *,
        stride_s: float,
        now: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._stride_s = stride_s
        self._now = now
        self._streams: dict[str, StreamState] = {}
        for name, source in streams.items():
            self.add(name, source)

    def add(self, name: str, source: ClipSource, *, is_browser_session: bool = False) -> None:
        """Add a stream; it replaces a stream of the same name."""
        grid = WindowGrid(self._stride_s)
        self._streams[name] = StreamState(name, source, grid, is_browser_session)

    def remove(self, name: str) -> None:
        self._streams.pop(name, None)

    def set_stride(self, stride_s: float) -> None:
        self._stride_s = stride_s
        for stream in self._streams.values():
            stream.grid.set_stride(stride_s)

    def is_active(self, stream: StreamState) -> bool:
        """Whether the stream was not removed."""
        return self._streams.get(stream.name) is stream

    @property
    def connected_cameras(self) -> int:
        """The number of camera streams that have frames for the model."""
        return sum(
            stream.source.ring is not None
            for stream in self._streams.values()
            if not stream.is_browser_session
        )

    def due_windows(self, spec: ClipSpec | None) -> tuple[list[DueWindow], list[DueWindow]]:
        """The newest complete window of each stream: of cameras, and of browser sessions.

        Longest waiting first.
        """
        found = [due for name in self._streams if (due := self.due_window(name, spec)) is not None]
        found.sort(key=lambda due: -due.waiting_s)
        cameras = [due for due in found if not due.stream.is_browser_session]
        return cameras, [due for due in found if due.stream.is_browser_session]

    def due_window(self, name: str, spec: ClipSpec | None) -> DueWindow | None:
        """The due window of one stream; None if no window is due or no such stream exists."""
        stream = self._streams.get(name)
        ring = stream.source.ring if stream is not None else None
        newest_s = ring.newest_s if ring is not None else None
        if stream is None or ring is None or newest_s is None or spec is None:
            return None
        stream.grid.update_gaps(ring.clear_count)
        end_s = stream.grid.due(newest_s)
        if end_s is None:
            return None
        # Half a stride early: a late window must not delay the next one as well.
        early_s = self._stride_s / 2
        if stream.is_browser_session and self._now() < stream.next_window_at - early_s:
            return None
        times = spec.times(end_s)
        if not ring.covers(times):
            return None
        if stream.source.is_gated(float(times[0]), end_s):
            self.skip(stream, end_s, "motion_gated_windows")
            return None
        # The clock of a browser session can't be trusted to tell which stream has waited longest.
        waiting_s = (
            self._now() - stream.last_window_at
            if stream.is_browser_session
            else stream.grid.waiting_s(newest_s)
        )
        return DueWindow(waiting_s, end_s, stream, ring, times)

    def assign(self, due: DueWindow) -> None:
        """Mark a window as given to a worker."""
        stream, now = due.stream, self._now()
        self.skip(stream, due.end_s)
        stream.source.mark_scored(due.end_s)
        stream.last_window_at = now
        stream.next_window_at = max(now, stream.next_window_at) + self._stride_s

    def skip(self, stream: StreamState, end_s: float, counter: str = "") -> None:
        """Mark a window as done, counted as `counter` if given, and earlier ones as skipped."""
        skipped = stream.grid.advance_to(end_s)
        if skipped:
            self._metrics.count("skipped_windows", stream.metrics_label, skipped)
        if counter:
            self._metrics.count(counter, stream.metrics_label)

    def skip_remaining(self, spec: ClipSpec | None) -> None:
        """At shutdown: count the due windows of cameras that no worker got."""
        for due in self.due_windows(spec)[0]:
            self.skip(due.stream, due.end_s, "skipped_windows")

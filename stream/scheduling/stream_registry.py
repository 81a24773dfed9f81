"""Whose turn it is: the streams that are served, which come and go, and their windows that are due.

Guarded by the scheduler's lock; owns none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.messages import ClipSpec
from stream.runtime.metrics import Metrics
from stream.scheduling.window_grid import WindowGrid
from stream.scheduling.window_state import Due, Seat, Watched


class Turns:
    """The streams of cameras, and those of guests.

    A guest has no more windows than a camera has, however fast its own clock goes.
    """

    def __init__(
        self,
        streams: Mapping[str, Watched],
        metrics: Metrics,
        *,
        stride_s: float,
        now: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._stride_s = stride_s
        self._now = now
        self._seats: dict[str, Seat] = {}
        for name, stream in streams.items():
            self.add(name, stream)

    def add(self, name: str, stream: Watched, *, guest: bool = False) -> None:
        """Serve a stream; one that had this name is served no longer."""
        self._seats[name] = Seat(name, stream, WindowGrid(self._stride_s), guest)

    def remove(self, name: str) -> None:
        self._seats.pop(name, None)

    def keep_to(self, stride_s: float) -> None:
        """From now on windows end at multiples of another stride."""
        self._stride_s = stride_s
        for seat in self._seats.values():
            seat.grid = WindowGrid(stride_s)

    def serves(self, seat: Seat) -> bool:
        """Whether it was not removed."""
        return self._seats.get(seat.name) is seat

    @property
    def cameras(self) -> list[str]:
        """The names of the streams that are no guests."""
        return [name for name, seat in self._seats.items() if not seat.is_guest]

    @property
    def watching(self) -> int:
        """How many streams of cameras have pictures for the model."""
        return sum(
            seat.stream.ring is not None for seat in self._seats.values() if not seat.is_guest
        )

    def due(self, spec: ClipSpec | None) -> tuple[list[Due], list[Due]]:
        """The freshest complete window of each stream that has one: of cameras, and of guests.

        Longest waiting first.
        """
        found = [due for name in self._seats if (due := self.due_of(name, spec)) is not None]
        found.sort(key=lambda due: -due.waiting_s)
        cameras = [due for due in found if not due.seat.is_guest]
        return cameras, [due for due in found if due.seat.is_guest]

    def due_of(self, name: str, spec: ClipSpec | None) -> Due | None:
        """That of one stream; None where there is none, or no such stream."""
        seat = self._seats.get(name)
        ring = seat.stream.ring if seat is not None else None
        newest_s = ring.newest_s if ring is not None else None
        if seat is None or ring is None or newest_s is None or spec is None:
            return None
        seat.grid.heed(ring.cleared)
        end_s = seat.grid.due(newest_s)
        if end_s is None:
            return None
        # Half a stride early: a window that came late must not make the next one late as well.
        if seat.is_guest and self._now() < seat.turn_at - self._stride_s / 2:
            return None
        times = spec.times(end_s)
        if not ring.covers(times):
            return None
        if seat.stream.is_still(float(times[0]), end_s):
            self.pass_over(seat, end_s, "still_windows")
            return None
        # A guest's own clock may go as it likes: it does not say who waits longest.
        waiting_s = self._now() - seat.taken_at if seat.is_guest else seat.grid.waiting_s(newest_s)
        return Due(waiting_s, end_s, seat, ring, times)

    def take(self, due: Due) -> None:
        """A worker gets this window."""
        seat, now = due.seat, self._now()
        self.pass_over(seat, due.end_s)
        seat.stream.looked(due.end_s)
        seat.taken_at, seat.turn_at = now, max(now, seat.turn_at) + self._stride_s

    def pass_over(self, seat: Seat, end_s: float, counted: str = "") -> None:
        """Mark a window as done with, under that name if any, and those before it as skipped."""
        skipped = seat.grid.take(end_s)
        if skipped:
            self._metrics.count("skipped_windows", seat.counted_as, skipped)
        if counted:
            self._metrics.count(counted, seat.counted_as)

    def pass_over_what_is_left(self, spec: ClipSpec | None) -> None:
        """At the end: nobody took the windows that cameras still have."""
        for due in self.due(spec)[0]:
            self.pass_over(due.seat, due.end_s, "skipped_windows")

"""Dispatch policies: which due windows a ready worker gets, and whether a lost clip is retried."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from stream.runtime.registry import Registry
from stream.scheduling.window_state import DueWindow


class DispatchPolicy(Protocol):
    """A way to choose windows. It holds no state of its own."""

    retries: bool  # a clip that is lost with its worker is sent again

    def batch_size(self, capacity: int) -> int:
        """How many clips a worker gets at once that is ready for `capacity` clips."""

    def select(self, due: Sequence[DueWindow], busy: Set[str]) -> list[DueWindow]:
        """The windows that may be sent now, in order of preference.

        `due` holds the newest window of each stream, the longest waiting one first; `busy` names
        the streams with a clip in flight.
        """


POLICIES: Registry[DispatchPolicy] = Registry("dispatch policy", "stream.scheduling")


class NewestWins:
    """For live sources: the newest window of every stream; older ones are skipped and counted."""

    retries = False

    def batch_size(self, capacity: int) -> int:
        return capacity

    def select(self, due: Sequence[DueWindow], busy: Set[str]) -> list[DueWindow]:
        return list(due)


class Lossless:
    """For video files: every window, each stream in order, one clip at a time.

    The other clips of a batch may change a clip's scores in their last bits, and a scan must give
    the same scores each time.
    """

    retries = True

    def batch_size(self, capacity: int) -> int:
        return 1

    def select(self, due: Sequence[DueWindow], busy: Set[str]) -> list[DueWindow]:
        return [one for one in due if one.stream.name not in busy]


POLICIES.add("newest_wins", NewestWins())
POLICIES.add("lossless", Lossless())

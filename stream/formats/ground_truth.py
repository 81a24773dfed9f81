"""Ground truth as formats read it: labeled segments of files."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stream.runtime.errors import UserError


class GroundTruthError(UserError, ValueError):
    """An unusable file of ground truth or events. The message is one line."""


@dataclass(frozen=True, slots=True)
class GroundTruthSegment:
    """An action in a file, in seconds of the file."""

    file: str
    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The content of a ground truth file."""

    files: tuple[str, ...]  # including files without actions
    segments: tuple[GroundTruthSegment, ...]
    unaligned: int = 0  # skipped annotations without times of their own


def checked_segment(
    where: str, file: str, label: str, start_s: float, end_s: float
) -> GroundTruthSegment:
    """A segment. Raises GroundTruthError, naming `where`, for an end before the start."""
    if not -math.inf < start_s < end_s < math.inf:
        raise GroundTruthError(f"{where}: end ({end_s:g} s) must be after start ({start_s:g} s)")
    return GroundTruthSegment(file, label, start_s, end_s)

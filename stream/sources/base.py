"""What a source is, and the registry of source types: one module of this package each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as StopEvent
from typing import Protocol

import numpy as np

from stream.messages import FrameTime
from stream.runtime.errors import UserError
from stream.runtime.registry import Registry
from stream.runtime.secrets import SecretError, redact
from stream.sources.source_clock import SourceClock


class SourceError(UserError):
    """A source that can't be opened or read. The message is one line for a person."""


class PermanentSourceError(SourceError):
    """A source that will not become readable, so that a retry is no use: a damaged file."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network camera is opened and read."""

    transport: str = "tcp"  # of RTSP: tcp or udp
    open_timeout_s: float = 4.0
    read_timeout_s: float = 3.0  # without one a server that hangs blocks a read for 30 s and more


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How a source is opened.

    `clock` belongs to a live source: its time continues across reconnects. `in_subprocess` opens
    the source in a process of its own. A file that is not `paced` is read as fast as possible.
    """

    now: Callable[[], float] = time.monotonic
    clock: SourceClock = field(default_factory=SourceClock)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    in_subprocess: bool = False
    paced: bool = True


class Source(Protocol):
    """Delivers frames, each when it is due. The thread that opens a source is the only reader."""

    finite: bool  # it has an end, and its first frame must wait for a consumer

    def grab(self, stop: StopEvent) -> FrameTime | None:
        """Wait for the next frame. Returns None at the end, or when `stop` is set.

        Raises SourceError where a live source delivers no more frames.
        """

    def retrieve(self) -> np.ndarray | None:
        """The grabbed frame, uint8 RGB (H, W, 3); None if it is damaged."""

    def close(self) -> None: ...


class SourceType(Protocol):
    """A kind of source, chosen by how its spec is written in the configuration."""

    def matches(self, spec: int | str) -> bool:
        """Whether a spec means this type."""

    def validate(self, spec: int | str) -> None:
        """Raise SourceError for a spec that can't be a source, without opening it."""

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        """Open it. Raises SourceError, naming the source and the fix, where that fails."""


SOURCE_TYPES: Registry[SourceType] = Registry("source type", "stream.sources")
_DEFAULT = "video_file"  # a spec that no other type matches is the path of a file


def source_type(spec: int | str) -> str:
    """The name of the type that a spec means. Types that were registered later come first."""
    for name in reversed(list(SOURCE_TYPES)):
        if name != _DEFAULT and SOURCE_TYPES[name].matches(spec):
            return name
    return _DEFAULT


def check_source(spec: int | str) -> None:
    """Raise SourceError for a spec that can't be a source, without opening it."""
    try:
        SOURCE_TYPES[source_type(spec)].validate(spec)
    except SecretError as error:
        raise SourceError(str(error)) from error


def open_source(spec: int | str, options: OpenOptions | None = None) -> Source:
    """Open a source. Raises SourceError, naming the source and the fix, where that fails."""
    check_source(spec)
    options = options or OpenOptions()
    options.clock.on_open()
    try:
        return SOURCE_TYPES[source_type(spec)].open(spec, options)
    except SecretError as error:
        raise SourceError(f"source {redact(spec)}: {error}") from error

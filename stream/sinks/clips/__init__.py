"""Video clips of events, encoded as H.264."""

from stream.sinks.clips.recorder import Recorder

__all__ = ["Recorder"]  # registers itself

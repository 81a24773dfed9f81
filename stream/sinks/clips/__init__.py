"""Video clips of events, encoded as H.264."""

from stream.sinks.clips.sink import ClipSink

__all__ = ["ClipSink"]  # registers itself

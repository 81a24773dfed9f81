"""Video clips of events, encoded as H.264."""

from stream.sinks.clips.recorder import Recorder as Recorder  # registers itself

"""Video clips of events, encoded as H.264."""

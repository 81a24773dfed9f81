"""Synthetic video with ground truth: the demo camera and the pretraining clips.

A stage is a background and a camera model with image degradations. Actors move in front of it:
things (objects) or people (skeletons), drawn on a canvas. Their motion is a function of time, so
the same code renders a training clip of 8 frames and a camera frame at any moment.
"""

from stream.synthetic.clips import MAX_SPAN_S, DrawnClip, draw_clip
from stream.synthetic.motions import (
    ACTIONS,
    MOTIONS,
    OTHER,
    REVERSED,
    STILL,
    Motion,
    random_motion,
)
from stream.synthetic.scene import Scene, Segment
from stream.synthetic.stage import compress_jpeg

__all__ = [
    "ACTIONS",
    "MAX_SPAN_S",
    "MOTIONS",
    "OTHER",
    "REVERSED",
    "STILL",
    "DrawnClip",
    "Motion",
    "Scene",
    "Segment",
    "compress_jpeg",
    "draw_clip",
    "random_motion",
]

"""Drawn moving scenes with known truth: the demo camera and the training clips.

A scene is a background with one or several actors before it, things or people. What they do is a
function of time, so the same code draws a training clip of 8 frames and a camera picture at any
moment.
"""

from stream.synthetic.clips import DrawnClip, draw_clip
from stream.synthetic.motions import (
    ACTIONS,
    BACKWARDS,
    MOTIONS,
    OTHER,
    STILL,
    Motion,
    random_motion,
)
from stream.synthetic.scene import Scene, Segment

__all__ = [
    "ACTIONS",
    "BACKWARDS",
    "MOTIONS",
    "OTHER",
    "STILL",
    "DrawnClip",
    "Motion",
    "Scene",
    "Segment",
    "draw_clip",
    "random_motion",
]

"""Drawn moving scenes with known truth: the demo camera and the training clips.

A scene is a background with one or several actors before it, things or people. What they do is a
function of time, so the same code draws a training clip of 8 frames and a camera picture at any
moment.
"""

from stream.synthetic.clips import LONGEST_S, DrawnClip, draw_clip
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
from stream.synthetic.stage import compressed

__all__ = [
    "ACTIONS",
    "BACKWARDS",
    "LONGEST_S",
    "MOTIONS",
    "OTHER",
    "STILL",
    "DrawnClip",
    "Motion",
    "Scene",
    "Segment",
    "compressed",
    "draw_clip",
    "random_motion",
]

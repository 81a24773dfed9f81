"""Synthetic people: a skeleton that walks, waves, jumps, falls, gets up and struggles.

A posture is a row with the columns `POSTURE`. Lengths are fractions of the person's height. Angles
are degrees, clockwise on the screen: of a limb from hanging down, of the body from upright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.synthetic.backgrounds import contrasting_color
from stream.synthetic.motions import DIRECTIONS, OTHER, STILL, random_rate
from stream.synthetic.things import Canvas

POSTURE = (
    *("x", "y", "height"),  # of the feet, fractions of the frame; height, of its side
    *("aside", "lift"),  # offset of the hip from its position when standing
    *("lean", "bow"),  # of the whole body about the hip, and of the trunk alone
    *("left hip", "left knee", "right hip", "right knee"),
    *("left shoulder", "left elbow", "right shoulder", "right elbow"),
)
_AT = {name: column for column, name in enumerate(POSTURE)}
_LEG, _TRUNK, _HEAD, _ARM = 0.48, 0.3, 0.1, 0.36
JOINTS = (
    *("hip", "neck", "head", "left knee", "left foot", "right knee", "right foot"),
    *("left elbow", "left hand", "right elbow", "right hand"),
)
# Of each joint except the hip: its parent and limb length (negative: head and neck point up).
_PARENTS = (0, 1, 0, 3, 0, 5, 1, 7, 1, 9)
_LENGTHS = np.array([-_TRUNK, -_HEAD, *[_LEG / 2] * 4, *[_ARM / 2] * 4])
_HEAD_JOINT = JOINTS.index("head")
# Pairs of joints in drawing order, with the limb's width and its color.
LIMBS = (
    (1, 9, 0.055, "top"),
    (9, 10, 0.05, "skin"),
    (0, 5, 0.085, "legs"),
    (5, 6, 0.07, "legs"),
    (0, 3, 0.085, "legs"),
    (3, 4, 0.07, "legs"),
    (0, 1, 0.16, "top"),
    (1, 2, 0.11, "skin"),
    (1, 7, 0.055, "top"),
    (7, 8, 0.05, "skin"),
)
_STARTS, _ENDS = (np.array([limb[end] for limb in LIMBS], int) for end in (0, 1))
_WIDTHS = np.array([limb[2] for limb in LIMBS], float)


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """A person's motion with its random parameters.

    `label` is one of MOTIONS; `kind` is the variant of the motion.
    """

    label: str
    kind: str = ""
    rate: float = 0.0  # in the unit of a thing's motion with that label; see Motion
    side: int = 1  # 1 to the right, -1 to the left
    duration_s: float = 0.8  # of falling and getting up
    swings: np.ndarray | None = None  # of a struggle: (joints, waves, 3): amplitude, rate, phase

    @property
    def repeats(self) -> bool:
        """Whether it is periodic, so that it can have started at any time."""
        periodic = ("wave", "jump", "struggle")
        return self.label in periodic or self.kind in ("squat", "bow", "exercise")


# Variants of the motions; a repeated one is drawn more often.
_KINDS = {
    STILL: ("stand", "stand", "sit", "lie"),
    "wave": ("one arm", "both arms"),
    "jump": ("hop", "jack"),
    "fall": ("topple", "topple", "collapse"),
    "get up": ("topple", "topple", "collapse"),
    OTHER: ("squat", "bow", "turn back", "exercise"),
}


def random_act(rng: np.random.Generator, label: str, ease: float = 0.0) -> Act:
    """A random variant of `label`; `ease` from 0 to 1 excludes the slowest locomotion."""
    waves = rng.uniform((0.3, 1.2, 0), (1.0, 3.2, 2 * math.pi), (12, 2, 3))
    return Act(
        label,
        str(rng.choice(_KINDS.get(label, ("",)))),
        random_rate(rng, label, ease),
        int(rng.choice((-1, 1))),
        float(rng.uniform(0.5, 1.1)),
        waves if label == "struggle" else None,
    )


def postures(act: Act, start: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Postures (T, 15) of a person who starts at (x, y, height), at each of `seconds`, (T,)."""
    body = np.zeros((len(seconds), len(POSTURE)))
    body[:, :3] = start
    _stand(body)
    if act.label in DIRECTIONS or act.label in ("approach", "recede"):
        _travel(act, body, seconds)
    elif act.label == "wave":
        _wave(act, body, seconds)
    elif act.label == "jump":
        _jump(act, body, seconds)
    elif act.label == "fall":
        _go_down(act, body, np.clip(seconds / act.duration_s, 0, 1) ** 1.7)
    elif act.label == "get up":
        _go_down(act, body, np.clip(1 - seconds / act.duration_s, 0, 1) ** 1.7)
    elif act.label == "struggle":
        _struggle(act, body, seconds)
    elif act.label == OTHER:
        _other_motion(act, body, seconds)
    elif act.kind == "lie":
        _go_down(Act("fall", "topple", 0.0, act.side), body, np.ones(len(seconds)))
    elif act.kind == "sit":
        _sink(body, np.ones(len(seconds)))
    return body


def _stand(body: np.ndarray) -> None:
    _set(body, left_hip=-4, right_hip=4, left_shoulder=-8, right_shoulder=8)
    _set(body, left_elbow=6, right_elbow=-6)


def _set(body: np.ndarray, **columns: np.ndarray | float) -> None:
    for name, value in columns.items():
        body[:, _AT[name.replace("_", " ")]] = value


def _travel(act: Act, body: np.ndarray, seconds: np.ndarray) -> None:
    if act.label in DIRECTIONS:  # sideways, seen in profile
        direction = DIRECTIONS[act.label][0]
        body[:, 0] += direction * act.rate * seconds
        _walk(body, seconds, 1.0 + 2 * act.rate, 1.0, direction)
        return
    sign = 1 if act.label == "approach" else -1
    grown = np.exp(sign * act.rate * seconds)
    body[:, 1] += 0.35 * body[:, 2] * (grown - 1)  # the feet of an approaching person move down
    body[:, 2] *= grown
    _walk(body, seconds, 1.4, 0.35, 1)


def _walk(body: np.ndarray, seconds: np.ndarray, pace: float, reach: float, direction: int) -> None:
    """Swing legs and arms: `pace` double steps a second with amplitude `reach` from 0 to 1."""
    swing = np.sin(2 * math.pi * pace * seconds) * reach
    _set(body, left_hip=28 * swing, right_hip=-28 * swing)
    bent = 30 * direction * reach
    _set(body, left_knee=bent * (swing < 0), right_knee=bent * (swing > 0))
    _set(body, left_shoulder=-24 * swing, right_shoulder=24 * swing)


def _wave(act: Act, body: np.ndarray, seconds: np.ndarray) -> None:
    swing = 38 * np.sin(2 * math.pi * act.rate * seconds)
    raised = np.clip(seconds / 0.3, 0, 1)
    sides = ("left", "right") if act.kind == "both arms" else ("right",)
    for name in sides:
        sign = act.side if len(sides) == 1 else (1 if name == "right" else -1)
        _set(body, **{f"{name}_shoulder": raised * (-sign * 125 + swing / 2)})
        _set(body, **{f"{name}_elbow": raised * (-25 + swing)})


def _jump(act: Act, body: np.ndarray, seconds: np.ndarray) -> None:
    up = np.abs(np.sin(math.pi * act.rate * seconds))
    crouch = 30 * (1 - up) * (act.kind == "hop")
    _set(body, lift=0.22 * up - _LEG * (1 - np.cos(np.radians(crouch))))
    _set(body, left_hip=-crouch, left_knee=2 * crouch, right_hip=crouch, right_knee=-2 * crouch)
    if act.kind == "jack":
        _set(body, left_shoulder=150 * up + 8, right_shoulder=-150 * up - 8)
        _set(body, left_hip=22 * up, right_hip=-22 * up, left_knee=0, right_knee=0)


def _go_down(act: Act, body: np.ndarray, progress: np.ndarray) -> None:
    """From upright (`progress` 0) to lying (1): toppling as a whole, or sinking first."""
    down = progress if act.kind == "topple" else np.minimum(1, 1.5 * progress)
    over = progress if act.kind == "topple" else np.clip(2.2 * progress - 1.2, 0, 1)
    _set(body, lean=act.side * 88 * over, lift=-(_LEG - 0.07) * down)
    _set(body, aside=act.side * 0.3 * over)
    bend = 65 * down * (1 - over) if act.kind == "collapse" else 12 * over
    _set(body, left_hip=-bend - 4, left_knee=2 * bend, right_hip=bend + 4, right_knee=-2 * bend)
    reach = act.side * 50 * over
    _set(body, left_shoulder=-8 - reach, right_shoulder=8 - 1.4 * reach)


def _sink(body: np.ndarray, progress: np.ndarray) -> None:
    _set(body, lift=-0.24 * progress)
    _set(body, left_hip=-4 - 62 * progress, left_knee=62 * progress)
    _set(body, right_hip=4 + 62 * progress, right_knee=-62 * progress)


def _struggle(act: Act, body: np.ndarray, seconds: np.ndarray) -> None:
    assert act.swings is not None
    reach, rate, phase = np.moveaxis(act.swings, 2, 0)
    waves = np.sin(2 * math.pi * rate[None] * seconds[:, None, None] + phase) * reach
    moved = 0.6 * waves.sum(axis=2)  # (T, joints)
    hits = -act.side * 75  # arms are stretched towards the opponent
    scale = np.array([0.07, 0.03, 14, 16, 22, 22, 22, 22, 60, 60, 60, 60])
    body[:, _AT["aside"] : _AT["right elbow"] + 1] += moved * scale
    body[:, _AT["left shoulder"]] += hits
    body[:, _AT["right shoulder"]] += hits


def _other_motion(act: Act, body: np.ndarray, seconds: np.ndarray) -> None:
    phase = 2 * math.pi * act.rate * seconds
    progress = (1 - np.cos(phase)) / 2
    if act.kind == "squat":
        _sink(body, 1.2 * progress)
    elif act.kind == "bow":
        _set(body, bow=act.side * 75 * progress, left_shoulder=-act.side * 60 * progress)
        _set(body, right_shoulder=-act.side * 60 * progress)
    elif act.kind == "turn back":  # walks to one side and returns
        turned = 0.5 / act.rate  # seconds until the turn
        body[:, 0] += act.side * 0.35 * act.rate * (turned - np.abs(seconds - turned))
        _walk(body, seconds, 1.6, 1.0, 0)
    else:  # both arms up and down
        _set(body, left_shoulder=10 + 130 * progress, right_shoulder=-10 - 130 * progress)


def joints(body: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Joint positions (T, 11, 2) of postures (T, 15), in fractions of the frame, as JOINTS.

    `unit` (2,) is the frame's shorter side as fractions of its width and height.
    """
    at = {name: body[:, column] for name, column in _AT.items()}
    trunk = at["lean"] + at["bow"]
    turned = [trunk, trunk + 0.2 * at["bow"]]
    for side in ("left", "right"):
        thigh = at["lean"] + at[f"{side} hip"]
        turned += [thigh, thigh + at[f"{side} knee"]]
    for side in ("left", "right"):
        arm = trunk + at[f"{side} shoulder"]
        turned += [arm, arm + at[f"{side} elbow"]]
    angles = np.radians(np.stack(turned, axis=1))  # (T, 10)
    # A hanging limb that turns clockwise on the screen moves to the left.
    steps = np.stack([-np.sin(angles), np.cos(angles)], axis=2) * _LENGTHS[:, None]
    positions = np.empty((len(body), len(JOINTS), 2))
    positions[:, 0, 0], positions[:, 0, 1] = at["aside"], -_LEG - at["lift"]
    for joint, (parent, step) in enumerate(zip(_PARENTS, steps.swapaxes(0, 1), strict=True), 1):
        positions[:, joint] = positions[:, parent] + step
    return body[:, None, :2] + positions * body[:, None, 2:3] * unit


def parts(body: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The limbs of postures (T, 15) as parts, see DrawnClip: (T, limbs, 6)."""
    positions = joints(body, unit)
    start, end = (positions[:, ends] for ends in (_STARTS, _ENDS))
    tall = body[:, None, 2:3]
    thick = _WIDTHS[:, None] * tall * unit / 2
    along = (end - start) / unit
    angle = np.degrees(np.unwrap(np.arctan2(along[..., 1], along[..., 0]), axis=0))
    size = np.log(tall).repeat(len(LIMBS), axis=1)
    extent = np.abs(end - start) / 2 + thick
    return np.concatenate([(start + end) / 2, extent, size, angle[..., None]], axis=2)


class Person:
    """A person's appearance: clothes that contrast with the `background`, skin and build."""

    def __init__(self, rng: np.random.Generator, background: np.ndarray, contrast: float) -> None:
        self._colors = {
            "top": contrasting_color(rng, background, contrast),
            "legs": contrasting_color(rng, background, 0.7 * contrast),
            "skin": np.array([225, 172, 140]) * rng.uniform(0.35, 1.1),
        }
        self._build = float(rng.uniform(0.85, 1.35))

    def paint(self, canvas: Canvas, posture: np.ndarray) -> None:
        """Draw the person in a posture (15,)."""
        height, width = canvas.frame.shape[:2]
        positions = joints(posture[None], canvas.unit)[0] * (width, height)
        positions += (canvas.shift_x, canvas.shift_y)
        points = (16 * positions).astype(int).tolist()  # cv2 shifts them by 4 bits
        tall = float(posture[_AT["height"]]) * min(canvas.across, canvas.down)
        for first, last, width_fraction, part in LIMBS:
            color = tuple(float(min(255, value)) for value in self._colors[part])
            thick = max(1, round(width_fraction * self._build * tall))
            if last == _HEAD_JOINT:
                radius = int(8 * width_fraction * self._build * tall) + 8
                cv2.circle(canvas.frame, points[last], radius, color, -1, cv2.LINE_AA, 4)
            else:
                cv2.line(canvas.frame, points[first], points[last], color, thick, cv2.LINE_AA, 4)

"""The segments that a checkpoint was trained and validated on, stored in its `training.json`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.data.examples import Example, overlap

TRAIN_SPLIT = "train"
_Bounds = tuple[float, float]  # start and end, seconds


@dataclass(frozen=True, slots=True)
class SeenData:
    """The segments of each video, by split and video name."""

    videos: Mapping[str, Mapping[str, list[_Bounds]]] = field(default_factory=dict)

    def was_trained_on(self, example: Example) -> bool:
        """Whether some of the example's frames were in the training set."""
        return self.split_of(example) == TRAIN_SPLIT

    def split_of(self, example: Example) -> str:
        """The split of exactly this segment, else of an overlapping one, else ""."""
        name, own = _video_key(example), example.bounds_s
        by_split = {split: videos.get(name, []) for split, videos in self.videos.items()}
        for split, segments in by_split.items():
            if own in segments:
                return split
        for split, segments in by_split.items():
            if any(overlap(own, segment) for segment in segments):
                return split
        return ""


def as_json(
    splits: Mapping[str, Iterable[Example]], before: SeenData | None = None
) -> dict[str, dict[str, list[object]]]:
    """The seen data for `training.json`; the train split must be the first.

    The train split also gets the training segments of `before`, the initial checkpoint's data.
    """
    result: dict[str, dict[str, list[object]]] = {}
    for split, examples in splits.items():
        by_video: dict[str, list[_Bounds]] = defaultdict(list)
        for one in examples:
            by_video[_video_key(one)].append(one.bounds_s)
        if split == TRAIN_SPLIT and before is not None:
            for name, segments in before.videos.get(TRAIN_SPLIT, {}).items():
                own = by_video[name]
                own += [segment for segment in segments if segment not in own]
        result[split] = {
            name: [[start_s, None if end_s == math.inf else end_s] for start_s, end_s in segments]
            for name, segments in sorted(by_video.items())
        }
    return result


def read_seen_data(folder: Path) -> SeenData:
    """The seen data of a checkpoint; empty if it has none."""
    try:
        content = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return SeenData(
            {
                split: {
                    name: [
                        (float(start), math.inf if end is None else float(end))
                        for start, end in segments
                    ]
                    for name, segments in videos.items()
                }
                for split, videos in content["videos"].items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return SeenData()


def _video_key(example: Example) -> str:
    """The video's file name and size: independent of its folder and of its source's name."""
    try:
        return f"{example.path.name} {example.path.stat().st_size}"
    except OSError:
        return example.path.name

"""What a checkpoint learnt from and was measured on, as its `training.json` keeps it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.learning.data.examples import Example, overlap

_Stretch = tuple[float, float]  # from when to when, seconds


@dataclass(frozen=True, slots=True)
class Record:
    """The stretches of each film, by split."""

    films: Mapping[str, Mapping[str, list[_Stretch]]] = field(default_factory=dict)

    def split_of(self, example: Example) -> str:
        """The split of just this stretch, else of one that shares pictures with it, else ""."""
        name, own = _film(example), example.stretch
        held = {split: films.get(name, []) for split, films in self.films.items()}
        for split, stretches in held.items():
            if own in stretches:
                return split
        for split, stretches in held.items():
            if any(overlap(own, stretch) for stretch in stretches):
                return split
        return ""


def as_json(splits: Mapping[str, Iterable[Example]]) -> dict[str, dict[str, list[object]]]:
    """A record for `training.json`; what was learnt from belongs first."""
    films: dict[str, dict[str, list[object]]] = {}
    for split, examples in splits.items():
        of_film: dict[str, list[object]] = defaultdict(list)
        for one in examples:
            start_s, end_s = one.stretch
            of_film[_film(one)].append([start_s, None if end_s == math.inf else end_s])
        films[split] = dict(sorted(of_film.items()))
    return films


def read_record(folder: Path) -> Record:
    """The record of a checkpoint; an empty one where it has none."""
    try:
        told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return Record(
            {
                split: {
                    name: [
                        (float(start), math.inf if end is None else float(end))
                        for start, end in stretches
                    ]
                    for name, stretches in films.items()
                }
                for split, films in told["films"].items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Record()


def _film(example: Example) -> str:
    """A film's name and bytes: the same wherever it lies, and however a list names its source."""
    try:
        return f"{example.path.name} {example.path.stat().st_size}"
    except OSError:
        return example.path.name

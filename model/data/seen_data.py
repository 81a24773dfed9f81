"""What a checkpoint learnt from and was measured on, as its `training.json` keeps it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.data.examples import Example, overlap

LEARNT = "train"
_Stretch = tuple[float, float]  # from when to when, seconds


@dataclass(frozen=True, slots=True)
class Record:
    """The stretches of each film, by split."""

    films: Mapping[str, Mapping[str, list[_Stretch]]] = field(default_factory=dict)

    def learnt(self, example: Example) -> bool:
        """Whether some of its pictures were learnt from."""
        return self.split_of(example) == LEARNT

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


def as_json(
    splits: Mapping[str, Iterable[Example]], before: Record | None = None
) -> dict[str, dict[str, list[object]]]:
    """A record for `training.json`; what was learnt from belongs first.

    That is also what a checkpoint has learnt from, whose record is `before`, that training began
    with.
    """
    films: dict[str, dict[str, list[object]]] = {}
    for split, examples in splits.items():
        of_film: dict[str, list[_Stretch]] = defaultdict(list)
        for one in examples:
            of_film[_film(one)].append(one.stretch)
        if split == LEARNT and before is not None:
            for name, stretches in before.films.get(LEARNT, {}).items():
                own = of_film[name]
                own += [stretch for stretch in stretches if stretch not in own]
        films[split] = {
            name: [[start_s, None if end_s == math.inf else end_s] for start_s, end_s in stretches]
            for name, stretches in sorted(of_film.items())
        }
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

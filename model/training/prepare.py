"""Examples -> what can be learnt from: films decoded, and those left out that can't be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from model.data.clip_cache import ClipCache
from model.data.examples import DataError, Example
from model.data.segments import LONGEST_TAKE_S, is_short
from model.data.splits import Splits
from model.training.dataset import Labelled
from model.training.distributed import Team
from model.training.fit import LearningData
from stream.messages import ClipSpec
from stream.sources.opencv_capture import SourceError

_Lengths = tuple[float, float]  # seconds of the stretch that is shown, and of the whole film
_Result = TypeVar("_Result")


def prepare(
    splits: Splits,
    cache: ClipCache,
    team: Team,
    progress: Callable[[], None] = lambda: None,
) -> tuple[LearningData, tuple[str, ...], list[str]]:
    """Decode all examples. Returns what is left, the labels in order, and a line for each problem.

    A film that can't be decoded is left out, as are examples for validation of a label that
    nothing can be learnt about. `progress` is told of each film, by any thread. The processes of a
    team share the work. Raises DataError where less than two labels are left.
    """
    taken, problems = _decoded(splits.train, partial(_take, cache), team, progress)
    problems += _odd_lengths(taken, cache.spec)
    viewed, more = _decoded(splits.val, partial(_views, cache), team, progress)
    problems += more
    train, val = list(taken), list(viewed)
    labels = tuple(sorted({one.label for one in train}))
    if len(labels) < 2:
        raise DataError(
            f"nothing to tell apart: of {len(splits.train)} examples {len(train)} can be decoded, "
            f"with {len(labels)} label(s); two are needed"
            + (f" ({problems[0]})" if problems else "")
        )
    numbers = {label: number for number, label in enumerate(labels)}
    for label in sorted({one.label for one in val} - set(labels)):
        problems.append(f"label {label} is only there for validation; its clips are left out")
    data = LearningData(
        [Labelled(one, numbers[one.label]) for one in train],
        [Labelled(one, numbers[one.label]) for one in val if one.label in numbers],
        cache,
    )
    return data, labels, problems


def _take(cache: ClipCache, example: Example) -> _Lengths:
    take = cache.take(example)
    return take.lasts_s, take.film_s


def _views(cache: ClipCache, example: Example) -> None:
    cache.views(example)


def _odd_lengths(taken: Mapping[Example, _Lengths], spec: ClipSpec) -> list[str]:
    """What is to be said of examples to learn from that are too long or too short."""
    notes = [
        f"{one.path} shows {one.label} for longer than {LONGEST_TAKE_S / 60:.0f} minutes: those in "
        "its middle are learnt from, as one clip; cut it into rows with start and end"
        for one, (lasts_s, _) in taken.items()
        if lasts_s > LONGEST_TAKE_S
    ]
    if short := sum(is_short(film_s, spec) for _, film_s in taken.values()):
        notes.append(
            f"{short} of {len(taken)} clips to learn from are shorter than the {spec.span_s:g} s "
            "that the model looks at, and stand still at their end, which no watch will see; give "
            "the recipe a shorter span"
        )
    return notes


def _decoded(
    examples: Sequence[Example],
    decode: Callable[[Example], _Result],
    team: Team,
    progress: Callable[[], None],
) -> tuple[dict[Example, _Result], list[str]]:
    """What `decode` says of the examples that it can decode, and why it can't decode the others."""

    def try_one(example: Example) -> tuple[list[_Result], str]:
        try:
            return [decode(example)], ""
        except (SourceError, MemoryError) as error:
            return [], str(error) or f"{example.path}: not enough memory"
        finally:
            progress()

    with ThreadPoolExecutor(team.cores) as pool:
        answers = team.together(list(pool.map(try_one, team.share(examples))))
    good = {
        example: result
        for example, (results, _) in zip(examples, answers, strict=True)
        for result in results
    }
    return good, [why_not for _, why_not in answers if why_not]

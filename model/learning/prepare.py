"""Examples -> what can be learnt from: films decoded, and those left out that can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from model.learning.clip_cache import ClipCache
from model.learning.clips import Labelled
from model.learning.data.examples import DataError, Example
from model.learning.data.splits import Splits
from model.learning.films import is_short
from model.learning.fit import LearningData
from model.learning.team import Team
from stream.camera.decoding import SourceError

_LONG_MIN = 2.0  # minutes
_SHORT = "too short"  # may be said of thousands


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
    train, told = _decoded(splits.train, partial(_take, cache), team, progress)
    problems = [line for line in told if line != _SHORT]
    if short := told.count(_SHORT):
        problems.append(
            f"{short} of {len(train)} clips to learn from are shorter than the "
            f"{cache.spec.span_s:g} s that the model looks at, and stand still at their end, which "
            "no watch will see; give the recipe a shorter span"
        )
    val, more = _decoded(splits.val, partial(_views, cache), team, progress)
    problems += more
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


def _views(cache: ClipCache, example: Example) -> str:
    cache.views(example)
    return ""


def _take(cache: ClipCache, example: Example) -> str:
    """Decode an example to learn from. Returns what is to be said of it, if anything."""
    take = cache.take(example)
    minutes = (take.end_s - take.start_s) / 60
    if is_short(take.film_s, cache.spec):
        return _SHORT
    if minutes < _LONG_MIN:
        return ""
    return (
        f"{example.path} shows {example.label} for {minutes:.0f} minutes, and counts as one clip "
        "all the same; cut it into rows with start and end"
    )


def _decoded(
    examples: Sequence[Example],
    decode: Callable[[Example], str],
    team: Team,
    progress: Callable[[], None],
) -> tuple[list[Example], list[str]]:
    """The examples that `decode` can decode, and what is to be said of them and the others."""

    def try_one(example: Example) -> tuple[bool, str]:
        try:
            return True, decode(example)
        except (SourceError, MemoryError) as error:
            return False, str(error) or f"{example.path}: not enough memory"
        finally:
            progress()

    with ThreadPoolExecutor(team.cores) as pool:
        answers = team.together(list(pool.map(try_one, team.share(examples))))
    good = [example for example, (is_good, _) in zip(examples, answers, strict=True) if is_good]
    return good, [line for _, line in answers if line]

"""Examples -> what can be learnt from: films decoded, and those left out that can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from model.learning.clip_cache import ClipCache
from model.learning.clips import Labelled
from model.learning.examples import DataError, Example
from model.learning.fit import LearningData
from model.learning.splits import Splits
from model.learning.team import Team
from stream.decoding import SourceError

_LONG_MIN = 2.0  # minutes


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
    train, problems = _decoded(splits.train, cache.take, team, progress)
    problems += [line for line in map(partial(_too_long, cache), train) if line]
    val, more = _decoded(splits.val, cache.views, team, progress)
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


def _too_long(cache: ClipCache, example: Example) -> str:
    take = cache.take(example)
    minutes = (take.end_s - take.start_s) / 60
    if minutes < _LONG_MIN:
        return ""
    return (
        f"{example.path} shows {example.label} for {minutes:.0f} minutes, and counts as one clip "
        "all the same; cut it into rows with start and end"
    )


def _decoded(
    examples: Sequence[Example],
    decode: Callable[[Example], object],
    team: Team,
    progress: Callable[[], None],
) -> tuple[list[Example], list[str]]:
    """The examples that `decode` can decode, and what is wrong with the others."""

    def try_one(example: Example) -> str | None:
        try:
            decode(example)
        except (SourceError, MemoryError) as error:
            return str(error) or f"{example.path}: not enough memory"
        finally:
            progress()
        return None

    with ThreadPoolExecutor(team.cores) as pool:
        answers = team.together(list(pool.map(try_one, team.share(examples))))
    good = [example for example, why_not in zip(examples, answers, strict=True) if not why_not]
    return good, [why_not for why_not in answers if why_not]

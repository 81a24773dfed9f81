"""Examples -> what can be learnt from: films decoded, and those left out that can't be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from model.learning.clip_cache import ClipCache
from model.learning.clips import Labelled
from model.learning.examples import DataError, Example
from model.learning.fit import LearningData
from model.learning.splits import Splits
from stream.decoding import SourceError
from stream.threads import cores


def prepare(
    splits: Splits, cache: ClipCache, progress: Callable[[], None] = lambda: None
) -> tuple[LearningData, tuple[str, ...], list[str]]:
    """Decode all examples. Returns what is left, the labels in order, and a line for each problem.

    A film that can't be decoded is left out, as are examples for validation of a label that
    nothing can be learnt about. `progress` is told of each film, by any thread. Raises DataError
    where less than two labels are left.
    """
    train, problems = _decoded(splits.train, cache.take, progress)
    val, more = _decoded(splits.val, cache.views, progress)
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


def _decoded(
    examples: Iterable[Example],
    decode: Callable[[Example], object],
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

    examples = list(examples)
    with ThreadPoolExecutor(cores()) as pool:
        answers = list(pool.map(try_one, examples))
    good = [example for example, why_not in zip(examples, answers, strict=True) if not why_not]
    return good, [why_not for why_not in answers if why_not]

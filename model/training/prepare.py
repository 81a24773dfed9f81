"""Decodes all examples for training and validation; drops those that can't be decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from model.data.clip_cache import ClipCache
from model.data.examples import DataError, Example
from model.data.segments import MAX_SEGMENT_S, is_short
from model.data.splits import Splits
from model.training.distributed import DistributedContext
from model.training.fit import TrainingData
from stream.messages import ClipSpec
from stream.sources.base import SourceError

_Durations = tuple[float, float]  # seconds of the labeled segment, and of the whole video
_Result = TypeVar("_Result")


def prepare(
    splits: Splits,
    cache: ClipCache,
    context: DistributedContext,
    on_decoded: Callable[[], None] = lambda: None,
) -> tuple[TrainingData, tuple[str, ...], list[str]]:
    """Decode all examples. Returns the usable ones, the sorted labels, and a line per problem.

    Drops examples that can't be decoded, and validation examples of labels without training
    examples. `on_decoded` is called after each example, from any thread. The ranks share the work.
    Raises DataError if fewer than two labels remain.
    """

    def decode(example: Example) -> _Durations:
        segment = cache.segment(example)
        return segment.duration_s, segment.video_s

    durations, problems = _decode_all(splits.train, decode, context, on_decoded)
    problems += _duration_notes(durations, cache.spec)
    val, val_problems = _decode_all(
        splits.val, lambda one: len(cache.views(one)), context, on_decoded
    )
    problems += val_problems
    labels = tuple(sorted({one.label for one in durations}))
    if len(labels) < 2:
        raise DataError(
            f"training needs at least two labels: of {len(splits.train)} examples "
            f"{len(durations)} can be decoded, with {len(labels)} label(s)"
            + (f" ({problems[0]})" if problems else "")
        )
    for label in sorted({one.label for one in val} - set(labels)):
        problems.append(f"label {label} has no training clips; its validation clips are skipped")
    data = TrainingData(list(durations), [one for one in val if one.label in labels], cache)
    return data, labels, problems


def _duration_notes(durations: Mapping[Example, _Durations], spec: ClipSpec) -> list[str]:
    """A line for each training segment that is too long, and one for all that are too short."""
    notes = [
        f"{one.path}: the segment of {one.label} is longer than {MAX_SEGMENT_S / 60:.0f} minutes; "
        "only its middle is used, as one clip; split it into rows with start and end"
        for one, (duration_s, _) in durations.items()
        if duration_s > MAX_SEGMENT_S
    ]
    if short := sum(is_short(video_s, spec) for _, video_s in durations.values()):
        notes.append(
            f"{short} of {len(durations)} training clips are shorter than the model's "
            f"{spec.span_s:g} s clip; their last frame is repeated, which never happens in a live "
            "run; set a shorter span in --config"
        )
    return notes


def _decode_all(
    examples: Sequence[Example],
    decode: Callable[[Example], _Result],
    context: DistributedContext,
    on_decoded: Callable[[], None],
) -> tuple[dict[Example, _Result], list[str]]:
    """The results of the examples that can be decoded, and a line for each of the others."""

    def try_one(example: Example) -> tuple[list[_Result], str]:
        try:
            return [decode(example)], ""
        except (SourceError, MemoryError) as error:
            return [], str(error) or f"{example.path}: not enough memory"
        finally:
            on_decoded()

    with ThreadPoolExecutor(context.cores) as pool:
        outcomes = context.all_gather(list(pool.map(try_one, context.shard(examples))))
    decoded = {
        example: result
        for example, (results, _) in zip(examples, outcomes, strict=True)
        for result in results
    }
    return decoded, [problem for _, problem in outcomes if problem]

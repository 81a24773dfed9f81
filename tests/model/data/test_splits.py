from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from model.data.examples import DataError, Example
from model.data.splits import Splits, leave_one_group_out, split

# Like camera footage: a few sources have many clips of one label.
UNEVEN = {
    "no_fight": (19, 10, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1),
    "fight": (8, 7, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1),
}


def of(label: str, source: str, count: int = 1, split: str = "") -> list[Example]:
    """Examples of videos that don't exist; their names make them different."""
    return [
        Example(Path(f"videos/{label}/{source}-{split}{n}.mp4"), label, source=source, split=split)
        for n in range(count)
    ]


def many(label: str, sources: int) -> list[Example]:
    return [one for number in range(sources) for one in of(label, f"{label} {number}")]


def write_example(file: Path, content: bytes, label: str, **rest: str) -> Example:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Example(file, label, **{"source": file.as_posix(), **rest})  # type: ignore[arg-type]


def sources(examples: Sequence[Example]) -> set[str]:
    return {one.source for one in examples}


def labels(examples: Sequence[Example]) -> Counter[str]:
    return Counter(one.label for one in examples)


def test_sources_of_earlier_training_data_are_not_held_out() -> None:
    examples = [*of("jump", "old", 2), *many("jump", 4), *many("wave", 5), *of("rest", "old")]
    old = examples[0]
    for seed in range(5):
        result = split(examples, seed=seed, was_trained_on=lambda one: one == old)
        assert "old" not in sources(result.val)
        assert labels(result.val) == {"jump": 1, "wave": 1}
        (note,) = (one for one in result.notes if "rest" in one and "validation" in one)
        assert note.startswith("label rest was all in the initial checkpoint's training data")
    given = [*many("jump", 3), *many("wave", 3), *of("jump", "a", split="val")]
    result = split(given, was_trained_on=lambda one: one.split == "val")
    note = "the initial checkpoint was trained on 1 of 1 val clips: their accuracy will be too high"
    assert result.notes[0] == note


@pytest.mark.parametrize("seed", range(8))
def test_sources_stay_together_and_each_label_gets_its_val_fraction(seed: int) -> None:
    examples = [
        one
        for label, counts in UNEVEN.items()
        for number, count in enumerate(counts)
        for one in of(label, f"camera {number}", count)  # a camera has both labels
    ]
    result = split(examples, seed=seed)
    assert not sources(result.train) & sources(result.val)
    assert sorted([*result.train, *result.val], key=lambda e: e.order) == sorted(
        examples, key=lambda e: e.order
    )
    for label, count in labels(result.val).items():
        assert count / sum(UNEVEN[label]) == pytest.approx(0.2, abs=0.03)
    assert set(labels(result.train)) == set(labels(result.val)) == set(UNEVEN)


@pytest.mark.parametrize("seed", range(20))
def test_split_keeps_all_examples_and_all_labels_in_training(seed: int) -> None:
    rng = random.Random(seed)
    examples = {
        one
        for number in range(rng.randrange(2, 30))
        for label in rng.sample("abcde", rng.randrange(1, 4))
        for one in of(label, f"s{number}", rng.randrange(1, 9))
    } | {*of("a", "more"), *of("b", "more")}
    result = split(examples, val_fraction=rng.choice((0.1, 0.2, 0.5)), seed=seed)
    assert {*result.train, *result.val} == examples
    assert len(result.train) + len(result.val) == len(examples)
    assert not sources(result.train) & sources(result.val)
    assert set(labels(result.train)) == set(labels(list(examples)))


def test_split_is_deterministic_in_any_order_of_examples() -> None:
    examples = many("a", 20) + many("b", 30)
    first = split(examples, seed=3)
    random.Random(0).shuffle(examples)
    assert split(examples, seed=3) == first
    assert split(examples, seed=4) != first
    # Fixed values, because the split must be the same on every machine.
    expected = ["a 10", "a 12", "a 19", "a 7", "b 11", "b 13", "b 16", "b 18", "b 2", "b 28"]
    assert sorted(sources(first.val)) == expected


def test_label_needs_two_sources_for_validation() -> None:
    examples = of("a", "1", 9) + of("a", "2", 6) + of("b", "3", 5) + many("c", 10)
    result = split(examples)
    assert sources(result.val) > {"2"}
    assert not {"1", "3"} & sources(result.val)
    assert result.notes == ("label b has only one source: it has no validation clips",)


def test_shared_sources_leave_training_examples_of_each_label() -> None:
    # Training needs both sources of a: one for c, one for d.
    examples = of("a", "1", 5) + of("c", "1", 5) + of("a", "2", 5) + of("d", "2", 5)
    result = split([*examples, *of("b", "3", 5), *of("b", "4", 4)])
    assert set(labels(result.train)) == set("abcd")
    assert sources(result.val) == {"4"}
    assert result.notes == (
        "label a shares its sources with other labels: it has no validation clips",
        "label c has only one source: it has no validation clips",
        "label d has only one source: it has no validation clips",
    )


def test_rare_labels_get_a_note() -> None:
    result = split(many("a", 4) + many("b", 5))
    assert result.notes == ("labels with fewer than 5 examples can hardly be learned: a (4)",)


def test_given_splits_are_used() -> None:
    train, val = of("a", "1", 5, "train") + of("b", "2", 5, "train"), of("a", "3", 1, "val")
    test = of("b", "4", 2, "test")
    # Without a split: goes with its source to val or train; dropped if its source is in test.
    free = of("b", "5") + of("b", "3") + of("a", "4")
    result = split([*train, *val, *test, *free])
    assert set(result.train) == {*train, *of("b", "5")}
    assert set(result.val) == {*val, *of("b", "3")}
    assert result.notes == ()
    result = split([*train, *test])
    assert (set(result.train), set(result.val)) == ({*train}, {*test})


def test_part_is_held_out_if_all_data_is_train() -> None:
    train = [one for n in range(10) for x in "ab" for one in of(x, f"{x}{n}", 1, "train")]
    result = split(train)
    assert labels(result.val) == {"a": 2, "b": 2}
    assert result.notes == (
        "the data has no validation split; part of its train split is held out",
    )
    free = many("a", 10) + many("b", 10)
    assert not set(split([*train, *free]).val) & set(train)


def test_split_needs_two_labels() -> None:
    for examples, message in (
        ([], "there are no examples"),
        (many("a", 9), "only the label a, but training needs at least two labels; add a folder"),
        (of("a", "1", 5, "train") + of("b", "2", 5, "val"), "only the label a for training"),
        (of("a", "1", 5, "test") + of("b", "2", 5, "test"), "no examples for training"),
    ):
        with pytest.raises(DataError, match=message):
            split(examples)
    with pytest.raises(ValueError, match="val_fraction must be between 0 and 1, got 20"):
        split(many("a", 9) + many("b", 9), val_fraction=20)


def test_copies_stay_together_and_get_a_note(tmp_path: Path) -> None:
    examples = [
        write_example(tmp_path / label / f"{number}.mp4", f"{label}{number % 5}".encode(), label)
        for label in "ab"
        for number in range(10)
    ]
    for seed in range(5):
        result = split(examples, seed=seed)
        content = [{one.path.read_bytes() for one in side} for side in (result.train, result.val)]
        assert not content[0] & content[1]
        assert labels(result.val) == {"a": 2, "b": 2}
        assert result.notes == ("10 videos are copies of others, such as a/5.mp4 of a/0.mp4",)


def test_leaks_of_given_splits_get_a_note(tmp_path: Path) -> None:
    examples = [
        write_example(
            tmp_path / side / label / f"{n}.mp4", f"{side}{label}{n}".encode(), label, split=side
        )
        for side in ("train", "val")
        for label in "ab"
        for n in range(5)
    ]
    assert split(examples).notes == ()
    copied = write_example(tmp_path / "val/a/copy.mp4", b"traina3", "a", split="val")
    related = write_example(
        tmp_path / "val/a/related.mp4", b"related", "a", split="val", source=examples[0].source
    )
    assert split([*examples, copied, related]).notes[:2] == (
        "videos in both val and train: 1, such as val/a/copy.mp4 (as train/a/3.mp4)",
        "val videos with a source that is also in train: 1, such as val/a/related.mp4 from "
        f"source {examples[0].source}",
    )


def test_leave_one_group_out_holds_out_each_group_once() -> None:
    examples = of("a", "1", 5) + of("b", "1", 5) + of("a", "2", 6) + of("b", "3", 7, "test")
    folds = dict(leave_one_group_out([*examples, *of("c", "3", 5)], key=lambda one: one.source))
    assert list(folds) == ["1", "2", "3"]
    for name, result in folds.items():
        assert isinstance(result, Splits)
        assert sources(result.val) == {name}
        assert sources(result.train) == {"1", "2", "3"} - {name}
    with pytest.raises(DataError, match="needs at least two groups, got 1"):
        list(leave_one_group_out(examples, key=lambda one: "all"))
    with pytest.raises(DataError, match="only the label a outside of 1"):
        list(leave_one_group_out(examples[:-7], key=lambda one: one.source))


def test_segments_of_a_video_stay_together_with_any_source() -> None:
    examples = [
        Example(Path(f"{label}{video}.mp4"), label, float(start), start + 1.0, source)
        for label in "ab"
        for video in range(6)
        for start, source in ((0, f"{label}{video}.mp4"), (5, f"evening {video}"))
    ]
    for seed in range(5):
        result = split(examples, seed=seed)
        assert not {one.path for one in result.train} & {one.path for one in result.val}

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from model.data.examples import DataError, Example
from model.data.splits import Splits, folds, split

# As footage of cameras is: a few sources with much of one label.
UNEVEN = {
    "no_fight": (19, 10, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1),
    "fight": (8, 7, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1),
}


def of(label: str, source: str, count: int = 1, split: str = "") -> list[Example]:
    """Films that nobody has: they are told apart by their names alone."""
    return [
        Example(Path(f"films/{label}/{source}-{split}{n}.mp4"), label, source=source, split=split)
        for n in range(count)
    ]


def many(label: str, sources: int) -> list[Example]:
    return [one for number in range(sources) for one in of(label, f"{label} {number}")]


def put(file: Path, content: bytes, label: str, **rest: str) -> Example:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Example(file, label, **{"source": file.as_posix(), **rest})  # type: ignore[arg-type]


def sources(examples: Sequence[Example]) -> set[str]:
    return {one.source for one in examples}


def labels(examples: Sequence[Example]) -> Counter[str]:
    return Counter(one.label for one in examples)


def test_what_was_learnt_from_before_is_not_kept_nor_is_its_source() -> None:
    examples = [*of("jump", "old", 2), *many("jump", 4), *many("wave", 5), *of("rest", "old")]
    old = examples[0]
    for seed in range(5):
        parted = split(examples, seed=seed, learnt=lambda one: one == old)
        assert "old" not in sources(parted.val)
        assert labels(parted.val) == {"jump": 1, "wave": 1}
        (note,) = (one for one in parted.notes if "rest" in one and "kept" in one)
        assert note.startswith("label rest was learnt from before, all of it: nothing of it")
    given = [*many("jump", 3), *many("wave", 3), *of("jump", "a", split="val")]
    parted = split(given, learnt=lambda one: one.split == "val")
    assert parted.notes[0].startswith("1 of 1 clips of val were learnt from before")


@pytest.mark.parametrize("seed", range(8))
def test_uneven_sources_never_part_and_each_label_gets_its_share(seed: int) -> None:
    examples = [
        one
        for label, counts in UNEVEN.items()
        for number, count in enumerate(counts)
        for one in of(label, f"camera {number}", count)  # a camera sees both
    ]
    parted = split(examples, seed=seed)
    assert not sources(parted.train) & sources(parted.val)
    assert sorted([*parted.train, *parted.val], key=lambda e: e.order) == sorted(
        examples, key=lambda e: e.order
    )
    for label, count in labels(parted.val).items():
        assert count / sum(UNEVEN[label]) == pytest.approx(0.2, abs=0.03)
    assert set(labels(parted.train)) == set(labels(parted.val)) == set(UNEVEN)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_sources_are_nothing_is_lost_and_no_label_is_left_unlearnt(seed: int) -> None:
    rng = random.Random(seed)
    examples = {
        one
        for number in range(rng.randrange(2, 30))
        for label in rng.sample("abcde", rng.randrange(1, 4))
        for one in of(label, f"s{number}", rng.randrange(1, 9))
    } | {*of("a", "more"), *of("b", "more")}
    parted = split(examples, share=rng.choice((0.1, 0.2, 0.5)), seed=seed)
    assert {*parted.train, *parted.val} == examples
    assert len(parted.train) + len(parted.val) == len(examples)
    assert not sources(parted.train) & sources(parted.val)
    assert set(labels(parted.train)) == set(labels(list(examples)))


def test_the_same_seed_parts_alike_in_whatever_order_examples_come() -> None:
    examples = many("a", 20) + many("b", 30)
    first = split(examples, seed=3)
    random.Random(0).shuffle(examples)
    assert split(examples, seed=3) == first
    assert split(examples, seed=4) != first
    # As written down once, so that another machine can't part otherwise.
    kept = ["a 10", "a 12", "a 19", "a 7", "b 11", "b 13", "b 16", "b 18", "b 2", "b 28"]
    assert sorted(sources(first.val)) == kept


def test_a_label_with_two_sources_keeps_one_and_with_one_source_none() -> None:
    examples = of("a", "1", 9) + of("a", "2", 6) + of("b", "3", 5) + many("c", 10)
    parted = split(examples)
    assert sources(parted.val) > {"2"}
    assert not {"1", "3"} & sources(parted.val)
    assert parted.notes == (
        "label b has one source only: nothing of it can be kept for validation",
    )


def test_sources_of_several_labels_leave_something_to_learn_of_each() -> None:
    # Both sources of a are needed: one for c, one for d.
    examples = of("a", "1", 5) + of("c", "1", 5) + of("a", "2", 5) + of("d", "2", 5)
    parted = split([*examples, *of("b", "3", 5), *of("b", "4", 4)])
    assert set(labels(parted.train)) == set("abcd")
    assert sources(parted.val) == {"4"}
    assert parted.notes == (
        "label a shares its sources with others: nothing of it can be kept for validation",
        "label c has one source only: nothing of it can be kept for validation",
        "label d has one source only: nothing of it can be kept for validation",
    )


def test_few_examples_are_told() -> None:
    parted = split(many("a", 4) + many("b", 5))
    assert parted.notes == ("labels with fewer than 5 examples can hardly be learnt: a (4)",)


def test_given_splits_are_taken() -> None:
    train, val = of("a", "1", 5, "train") + of("b", "2", 5, "train"), of("a", "3", 1, "val")
    test = of("b", "4", 2, "test")
    # Of what has no split, the kin of what is kept is kept, that of the test is left out.
    free = of("b", "5") + of("b", "3") + of("a", "4")
    parted = split([*train, *val, *test, *free])
    assert set(parted.train) == {*train, *of("b", "5")}
    assert set(parted.val) == {*val, *of("b", "3")}
    assert parted.notes == ()
    parted = split([*train, *test])
    assert (set(parted.train), set(parted.val)) == ({*train}, {*test})


def test_a_part_is_kept_of_data_that_are_all_for_training() -> None:
    train = [one for n in range(10) for x in "ab" for one in of(x, f"{x}{n}", 1, "train")]
    parted = split(train)
    assert labels(parted.val) == {"a": 2, "b": 2}
    assert parted.notes == ("the data keep nothing for validation; a part of their train is kept",)
    free = many("a", 10) + many("b", 10)
    assert not set(split([*train, *free]).val) & set(train)


def test_one_label_is_not_enough() -> None:
    for examples, message in (
        ([], "there are no examples"),
        (many("a", 9), "only the label a, but learning needs at least two labels; add a folder"),
        (of("a", "1", 5, "train") + of("b", "2", 5, "val"), "only the label a to learn from"),
        (of("a", "1", 5, "test") + of("b", "2", 5, "test"), "no examples to learn from"),
    ):
        with pytest.raises(DataError, match=message):
            split(examples)
    with pytest.raises(ValueError, match="share must be between 0 and 1, got 20"):
        split(many("a", 9) + many("b", 9), share=20)


def test_copies_stay_together_and_are_told(tmp_path: Path) -> None:
    examples = [
        put(tmp_path / label / f"{number}.mp4", f"{label}{number % 5}".encode(), label)
        for label in "ab"
        for number in range(10)
    ]
    for seed in range(5):
        parted = split(examples, seed=seed)
        content = [{one.path.read_bytes() for one in side} for side in (parted.train, parted.val)]
        assert not content[0] & content[1]
        assert labels(parted.val) == {"a": 2, "b": 2}
        assert parted.notes == ("10 films are copies of others, such as a/5.mp4 of a/0.mp4",)


def test_leaks_of_given_splits_are_told(tmp_path: Path) -> None:
    examples = [
        put(tmp_path / side / label / f"{n}.mp4", f"{side}{label}{n}".encode(), label, split=side)
        for side in ("train", "val")
        for label in "ab"
        for n in range(5)
    ]
    assert split(examples).notes == ()
    copied = put(tmp_path / "val/a/copy.mp4", b"traina3", "a", split="val")
    kin = put(tmp_path / "val/a/kin.mp4", b"kin", "a", split="val", source=examples[0].source)
    assert split([*examples, copied, kin]).notes[:2] == (
        "1 film of val are also in train, such as val/a/copy.mp4 (as train/a/3.mp4)",
        "1 film of val are cut from what is also in train, such as val/a/kin.mp4 from "
        f"source {examples[0].source}",
    )


def test_folds_leave_each_group_out_once() -> None:
    examples = of("a", "1", 5) + of("b", "1", 5) + of("a", "2", 6) + of("b", "3", 7, "test")
    left_out = dict(folds([*examples, *of("c", "3", 5)], key=lambda one: one.source))
    assert list(left_out) == ["1", "2", "3"]
    for name, parted in left_out.items():
        assert isinstance(parted, Splits)
        assert sources(parted.val) == {name}
        assert sources(parted.train) == {"1", "2", "3"} - {name}
    with pytest.raises(DataError, match="needs at least two groups, got 1"):
        folds(examples, key=lambda one: "all")
    with pytest.raises(DataError, match="only the label a outside of 1"):
        list(folds(examples[:-7], key=lambda one: one.source))


def test_stretches_of_one_film_stay_together_whatever_their_source() -> None:
    examples = [
        Example(Path(f"{label}{film}.mp4"), label, float(start), start + 1.0, source)
        for label in "ab"
        for film in range(6)
        for start, source in ((0, f"{label}{film}.mp4"), (5, f"evening {film}"))
    ]
    for seed in range(5):
        parted = split(examples, seed=seed)
        assert not {one.path for one in parted.train} & {one.path for one in parted.val}

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from stream.datasets.labels import class_folder


@pytest.mark.parametrize("label", ["wave", "move left", "a fall (hard), 50 %", "öffnen", "戸"])
def test_a_label_that_is_a_name_is_the_folder(label: str) -> None:
    assert class_folder(label) == label


def test_the_same_letters_written_in_two_ways_are_one_folder() -> None:
    assert class_folder(unicodedata.normalize("NFD", "öffnen")) == "öffnen"


@pytest.mark.parametrize(
    "label",
    [
        "a/b",
        "..",
        ".",
        "",
        " ",
        "../../etc/passwd",
        "/etc",
        "C:\\windows",
        ".hidden",
        ".clips-x.part",
        "wave.",
        "wave ",
        " wave",
        "con",
        "LPT1.txt",
        "clips.csv",
        "two\nlines",
        "tab\there",
        'who "?" <img src=x onerror=alert(1)>',
        "x" * 1000,
        "戸" * 200,
    ],
)
def test_any_other_label_gets_a_name_that_is_one_everywhere(tmp_path: Path, label: str) -> None:
    name = class_folder(label)
    assert name != label
    assert len(name.encode()) <= 255
    assert not set(name) & set('/\\:*?"<>|\n\t')
    assert not name.startswith((".", " "))
    (tmp_path / name / "clip.mp4").parent.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_labels_that_become_alike_are_told_apart() -> None:
    alike = ["a/b", "a_b", "a\\b", "a:b", "x" * 999, "x" * 1000, ".a", "a"]
    assert len({class_folder(label) for label in alike}) == len(alike)

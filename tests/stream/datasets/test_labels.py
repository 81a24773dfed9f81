from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from stream.datasets.export import label_dirname


@pytest.mark.parametrize("label", ["wave", "move left", "a fall (hard), 50 %", "öffnen", "戸"])
def test_valid_name_is_the_folder_name(label: str) -> None:
    assert label_dirname(label) == label


def test_unicode_forms_of_a_label_share_a_folder() -> None:
    assert label_dirname(unicodedata.normalize("NFD", "öffnen")) == "öffnen"


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
def test_invalid_name_gets_a_portable_folder_name(tmp_path: Path, label: str) -> None:
    name = label_dirname(label)
    assert name != label
    assert len(name.encode()) <= 255
    assert not set(name) & set('/\\:*?"<>|\n\t')
    assert not name.startswith((".", " "))
    (tmp_path / name / "clip.mp4").parent.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_similar_labels_get_different_folders() -> None:
    similar = ["a/b", "a_b", "a\\b", "a:b", "x" * 999, "x" * 1000, ".a", "a"]
    assert len({label_dirname(label) for label in similar}) == len(similar)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.data.examples import Example
from model.data.seen_data import Record, as_json, read_record


def film(folder: Path, name: str, size: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x" * size)
    return folder / name


def kept(folder: Path, **splits: list[Example]) -> Record:
    (folder / "training.json").write_text(json.dumps({"films": as_json(splits)}))
    return read_record(folder)


def test_of_one_film_each_stretch_has_its_own_split(tmp_path: Path) -> None:
    path = film(tmp_path, "cam.mp4")
    record = kept(
        tmp_path,
        train=[Example(path, "fall", 0.0, 60.0), Example(path, "fall", 120.0, 130.0)],
        val=[Example(path, "fall", 60.0, 120.0)],
    )
    assert record.split_of(Example(path, "fall", None, 60.0)) == "train"
    assert record.split_of(Example(path, "sit", 60.0, 120.0)) == "val"
    assert record.split_of(Example(path, "fall", 130.0, 140.0)) == ""
    # Shares pictures with both: what was learnt from is no measure.
    assert record.split_of(Example(path, "fall", 50.0, 70.0)) == "train"
    assert record.split_of(Example(path, "fall")) == "train"


def test_a_film_is_known_wherever_it_lies(tmp_path: Path) -> None:
    record = kept(tmp_path, train=[Example(film(tmp_path / "a", "x.mp4"), "fall")])
    assert record.split_of(Example(film(tmp_path / "b", "x.mp4"), "fall", 3.0, 4.0)) == "train"
    assert record.split_of(Example(film(tmp_path / "b", "y.mp4"), "fall")) == ""
    assert record.split_of(Example(film(tmp_path / "c", "x.mp4", size=4), "fall")) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"films": {"train": ["x.mp4 3"]}}'])
def test_a_checkpoint_without_a_record_has_seen_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    assert read_record(tmp_path) == read_record(tmp_path / "nowhere") == Record()

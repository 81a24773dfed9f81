from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model.data.examples import Data, DataError, read_data


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def facts(data: Data) -> list[tuple[Any, ...]]:
    return [(e.path.name, e.label, e.start_s, e.end_s, e.source, e.split) for e in data.examples]


def test_kinetics_csv(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    write_files(videos, "-aB_cut0000_000004_000014.mkv", "riding a bike/whole000000.mp4")
    write_files(
        videos, "validate/both0000000.mp4", "train/both0000000.mp4", "train/both0000000_000001.mp4"
    )
    (tmp_path / "k.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        "testifying,-aB_cut0000,4,14,train\n"
        "riding a bike,whole000000,20,30,train\n"
        '"baking, slowly",both0000000,0.0,10.0,validate\n'
        "missing,missing00,0,10,train\n"
        "missing,missing01,0,10,train\n"
        "backwards,whole000000,30,20,train\n"
    )
    data = read_data(tmp_path / "k.csv", videos=videos)
    assert facts(data) == [
        ("-aB_cut0000_000004_000014.mkv", "testifying", None, None, "-aB_cut0000", "train"),
        ("whole000000.mp4", "riding a bike", 20.0, 30.0, "whole000000", "train"),
        ("both0000000.mp4", "baking, slowly", 0.0, 10.0, "both0000000", "val"),
    ]
    assert data.examples[2].path.parent.name == "validate"
    assert data.problems == (
        f"2 of 5 videos of {tmp_path / 'k.csv'} are not in {videos}",
        "k.csv line 7: end must be after start, got 30 s to 20 s",
    )


def test_kinetics_csv_without_labels_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\na,0,10,test\n")
    with pytest.raises(DataError, match=r"test\.csv has no column label"):
        read_data(tmp_path / "test.csv")


@pytest.mark.parametrize("given", ["trainlist01.txt", "testlist01.txt"])
def test_ucf101_lists_are_read_together(tmp_path: Path, given: str) -> None:
    write_files(
        tmp_path,
        "Archery/v_Archery_g08_c01.avi",
        "Archery/v_Archery_g08_c02.mp4",
        "v_Yo_g01_c01.avi",
    )
    (tmp_path / "trainlist01.txt").write_text(
        "Archery/v_Archery_g08_c01.avi 1\nArchery/v_Archery_g08_c02.avi 1\n"
    )
    (tmp_path / "testlist01.txt").write_text("Yo/v_Yo_g01_c01.avi\nYo/v_Yo_g02_c01.avi\n")
    (tmp_path / "testlist02.txt").write_text("Archery/v_Archery_g08_c01.avi\n")
    data = read_data(tmp_path / given)
    assert facts(data) == [
        ("v_Archery_g08_c01.avi", "Archery", None, None, "Archery g08", "train"),
        ("v_Archery_g08_c02.mp4", "Archery", None, None, "Archery g08", "train"),
        ("v_Yo_g01_c01.avi", "Yo", None, None, "Yo g01", "test"),
    ]
    assert data.problems == (f"1 of 4 videos of {tmp_path / given} are not in {tmp_path}",)


@pytest.mark.parametrize("given", ["train", "validation"])
def test_something_something_files_are_read_together(tmp_path: Path, given: str) -> None:
    write_files(tmp_path, "1.webm", "20bn/2.mp4")
    name = "something-something-v2-{}.json"
    train = [
        {"id": "1", "label": "holding a cup", "template": "Holding [something]"},
        {"id": "9", "label": "holding a box", "template": "Holding [something]"},
        {"id": "3", "template": ["no text"]},
        "not an entry",
    ]
    (tmp_path / name.format("train")).write_text(json.dumps(train))
    validation = [{"id": 2, "template": "Putting [something] into [something]"}]
    (tmp_path / name.format("validation")).write_text(json.dumps(validation))
    data = read_data(tmp_path / name.format(given))
    assert facts(data) == [
        ("1.webm", "Holding something", None, None, "1", "train"),
        ("2.mp4", "Putting something into something", None, None, "2", "val"),
    ]
    assert [problem.split("json ")[-1] for problem in data.problems] == [
        f"are not in {tmp_path}",
        "entry 3: the label is empty",
        "entry 4: it has no id",
    ]


def test_activitynet_json(tmp_path: Path) -> None:
    write_files(tmp_path, "v_aaa.mp4", "bbb.mkv", "ddd.mp4")
    good = {"label": "Archery", "segment": [1, 2.5]}
    broken: list[Any] = [
        {"label": "Archery", "segment": [3]},
        {"label": "Archery", "segment": [4, 3]},
        {"label": None, "segment": [1, 2]},
        {"segment": [1, float("nan")], "label": "Archery"},
        7,
    ]
    database = {
        "aaa": {"subset": "training", "annotations": [good, {**good, "segment": [5, 9]}]},
        "bbb": {"subset": "validation", "annotations": [good, *broken]},
        "ccc": {"subset": "training", "annotations": [good, {**good, "segment": [5, 9]}]},
        "ddd": {"subset": "testing", "annotations": []},
        "eee": 5,
    }
    (tmp_path / "anet.json").write_text(json.dumps({"database": database}))
    data = read_data(tmp_path / "anet.json")
    assert facts(data) == [
        ("bbb.mkv", "Archery", 1.0, 2.5, "bbb", "val"),
        ("v_aaa.mp4", "Archery", 1.0, 2.5, "aaa", "train"),
        ("v_aaa.mp4", "Archery", 5.0, 9.0, "aaa", "train"),
    ]
    assert data.problems[0] == f"1 of 3 videos of {tmp_path / 'anet.json'} are not in {tmp_path}"
    assert len(data.problems) == 1 + len(broken) + 1


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '{"a": 1}', "[" * 100_000, '{"database": 3}'])
def test_unknown_json_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json is (not JSON|neither a list of)"):
        read_data(tmp_path / "x.json")

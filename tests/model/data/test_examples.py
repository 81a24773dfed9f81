from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from model.data.examples import Data, DataError, Example, read_data
from stream.datasets.export import COLUMNS
from stream.datasets.labels import class_folder
from stream.messages import LONGEST_LABEL
from stream.sinks.event_log.database import FILE


def put(folder: Path, *names: str) -> None:
    """Files that could be films; each with other bytes."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode(errors="surrogateescape"))


def told(data: Data, folder: Path) -> dict[str, str]:
    return {one.path.relative_to(folder).as_posix(): one.label for one in data.examples}


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    put(tmp_path, "wave/b.MP4", "wave/a.mp4", "hop/deeper/down/c.webm", "wave/.d.mp4", ".x/y/e.mp4")
    put(tmp_path, "LICENSE", "wave/notes.txt", "README.md", "labels.csv", "hop/c.json")
    data = read_data(tmp_path)
    assert data.problems == ()
    assert data.examples == (
        Example(tmp_path / "hop/deeper/down/c.webm", "hop", source="hop/deeper/down/c.webm"),
        Example(tmp_path / "wave/a.mp4", "wave", source="wave/a.mp4"),
        Example(tmp_path / "wave/b.MP4", "wave", source="wave/b.MP4"),
    )


def test_folders_for_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/wave/a.mp4", "valid/wave/b.mp4", "Test/hop/x/c.mp4", "train/lost.mp4")
    put(tmp_path, "other/wave/d.mp4")
    data = read_data(tmp_path)
    assert [(one.label, one.split) for one in data.examples] == [
        ("hop", "test"),
        ("wave", "train"),
        ("wave", "val"),
    ]
    assert data.problems == (
        "other/wave/d.mp4: lies beside Test and train and valid, in none of them",
        "train/lost.mp4: lies in no folder that is called as its label",
    )


def test_a_label_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, "train/a.mp4", "test/b.mp4")
    assert {one.label for one in read_data(tmp_path).examples} == {"train", "test"}
    put(tmp_path, "train/at night/c.mp4", "bus/d.mp4", "test/e.mp4")
    assert {one.label for one in read_data(tmp_path).examples} == {"train", "test", "bus"}


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    put(tmp_path, "wave/a.mp4", "top.mp4", f"{'w' * (LONGEST_LABEL + 1)}/long.mp4")
    put(tmp_path, "wave/1.jpg", "wave/2.jpg", "hop/archive.zip")
    (tmp_path / "wave" / "empty.mp4").touch()
    (tmp_path / "wave" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert sorted(read_data(tmp_path).problems) == [
        "hop/archive.zip: .zip is no kind of film",
        "top.mp4: lies in no folder that is called as its label",
        "wave/1.jpg and 1 more: .jpg is no kind of film",
        "wave/empty.mp4: the file is empty",
        "wave/gone.mp4: is no file, or a broken link",
        f"{'w' * (LONGEST_LABEL + 1)}/long.mp4: a label may have {LONGEST_LABEL} characters, "
        f"this has {LONGEST_LABEL + 1}",
    ]


def test_links_in_circles_end_and_linked_folders_are_read(tmp_path: Path) -> None:
    put(tmp_path / "far", "a.mp4")
    put(tmp_path / "data", "wave/b.mp4", "hop/c.mp4")
    data = tmp_path / "data"
    (data / "run").symlink_to(tmp_path / "far")
    (data / "a").symlink_to(data / "wave")  # what is really there counts
    (data / "hop" / "up").symlink_to(data)
    (data / "hop" / "self").symlink_to(data / "hop" / "self")
    read = read_data(data)
    assert told(read, data) == {"hop/c.mp4": "hop", "run/a.mp4": "run", "wave/b.mp4": "wave"}
    assert [line.split(": links")[0] for line in read.problems] == ["a", "hop/up"]


def test_what_events_dataset_wrote(tmp_path: Path) -> None:
    awkward = "up/down?"
    put(tmp_path, "wave/1.mp4", "wave/mine.mp4")
    put(tmp_path, f"{class_folder(awkward)}/2.mp4", f"{class_folder(awkward)}/3.mp4")
    rows = [
        "wave/1.mp4,wave,1.000,3.000,yard,e1",
        f"{class_folder(awkward)}/2.mp4,{awkward},,,yard,e2",
        "wave/gone.mp4,wave,,,yard,e3",
    ]
    (tmp_path / "clips.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    data = read_data(tmp_path)
    assert [(one.label, one.start_s, one.end_s, one.source) for one in data.examples] == [
        (awkward, None, None, "e2"),
        (awkward, None, None, f"{class_folder(awkward)}/3.mp4"),
        ("wave", 1.0, 3.0, "e1"),
        ("wave", None, None, "wave/mine.mp4"),
    ]
    assert data.problems == (f"clips.csv line 4: wave/gone.mp4 is not in {tmp_path}",)


def test_a_table_in_a_folder_goes_before_where_a_film_lies(tmp_path: Path) -> None:
    put(tmp_path, "wave/a.mp4", "wave/b.mp4", "wave/c.mp4", "flat.mp4", "wave/d.mp4")
    (tmp_path / "sources.csv").write_text(
        "path,label,source,split,start,end\n"
        "wave/a.mp4,hop,film 1,val,,\n"
        "./wave/../wave/b.mp4,wave,film 1,,0,2\n"
        "wave/b.mp4,hop,film 1,,2,4\n"
        "flat.mp4,hop,,,,\n"
        "wave/d.mp4,,,,,\n"
    )
    (tmp_path / "other.csv").write_text("name,class\nwave/c.mp4,nothing\n")
    data = read_data(tmp_path)
    assert [(e.path.name, e.label, e.source, e.split, e.start_s) for e in data.examples] == [
        ("flat.mp4", "hop", "flat.mp4", "", None),
        ("a.mp4", "hop", "film 1", "val", None),
        ("b.mp4", "wave", "film 1", "", 0.0),
        ("b.mp4", "hop", "film 1", "", 2.0),
        ("c.mp4", "wave", "wave/c.mp4", "", None),
    ]
    # A film of which the table says nothing that can be used does not count by its folder.
    assert data.problems == ("sources.csv line 6: the label is empty",)


def test_clips_of_a_log_in_the_folder_are_no_label(tmp_path: Path) -> None:
    put(tmp_path, "wave/a.mp4", "clips/0.mp4", "clips/1.mp4", "scores/cam/1970.scores")
    put(tmp_path, FILE, "events.lock", "jump/clips/b.mp4")
    data = read_data(tmp_path)
    assert [one.label for one in data.examples] == ["jump", "wave"]
    (line,) = data.problems
    assert "is an event log" in line
    assert "events dataset" in line


def test_tables_of_the_splits_may_tell_of_one_film(tmp_path: Path) -> None:
    put(tmp_path, "cam.mp4")
    (tmp_path / "train.csv").write_text("path,label,start,end\ncam.mp4,fall,0,5\n")
    # One table may say two things of one stretch; two may not.
    rows = "cam.mp4,fall,60,65\ncam.mp4,sit,60,65\ncam.mp4,sit,0,5\n"
    (tmp_path / "val.csv").write_text("path,label,start,end\n" + rows)
    data = read_data(tmp_path)
    assert [(one.label, one.start_s, one.split) for one in data.examples] == [
        ("fall", 0.0, "train"),
        ("fall", 60.0, "val"),
        ("sit", 60.0, "val"),
    ]
    assert data.problems == (
        "val.csv line 4: train.csv says otherwise of cam.mp4; this row is left out",
    )


def test_two_tables_add_to_each_other(tmp_path: Path) -> None:
    put(tmp_path, "wave/a.mp4", "wave/b.mp4")
    (tmp_path / "clips.csv").write_text(
        f"{','.join(COLUMNS)}\nwave/a.mp4,wave,1,2,yard,e1,\nwave/b.mp4,wave,,,yard,e2,\n"
    )
    (tmp_path / "a.csv").write_text("path,label,source\nwave/a.mp4,wave,S\nwave/b.mp4,hop,S\n")
    data = read_data(tmp_path)
    assert [(one.label, one.start_s, one.source) for one in data.examples] == [
        ("wave", 1.0, "S"),
        ("wave", None, "e2"),
    ]
    assert data.problems == (
        "a.csv line 3: clips.csv says otherwise of wave/b.mp4; this row is left out",
    )


def test_tables_called_train_and_val_say_the_split(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "my_train.csv").write_text("path,label\na.mp4,wave\n")
    assert [one.split for one in read_data(tmp_path).examples] == [""]
    (tmp_path / "my_val.csv").write_text("path,label\nb.mp4,hop\n")
    assert [one.split for one in read_data(tmp_path).examples] == ["train", "val"]


def test_names_composed_in_another_way_are_the_same(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "grüßen/é.mp4")
    put(tmp_path, apart)
    expected = (unicodedata.normalize("NFC", "grüßen"), unicodedata.normalize("NFC", apart))
    (one,) = read_data(tmp_path).examples
    assert (one.label, one.source) == expected
    (tmp_path / "clips.csv").write_text(
        "path,label\n" + unicodedata.normalize("NFC", apart) + ",grüßen\n", encoding="utf-8-sig"
    )
    (one,) = read_data(tmp_path).examples
    assert (one.label, one.source) == expected


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_that_are_no_text_end_no_line(tmp_path: Path) -> None:
    put(tmp_path, "wave/a.mp4", os.fsdecode(b"\xff\n/b.mp4"), os.fsdecode(b"wave/\xfe.mp4"))
    data = read_data(tmp_path)
    assert len(data.examples) == 2
    assert data.problems == ("\ufffd\ufffd/b.mp4: the label holds what is no text",)


def test_films_may_lie_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "films", "x/a.mp4")
    put(tmp_path / "more", "b.mp4")
    (tmp_path / "list.csv").write_text(
        f"path,label\nx\\a.mp4,wave\n../more/b.mp4,hop\n{tmp_path / 'more' / 'b.mp4'},hop\n"
        f"{tmp_path}/films/x/a.mp4,hop\n"
    )
    data = read_data(tmp_path / "list.csv", films=tmp_path / "films")
    elsewhere = tmp_path / "more" / "b.mp4"
    assert [(one.path, one.label, one.source) for one in data.examples] == [
        (tmp_path / "films/x/a.mp4", "hop", "x/a.mp4"),
        (tmp_path / "films/x/a.mp4", "wave", "x/a.mp4"),
        (elsewhere, "hop", elsewhere.as_posix()),
    ]
    assert data.problems == ("list.csv line 4: says the same as list.csv line 3",)
    with pytest.raises(DataError, match="nowhere is no folder; give the one that the films lie in"):
        read_data(tmp_path / "list.csv", films=tmp_path / "nowhere")


def test_a_row_that_says_the_same_again_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text("path,label,end\na.mp4,wave,2\na.mp4,wave,2.0\n")
    data = read_data(tmp_path / "list.csv")
    assert len(data.examples) == 1
    assert data.problems == ("list.csv line 3: says the same as list.csv line 2",)


def test_nothing_to_learn_from_is_one_line(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "flat/a.mp4")
    (tmp_path / "list.csv").write_text("path,label\nb.mp4,wave\n")
    (tmp_path / "empty").mkdir()
    for name, expected in {
        "nowhere": "nowhere is not there; give a folder, DIR/LABEL/FILM, or a list of films",
        "empty": "holds nothing to learn from; looked for LABEL/FILM, SPLIT/LABEL/FILM",
        "list.csv": r"looked for a path and a label .*; list\.csv line 2: b\.mp4 is not in",
        "flat": r"; a\.mp4: lies in no folder that is called as its label$",
    }.items():
        with pytest.raises(DataError, match=expected) as caught:
            read_data(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftyp")
    with pytest.raises(DataError, match=r"a\.mp4 is no text in UTF-8; save it as CSV"):
        read_data(tmp_path / "a.mp4")

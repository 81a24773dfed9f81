from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from model.data.examples import Data, DataError, Example, read_data
from stream.datasets.export import COLUMNS, label_dirname
from stream.messages import MAX_LABEL_LENGTH
from stream.sinks.event_log.database import FILE


def write_files(folder: Path, *names: str) -> None:
    """Files that could be videos, each with different bytes."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode(errors="surrogateescape"))


def labels_by_path(data: Data, folder: Path) -> dict[str, str]:
    return {one.path.relative_to(folder).as_posix(): one.label for one in data.examples}


def test_folder_per_label(tmp_path: Path) -> None:
    write_files(
        tmp_path, "wave/b.MP4", "wave/a.mp4", "hop/deeper/down/c.webm", "wave/.d.mp4", ".x/y/e.mp4"
    )
    write_files(tmp_path, "LICENSE", "wave/notes.txt", "README.md", "labels.csv", "hop/c.json")
    data = read_data(tmp_path)
    assert data.problems == ()
    assert data.examples == (
        Example(tmp_path / "hop/deeper/down/c.webm", "hop", source="hop/deeper/down/c.webm"),
        Example(tmp_path / "wave/a.mp4", "wave", source="wave/a.mp4"),
        Example(tmp_path / "wave/b.MP4", "wave", source="wave/b.MP4"),
    )


def test_folder_per_split(tmp_path: Path) -> None:
    write_files(
        tmp_path, "train/wave/a.mp4", "valid/wave/b.mp4", "Test/hop/x/c.mp4", "train/lost.mp4"
    )
    write_files(tmp_path, "other/wave/d.mp4")
    data = read_data(tmp_path)
    assert [(one.label, one.split) for one in data.examples] == [
        ("hop", "test"),
        ("wave", "train"),
        ("wave", "val"),
    ]
    assert data.problems == (
        "other/wave/d.mp4: is in none of the split folders Test, train, valid",
        "train/lost.mp4: is not in a label folder",
    )


def test_label_may_be_named_train(tmp_path: Path) -> None:
    write_files(tmp_path, "train/a.mp4", "test/b.mp4")
    assert {one.label for one in read_data(tmp_path).examples} == {"train", "test"}
    write_files(tmp_path, "train/at night/c.mp4", "bus/d.mp4", "test/e.mp4")
    assert {one.label for one in read_data(tmp_path).examples} == {"train", "test", "bus"}


def test_skipped_files_are_reported(tmp_path: Path) -> None:
    write_files(tmp_path, "wave/a.mp4", "top.mp4", f"{'w' * (MAX_LABEL_LENGTH + 1)}/long.mp4")
    write_files(tmp_path, "wave/1.jpg", "wave/2.jpg", "hop/archive.zip")
    (tmp_path / "wave" / "empty.mp4").touch()
    (tmp_path / "wave" / "missing.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert sorted(read_data(tmp_path).problems) == [
        "hop/archive.zip: .zip is not a video format",
        "top.mp4: is not in a label folder",
        "wave/1.jpg and 1 more: .jpg is not a video format",
        "wave/empty.mp4: the file is empty",
        "wave/missing.mp4: is not a file, or a broken link",
        f"{'w' * (MAX_LABEL_LENGTH + 1)}/long.mp4: a label can have at most {MAX_LABEL_LENGTH} "
        f"characters, this has {MAX_LABEL_LENGTH + 1}",
    ]


def test_circular_links_end_and_linked_folders_are_read(tmp_path: Path) -> None:
    write_files(tmp_path / "far", "a.mp4")
    write_files(tmp_path / "data", "wave/b.mp4", "hop/c.mp4")
    data = tmp_path / "data"
    (data / "run").symlink_to(tmp_path / "far")
    (data / "a").symlink_to(data / "wave")  # the real folder is used
    (data / "hop" / "up").symlink_to(data)
    (data / "hop" / "self").symlink_to(data / "hop" / "self")
    read = read_data(data)
    assert labels_by_path(read, data) == {
        "hop/c.mp4": "hop",
        "run/a.mp4": "run",
        "wave/b.mp4": "wave",
    }
    assert [line.split(": links")[0] for line in read.problems] == ["a", "hop/up"]


def test_reads_an_exported_dataset(tmp_path: Path) -> None:
    awkward = "up/down?"
    write_files(tmp_path, "wave/1.mp4", "wave/mine.mp4")
    write_files(tmp_path, f"{label_dirname(awkward)}/2.mp4", f"{label_dirname(awkward)}/3.mp4")
    rows = [
        "wave/1.mp4,wave,1.000,3.000,yard,e1",
        f"{label_dirname(awkward)}/2.mp4,{awkward},,,yard,e2",
        "wave/missing.mp4,wave,,,yard,e3",
    ]
    (tmp_path / "clips.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    data = read_data(tmp_path)
    assert [(one.label, one.start_s, one.end_s, one.source) for one in data.examples] == [
        (awkward, None, None, "e2"),
        (awkward, None, None, f"{label_dirname(awkward)}/3.mp4"),
        ("wave", 1.0, 3.0, "e1"),
        ("wave", None, None, "wave/mine.mp4"),
    ]
    assert data.problems == (f"clips.csv line 4: wave/missing.mp4 is not in {tmp_path}",)


def test_table_overrides_the_label_folder(tmp_path: Path) -> None:
    write_files(tmp_path, "wave/a.mp4", "wave/b.mp4", "wave/c.mp4", "flat.mp4", "wave/d.mp4")
    (tmp_path / "sources.csv").write_text(
        "path,label,source,split,start,end\n"
        "wave/a.mp4,hop,recording 1,val,,\n"
        "./wave/../wave/b.mp4,wave,recording 1,,0,2\n"
        "wave/b.mp4,hop,recording 1,,2,4\n"
        "flat.mp4,hop,,,,\n"
        "wave/d.mp4,,,,,\n"
    )
    (tmp_path / "other.csv").write_text("name,class\nwave/c.mp4,nothing\n")
    data = read_data(tmp_path)
    assert [(e.path.name, e.label, e.source, e.split, e.start_s) for e in data.examples] == [
        ("flat.mp4", "hop", "flat.mp4", "", None),
        ("a.mp4", "hop", "recording 1", "val", None),
        ("b.mp4", "wave", "recording 1", "", 0.0),
        ("b.mp4", "hop", "recording 1", "", 2.0),
        ("c.mp4", "wave", "wave/c.mp4", "", None),
    ]
    # A video whose table row is invalid does not get its folder's label either.
    assert data.problems == ("sources.csv line 6: the label is empty",)


def test_clips_of_an_event_log_are_skipped(tmp_path: Path) -> None:
    write_files(tmp_path, "wave/a.mp4", "clips/0.mp4", "clips/1.mp4", "scores/cam/1970.scores")
    write_files(tmp_path, FILE, "events.lock", "jump/clips/b.mp4")
    data = read_data(tmp_path)
    assert [one.label for one in data.examples] == ["jump", "wave"]
    (line,) = data.problems
    assert "is an event log" in line
    assert "events export-dataset" in line


def test_split_tables_may_name_the_same_video(tmp_path: Path) -> None:
    write_files(tmp_path, "cam.mp4")
    (tmp_path / "train.csv").write_text("path,label,start,end\ncam.mp4,fall,0,5\n")
    # One table may give a segment two labels; two tables may not.
    rows = "cam.mp4,fall,60,65\ncam.mp4,sit,60,65\ncam.mp4,sit,0,5\n"
    (tmp_path / "val.csv").write_text("path,label,start,end\n" + rows)
    data = read_data(tmp_path)
    assert [(one.label, one.start_s, one.split) for one in data.examples] == [
        ("fall", 0.0, "train"),
        ("fall", 60.0, "val"),
        ("sit", 60.0, "val"),
    ]
    assert data.problems == (
        "val.csv line 4: train.csv has another label for cam.mp4; this row is skipped",
    )


def test_two_tables_are_merged(tmp_path: Path) -> None:
    write_files(tmp_path, "wave/a.mp4", "wave/b.mp4")
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
        "a.csv line 3: clips.csv has another label for wave/b.mp4; this row is skipped",
    )


def test_table_names_give_the_split(tmp_path: Path) -> None:
    write_files(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "my_train.csv").write_text("path,label\na.mp4,wave\n")
    assert [one.split for one in read_data(tmp_path).examples] == [""]
    (tmp_path / "my_val.csv").write_text("path,label\nb.mp4,hop\n")
    assert [one.split for one in read_data(tmp_path).examples] == ["train", "val"]


def test_unicode_forms_of_a_name_are_equal(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "grüßen/é.mp4")
    write_files(tmp_path, decomposed)
    expected = (unicodedata.normalize("NFC", "grüßen"), unicodedata.normalize("NFC", decomposed))
    (one,) = read_data(tmp_path).examples
    assert (one.label, one.source) == expected
    (tmp_path / "clips.csv").write_text(
        "path,label\n" + unicodedata.normalize("NFC", decomposed) + ",grüßen\n",
        encoding="utf-8-sig",
    )
    (one,) = read_data(tmp_path).examples
    assert (one.label, one.source) == expected


@pytest.mark.skipif(os.name == "nt", reason="file names are always text")
def test_invalid_file_names_stay_in_one_line(tmp_path: Path) -> None:
    write_files(tmp_path, "wave/a.mp4", os.fsdecode(b"\xff\n/b.mp4"), os.fsdecode(b"wave/\xfe.mp4"))
    data = read_data(tmp_path)
    assert len(data.examples) == 2
    assert data.problems == ("\ufffd\ufffd/b.mp4: the label has invalid characters",)


def test_videos_may_be_in_another_folder(tmp_path: Path) -> None:
    write_files(tmp_path / "videos", "x/a.mp4")
    write_files(tmp_path / "more", "b.mp4")
    (tmp_path / "list.csv").write_text(
        f"path,label\nx\\a.mp4,wave\n../more/b.mp4,hop\n{tmp_path / 'more' / 'b.mp4'},hop\n"
        f"{tmp_path}/videos/x/a.mp4,hop\n"
    )
    data = read_data(tmp_path / "list.csv", videos=tmp_path / "videos")
    elsewhere = tmp_path / "more" / "b.mp4"
    assert [(one.path, one.label, one.source) for one in data.examples] == [
        (elsewhere, "hop", elsewhere.as_posix()),
        (tmp_path / "videos/x/a.mp4", "hop", "x/a.mp4"),
        (tmp_path / "videos/x/a.mp4", "wave", "x/a.mp4"),
    ]
    assert data.problems == ("list.csv line 4: duplicates list.csv line 3",)
    with pytest.raises(DataError, match="nowhere is not a folder; give the folder of the videos"):
        read_data(tmp_path / "list.csv", videos=tmp_path / "nowhere")


def test_duplicate_row_is_skipped(tmp_path: Path) -> None:
    write_files(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text("path,label,end\na.mp4,wave,2\na.mp4,wave,2.0\n")
    data = read_data(tmp_path / "list.csv")
    assert len(data.examples) == 1
    assert data.problems == ("list.csv line 3: duplicates list.csv line 2",)


def test_no_usable_examples_is_a_one_line_error(tmp_path: Path) -> None:
    write_files(tmp_path, "a.mp4", "flat/a.mp4")
    (tmp_path / "list.csv").write_text("path,label\nb.mp4,wave\n")
    (tmp_path / "empty").mkdir()
    for name, expected in {
        "nowhere": "nowhere does not exist; give a folder, DIR/LABEL/VIDEO, or an annotation file",
        "empty": "has no usable examples; looked for LABEL/VIDEO, SPLIT/LABEL/VIDEO",
        "list.csv": r"looked for a path and a label .*; list\.csv line 2: b\.mp4 is not in",
        "flat": r"; a\.mp4: is not in a label folder$",
    }.items():
        with pytest.raises(DataError, match=expected) as caught:
            read_data(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftyp")
    with pytest.raises(DataError, match=r"a\.mp4 is not UTF-8 text; save it as CSV"):
        read_data(tmp_path / "a.mp4")

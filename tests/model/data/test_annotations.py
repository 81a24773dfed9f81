from __future__ import annotations

from pathlib import Path

import pytest

from model.data.annotation_rows import stretch
from model.data.annotations import read_list
from model.data.examples import read_data


def listed(folder: Path, text: str, name: str = "list.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_with_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = ["\ufeffLabel, path ,start,end,note,split", "wave,a b.mp4,0:01:02.5,63,x,Validation"]
    text = "\r\n".join(row.replace(",", delimiter) for row in rows) + "\r\n\r\n"
    (row,) = read_list(listed(tmp_path, text)).rows
    assert (row.label, row.path, row.split, row.problem) == ("wave", "a b.mp4", "val", "")
    assert (row.start_s, row.end_s) == (62.5, 63.0)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",wave,,,", "the path is empty"),
        ("a.mp4, ,,,", "the label is empty"),
        ("a.mp4,wave,soon,,", "start must be seconds or h:mm:ss, got 'soon'"),
        ("a.mp4,wave,-1,,", "start must be seconds or h:mm:ss, got '-1'"),
        ("a.mp4,wave,nan,,", "start must be seconds or h:mm:ss, got 'nan'"),
        ("a.mp4,wave,1e999,,", "start must be a time within a film, got '1e999'"),
        ("a.mp4,wave,1:75,,", "start must be seconds or h:mm:ss, got '1:75'"),
        ("a.mp4,wave,2,2,", "end must be after start, got 2 s to 2 s"),
        ("a.mp4,wave,,0,", "end must be after start, got 0 s to 0 s"),
        ("a.mp4,wave,,,later", "split must be train, val or test, got 'later'"),
        ("a, b.mp4,wave,,,train", "it has 6 cells, the header 5; put quotation marks round"),
        ('"a.mp4,wave', "unexpected end of data; this and all after it is left out"),
    ],
)
def test_a_broken_row_says_why(tmp_path: Path, row: str, problem: str) -> None:
    text = f"path,label,start,end,split\ngood.mp4,wave\n{row}"
    good, bad = read_list(listed(tmp_path, text)).rows
    assert (good.label, good.problem) == ("wave", "")
    assert bad.problem.startswith(problem)
    assert bad.place == "list.csv line 3"


def test_moments_are_written_in_many_ways() -> None:
    assert stretch("83.5", 90) == (83.5, 90.0)
    assert stretch("1:23.5", "1:01:00") == (83.5, 3660.0)
    assert stretch("1,5", "5e1") == (1.5, 50.0)  # as semicolon tables have it
    assert stretch("", None) == (None, None)
    with pytest.raises(ValueError, match="start must be seconds"):
        stretch(True, None)


def test_lines_without_a_header(tmp_path: Path) -> None:
    lines = {
        "k400/a_000.mp4 12": ("k400/a_000.mp4", "12"),
        "two words/x y.avi 3": ("two words/x y.avi", "3"),
        "x.mkv 120 7": ("x.mkv", "7"),  # the number of frames before the label
        "a, b.mp4,playing drums": ("a, b.mp4", "playing drums"),
        '"c.webm",wave': ("c.webm", "wave"),
        "d.mp4\twave": ("d.mp4", "wave"),
        "e without suffix 4": ("e without suffix", "4"),
    }
    text = "\n".join(lines) + "\n\nalone\n"
    *rows, last = read_list(listed(tmp_path, text, "train.txt")).rows
    assert [(row.path, row.label) for row in rows] == list(lines.values())
    assert (last.place, last.problem) == ("train.txt line 9", "it should be a path and a label")


def test_a_long_line_that_is_no_list_takes_no_time(tmp_path: Path) -> None:
    (row,) = read_list(listed(tmp_path, "a, ;" * 100_000 + "x.mp4 " * 10_000, "x.txt")).rows
    assert len(row.problem) < 100


def test_what_is_no_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_text("path,label\n", encoding="utf-16")
    (tmp_path / "latin.csv").write_bytes("path,label\ngrüßen".encode("latin-1"))
    for name in ("excel.csv", "latin.csv"):
        with pytest.raises(ValueError, match="is no text in UTF-8; save it as CSV in UTF-8"):
            read_list(tmp_path / name)


def test_a_path_that_no_file_can_have_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    long = "x" * 5000
    data = read_data(listed(tmp_path, f"path,label\na.mp4,wave\n{long}.mp4,wave\n.,wave\n"))
    assert len(data.examples) == 1
    assert [problem.split(":")[0] for problem in data.problems] == [
        "list.csv line 3",
        "list.csv line 4",
    ]


def test_a_table_without_a_path_is_no_list_of_bare_lines(tmp_path: Path) -> None:
    file = listed(tmp_path, "video,label,start,end\na.mp4,wave,0,5\n")
    with pytest.raises(ValueError, match=r"no column path; call .* \(there are video, label"):
        read_list(file)
    (row,) = read_list(listed(tmp_path, "a.mp4,label\n")).rows
    assert (row.path, row.label) == ("a.mp4", "label")

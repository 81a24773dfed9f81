from __future__ import annotations

from pathlib import Path

import pytest

from model.data.annotation_rows import parse_bounds
from model.data.annotations import read_annotations
from model.data.examples import read_data


def annotation_file(folder: Path, text: str, name: str = "list.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table_may_have_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = ["\ufeffLabel, path ,start,end,note,split", "wave,a b.mp4,0:01:02.5,63,x,Validation"]
    text = "\r\n".join(row.replace(",", delimiter) for row in rows) + "\r\n\r\n"
    (row,) = read_annotations(annotation_file(tmp_path, text)).rows
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
        ("a.mp4,wave,1e999,,", "start must be a finite time, got '1e999'"),
        ("a.mp4,wave,1:75,,", "start must be seconds or h:mm:ss, got '1:75'"),
        ("a.mp4,wave,2,2,", "end must be after start, got 2 s to 2 s"),
        ("a.mp4,wave,,0,", "end must be after start, got 0 s to 0 s"),
        ("a.mp4,wave,,,later", "split must be train, val or test, got 'later'"),
        ("a, b.mp4,wave,,,train", "it has 6 cells, the header 5; quote cells that contain"),
        ('"a.mp4,wave', "unexpected end of data; this row and all later rows are skipped"),
    ],
)
def test_invalid_row_has_a_problem(tmp_path: Path, row: str, problem: str) -> None:
    text = f"path,label,start,end,split\ngood.mp4,wave\n{row}"
    good, bad = read_annotations(annotation_file(tmp_path, text)).rows
    assert (good.label, good.problem) == ("wave", "")
    assert bad.problem.startswith(problem)
    assert bad.location == "list.csv line 3"


def test_times_may_be_seconds_or_h_mm_ss() -> None:
    assert parse_bounds("83.5", 90) == (83.5, 90.0)
    assert parse_bounds("1:23.5", "1:01:00") == (83.5, 3660.0)
    assert parse_bounds("1,5", "5e1") == (
        1.5,
        50.0,
    )  # decimal comma, common in tables with semicolons
    assert parse_bounds("", None) == (None, None)
    with pytest.raises(ValueError, match="start must be seconds"):
        parse_bounds(True, None)


def test_lines_without_a_header_are_path_and_label(tmp_path: Path) -> None:
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
    *rows, last = read_annotations(annotation_file(tmp_path, text, "train.txt")).rows
    assert [(row.path, row.label) for row in rows] == list(lines.values())
    assert (last.location, last.problem) == ("train.txt line 9", "it should be a path and a label")


def test_parsing_a_long_invalid_line_is_fast(tmp_path: Path) -> None:
    (row,) = read_annotations(
        annotation_file(tmp_path, "a, ;" * 100_000 + "x.mp4 " * 10_000, "x.txt")
    ).rows
    assert len(row.problem) < 100


def test_file_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_text("path,label\n", encoding="utf-16")
    (tmp_path / "latin.csv").write_bytes("path,label\ngrüßen".encode("latin-1"))
    for name in ("excel.csv", "latin.csv"):
        with pytest.raises(ValueError, match="is not UTF-8 text; save it as CSV in UTF-8"):
            read_annotations(tmp_path / name)


def test_invalid_path_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    long = "x" * 5000
    data = read_data(
        annotation_file(tmp_path, f"path,label\na.mp4,wave\n{long}.mp4,wave\n.,wave\n")
    )
    assert len(data.examples) == 1
    assert [problem.split(":")[0] for problem in data.problems] == [
        "list.csv line 3",
        "list.csv line 4",
    ]


def test_table_without_a_path_column_is_rejected(tmp_path: Path) -> None:
    file = annotation_file(tmp_path, "video,label,start,end\na.mp4,wave,0,5\n")
    with pytest.raises(ValueError, match=r"no column path; rename .* \(columns: video, label"):
        read_annotations(file)
    (row,) = read_annotations(annotation_file(tmp_path, "a.mp4,label\n")).rows
    assert (row.path, row.label) == ("a.mp4", "label")

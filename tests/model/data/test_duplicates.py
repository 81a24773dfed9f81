from __future__ import annotations

from pathlib import Path

from model.data.duplicates import copy_notes, duplicates
from model.data.examples import Example


def film(folder: Path, name: str, content: bytes, label: str = "a", **times: float) -> Example:
    (folder / name).write_bytes(content)
    return Example(folder / name, label, **times)  # type: ignore[arg-type]


def notes(*examples: Example) -> list[str]:
    return copy_notes(examples, duplicates(examples), lambda path: path.name)


def test_copies_are_found_by_their_bytes(tmp_path: Path) -> None:
    one = film(tmp_path, "1.mp4", b"same")
    other = film(tmp_path, "2.mp4", b"same")
    again = film(tmp_path, "2.mp4", b"same", start_s=3.0)
    rest = [
        film(tmp_path, "3.mp4", b"SAME"),  # of the same size
        film(tmp_path, "4.mp4", b"longer"),
        film(tmp_path, "5.mp4", b""),
        film(tmp_path, "6.mp4", b""),
        Example(tmp_path / "gone.mp4", "a"),
        Example(tmp_path / "\0.mp4", "a"),
    ]
    assert duplicates([again, *rest, other, one]) == [(one, other)]
    assert notes(one, other) == ["1 film is a copy of another, such as 2.mp4 of 1.mp4"]


def test_one_film_with_two_labels_is_told(tmp_path: Path) -> None:
    one = film(tmp_path, "1.mp4", b"same", "hop")
    assert notes(one, film(tmp_path, "2.mp4", b"same", "wave", start_s=1.0, end_s=2.0))[1:] == [
        "1.mp4 and 2.mp4 are the same film: hop in one, wave in the other"
    ]
    early = film(tmp_path, "1.mp4", b"same", "hop", end_s=1.0)
    assert len(notes(early, film(tmp_path, "2.mp4", b"same", "wave", start_s=1.0))) == 1


def test_a_stretch_with_two_labels_is_told(tmp_path: Path) -> None:
    one = film(tmp_path, "1.mp4", b"x", "hop", start_s=1.0, end_s=2.0)
    other = film(tmp_path, "1.mp4", b"x", "wave", start_s=1.0, end_s=2.0)
    assert notes(one, other) == ["1.mp4 has the same stretch twice: hop in one, wave in the other"]
    # Two things may happen at about the same time.
    assert notes(one, film(tmp_path, "1.mp4", b"x", "wave", start_s=1.0, end_s=2.5)) == []


def test_not_every_film_with_two_labels_is_named(tmp_path: Path) -> None:
    examples = [
        film(tmp_path, f"{label}{number}.mp4", str(number).encode(), label)
        for number in range(9)
        for label in ("hop", "wave")
    ]
    assert len(notes(*examples)) == 1 + 5 + 1
    assert notes(*examples)[-1] == "4 more films have two labels for the same pictures"

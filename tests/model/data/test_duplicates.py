from __future__ import annotations

from pathlib import Path

from model.data.duplicates import duplicate_notes, duplicates
from model.data.examples import Example


def video(folder: Path, name: str, content: bytes, label: str = "a", **times: float) -> Example:
    (folder / name).write_bytes(content)
    return Example(folder / name, label, **times)  # type: ignore[arg-type]


def notes(*examples: Example) -> list[str]:
    return duplicate_notes(examples, duplicates(examples), lambda path: path.name)


def test_copies_have_the_same_bytes(tmp_path: Path) -> None:
    one = video(tmp_path, "1.mp4", b"same")
    other = video(tmp_path, "2.mp4", b"same")
    again = video(tmp_path, "2.mp4", b"same", start_s=3.0)
    rest = [
        video(tmp_path, "3.mp4", b"SAME"),  # of the same size
        video(tmp_path, "4.mp4", b"longer"),
        video(tmp_path, "5.mp4", b""),
        video(tmp_path, "6.mp4", b""),
        Example(tmp_path / "missing.mp4", "a"),
        Example(tmp_path / "\0.mp4", "a"),
    ]
    assert duplicates([again, *rest, other, one]) == [(one, other)]
    assert notes(one, other) == ["1 video is a copy of another, such as 2.mp4 of 1.mp4"]


def test_copies_with_different_labels_get_a_note(tmp_path: Path) -> None:
    one = video(tmp_path, "1.mp4", b"same", "hop")
    assert notes(one, video(tmp_path, "2.mp4", b"same", "wave", start_s=1.0, end_s=2.0))[1:] == [
        "1.mp4 and 2.mp4 are the same video, labeled hop and wave"
    ]
    early = video(tmp_path, "1.mp4", b"same", "hop", end_s=1.0)
    assert len(notes(early, video(tmp_path, "2.mp4", b"same", "wave", start_s=1.0))) == 1


def test_segment_with_two_labels_gets_a_note(tmp_path: Path) -> None:
    one = video(tmp_path, "1.mp4", b"x", "hop", start_s=1.0, end_s=2.0)
    other = video(tmp_path, "1.mp4", b"x", "wave", start_s=1.0, end_s=2.0)
    assert notes(one, other) == ["1.mp4 has the same segment twice, labeled hop and wave"]
    # Overlapping segments may have different labels.
    assert notes(one, video(tmp_path, "1.mp4", b"x", "wave", start_s=1.0, end_s=2.5)) == []


def test_number_of_label_conflict_notes_is_limited(tmp_path: Path) -> None:
    examples = [
        video(tmp_path, f"{label}{number}.mp4", str(number).encode(), label)
        for number in range(9)
        for label in ("hop", "wave")
    ]
    assert len(notes(*examples)) == 1 + 5 + 1
    assert notes(*examples)[-1] == "4 more videos have two labels for the same frames"

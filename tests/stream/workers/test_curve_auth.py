from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.workers.curve_auth import KeysError, make, watch_keys, worker_keys


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_keys_are_made_in_pairs_that_know_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    assert make(folder) == (folder / "watch.keys", folder / "worker.keys")
    watch, worker = watch_keys(folder / "watch.keys"), worker_keys(folder / "worker.keys")
    assert watch is not None
    assert worker is not None
    assert watch.workers == {worker.public: "worker"}
    assert worker.watch == watch.public
    assert len({watch.public, watch.secret, worker.public, worker.secret}) == 4
    assert watch.secret not in repr(watch)
    assert worker.secret not in repr(worker)


def test_only_the_owner_may_look_at_keys_however_they_are_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(tmp_path / "keys")
        make(tmp_path / "keys", "gpu-2")
    finally:
        os.umask(before)
    assert mode(tmp_path / "keys") == 0o700
    assert {mode(file) for file in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_worker_is_added_and_taken_out_again_by_its_line(tmp_path: Path) -> None:
    make(tmp_path)
    watch_file = tmp_path / "watch.keys"
    watch_file.write_text(watch_file.read_text().rstrip("\n"))  # as some editors leave it
    assert make(tmp_path, "gpu-2") == (tmp_path / "gpu-2.keys",)
    watch, second = watch_keys(watch_file), worker_keys(tmp_path / "gpu-2.keys")
    assert watch is not None
    assert second is not None
    assert list(watch.workers.values()) == ["worker", "gpu-2"]
    assert (watch.workers[second.public], second.watch) == ("gpu-2", watch.public)
    left = [line for line in watch_file.read_text().splitlines() if "gpu-2" not in line]
    watch_file.write_text("\n".join(left))
    watch = watch_keys(watch_file)
    assert watch is not None
    assert list(watch.workers.values()) == ["worker"]


def test_the_first_worker_may_have_a_name(tmp_path: Path) -> None:
    assert [file.name for file in make(tmp_path, "gpu")] == ["watch.keys", "gpu.keys"]


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "gpu.keys").touch()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, words in (
        (None, "--worker NAME"),
        ("worker", "worker.keys is there already"),
        ("gpu", "gpu.keys is there already"),
        ("watch", "can't be a worker's name"),
        ("../gpu", "can't be a worker's name"),
        ("a\nb", "can't be a worker's name"),
    ):
        with pytest.raises(KeysError, match=words):
            make(tmp_path, name)
    (tmp_path / "worker.keys").unlink()
    with pytest.raises(KeysError, match="has a worker worker already; delete its line"):
        make(tmp_path, "worker")
    del before[tmp_path / "worker.keys"]
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_folder_where_others_may_write_is_no_place_for_keys(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeysError, match=r"others may write to .*; give a folder of your own"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeysError, match="file can't be written: File exists"):
        make(tmp_path / "file")
    with pytest.raises(KeysError, match="inside can't be written: Not a directory"):
        make(tmp_path / "file" / "inside")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, bits: int) -> None:
    make(tmp_path)
    (tmp_path / "watch.keys").chmod(bits)
    with pytest.raises(KeysError, match=r"others may read; `chmod 600 .*watch\.keys`"):
        watch_keys(tmp_path / "watch.keys")


def test_the_files_can_not_be_mixed_up(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(KeysError, match=r"is the file of a worker; the watch needs watch\.keys"):
        watch_keys(tmp_path / "worker.keys")
    with pytest.raises(KeysError, match="no line with the watch's key"):
        worker_keys(tmp_path / "watch.keys")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("secret ", "sceret ", "line 3 must be secret, public, watch or `worker NAME`"),
        ("watch ", "", "line 5 must be"),
        ("watch ", "worker a b ", "line 5 must be"),
        ("watch ", "watch #", "line 5 must be"),  # a key that is one too long
        ("watch ", "watch " + 40 * "#" + "\nworker a ", "line 5 must be"),  # too large a number
        ("public ", "# public ", "no line `public KEY`"),
        ("public ", "public rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n# ", "don't belong together"),
        (
            "secret ",
            "secret rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\nsecret ",
            "line 4 is .* twice",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_without_its_secret(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    make(tmp_path)
    file = tmp_path / "worker.keys"
    keys = worker_keys(file)
    assert keys is not None
    text = file.read_text()
    file.write_text(text.replace(f"\n{old}", f"\n{new}"))
    assert file.read_text() != text
    with pytest.raises(KeysError, match=words) as caught:
        worker_keys(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert keys.secret not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"\0" * 100, None])
def test_a_file_that_holds_no_keys_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "watch.keys"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(KeysError, match=r"watch\.keys .*") as caught:
        watch_keys(file)
    assert "\n" not in str(caught.value)

from __future__ import annotations

import os
import threading

import pytest

from stream.sources.opencv_capture import _VARIABLE, _Variable


def test_options_are_restored_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_VARIABLE, "user's value")
    variable = _Variable()
    with variable.set_to("our value"):
        assert os.environ[_VARIABLE] == "our value"
    assert os.environ[_VARIABLE] == "user's value"
    with variable.set_to(None):
        assert _VARIABLE not in os.environ
    assert os.environ[_VARIABLE] == "user's value"


def test_threads_with_the_same_options_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_VARIABLE, raising=False)
    variable, seen = _Variable(), []
    first_in, first_out, others_in = threading.Event(), threading.Event(), threading.Event()

    def use(value: str | None, inside: threading.Event, until: threading.Event | None) -> None:
        with variable.set_to(value):
            seen.append(os.environ.get(_VARIABLE))
            inside.set()
            if until is not None:
                until.wait(60)

    dead = threading.Thread(target=use, args=("tcp", first_in, first_out))
    dead.start()  # a dead camera, which is slow to open
    assert first_in.wait(60)
    use("tcp", others_in, None)  # enters while the first is still inside
    assert others_in.is_set()
    file_in = threading.Event()
    file = threading.Thread(target=use, args=(None, file_in, None))
    file.start()
    assert not file_in.wait(0.05)  # other options: it waits
    first_out.set()
    dead.join(60)
    file.join(60)
    assert seen == ["tcp", "tcp", None]
    assert _VARIABLE not in os.environ

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stream.runtime.registry import Registry


def test_each_module_of_the_package_registers_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_kinds").mkdir()
    (tmp_path / "toy_kinds" / "__init__.py").write_text(
        "from stream.runtime.registry import Registry\n"
        "KINDS: Registry[int] = Registry('kind', 'toy_kinds')\n"
    )
    for name, value in (("one", 1), ("two", 2)):
        (tmp_path / "toy_kinds" / f"{name}.py").write_text(
            f"from toy_kinds import KINDS\nKINDS.add({name!r}, {value})\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    import toy_kinds  # type: ignore[import-not-found]

    assert dict(toy_kinds.KINDS) == {"one": 1, "two": 2}
    for name in [one for one in sys.modules if one.startswith("toy_kinds")]:
        monkeypatch.delitem(sys.modules, name)


def test_name_is_used_once() -> None:
    registry: Registry[int] = Registry("kind", "stream.runtime")
    registry.add("a", 1)
    with pytest.raises(ValueError, match="kind 'a' is registered already"):
        registry.add("a", 2)
    registry.remove("a")
    assert registry.add("a", 2) == 2

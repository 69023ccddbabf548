"""Code that a step's result depends on has changed: either the result changes (bump VERSION), or it does not (re-pin)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner import steps
from tests.engine import pin


@pytest.mark.parametrize("kind", sorted(set(steps.KINDS) - {"toy"}))
def test_the_closure_of_a_step_is_pinned(kind: str) -> None:
    if not pin.PINS.exists():
        pytest.fail("tests/engine/pins.json is missing: python -m tests.engine.pin")
    pinned = json.loads(pin.PINS.read_text())
    if pinned["python"] != pin.python():
        pytest.skip(f"the pins were made with Python {pinned['python']}")
    now = pin.pins()[kind]
    assert pinned["pins"].get(kind) == now, (
        f"what `{kind}` imports has changed. If its results change, bump VERSION in {steps.KINDS[kind].replace('.', '/')}.py; "
        "then, or if they do not, re-pin: python -m tests.engine.pin"
    )


def test_what_a_closure_takes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "runner/__init__.py": "",
        "runner/steps/__init__.py": "import runner.far",
        "runner/steps/a.py": "from runner.errors import X\ndef run():\n    from runner.lib import work\n",
        "runner/lib/__init__.py": "from .inner import work\nTABLE = {'x': 'runner.lazy'}\n",
        "runner/lib/inner.py": '"""Doc."""\nwork = 1  # comment\n',
        "runner/lib/page.j2": "page",
        "runner/lazy.py": "",
        "runner/far.py": "",
        "runner/errors.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(pin, "ROOT", tmp_path)
    for cached in (pin.source, pin.path, pin.code):
        cached.cache_clear()
    try:
        assert pin.closure("runner.steps.a") == {"runner.steps.a", "runner.lib", "runner.lib.inner", "runner.lazy"}
        before = pin.code("runner.lib.inner")
        assert [path.name for path in pin.package_data("runner.lib")] == ["page.j2"]
        (tmp_path / "runner/lib/inner.py").write_text('"""Other words."""\n\nwork   = 1\n')
        pin.source.cache_clear()
        pin.code.cache_clear()
        assert pin.code("runner.lib.inner") == before
        (tmp_path / "runner/lib/inner.py").write_text("work = 2\n")
        pin.source.cache_clear()
        pin.code.cache_clear()
        assert pin.code("runner.lib.inner") != before
    finally:
        for cached in (pin.source, pin.path, pin.code):
            cached.cache_clear()

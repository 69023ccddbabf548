"""Row 22 of the faults: a planted canary is found in no artifact, log, manifest, event or report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from runner.engine import Store, run
from runner.engine.scrub import LogFile, Scrubber
from tests.engine.toys.building import instance, recipe

CANARY = 'canary/7f3a+9c"d1e2f4'


def test_only_secret_variables_and_no_ordinary_words() -> None:
    scrubber = Scrubber({"GOOGLE_API_KEY": CANARY, "HF_TOKEN": "hf_abcdefgh", "A_KEY": "no", "HOME": "/home/someone", "KEYBOARD": "qwertz"})
    assert (
        scrubber.text(f"key={CANARY}, hf_abcdefgh, no, /home/someone, qwertz")
        == "key=[GOOGLE_API_KEY], [HF_TOKEN], no, /home/someone, qwertz"
    )
    assert scrubber.text("url?key=canary%2F7f3a%2B9c%22d1e2f4") == "url?key=[GOOGLE_API_KEY]"
    assert scrubber.plain({"a": [CANARY], CANARY: 1}) == {"a": ["[GOOGLE_API_KEY]"], "[GOOGLE_API_KEY]": 1}


def test_a_secret_may_be_added_while_another_thread_writes(tmp_path: Path) -> None:
    scrubber = Scrubber({f"ADDED_{n}": f"canary-{n:04}-" * 5 for n in range(40)})
    log, stop, raised = LogFile(tmp_path / "log", scrubber), threading.Event(), []

    def write() -> None:
        try:
            while not stop.is_set():
                log.write(b"canary-")
        except RuntimeError as error:  # "dictionary changed size during iteration"
            raised.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for n in range(40):
            scrubber.add(f"ADDED_{n}")
    finally:
        stop.set()
        writer.join()
    log.close()
    assert raised == []
    assert len(scrubber.needles()) == 40


@pytest.mark.parametrize("cut", range(1, len(CANARY)))
def test_a_secret_that_comes_in_pieces(tmp_path: Path, cut: int) -> None:
    log = LogFile(tmp_path / "log", Scrubber({"X_KEY": CANARY}))
    for piece in (b"before ", CANARY[:cut].encode(), CANARY[cut:].encode(), b" after, can"):
        log.write(piece)
    log.close()
    assert (tmp_path / "log").read_text() == "before [X_KEY] after, can"


@pytest.mark.parametrize(("wrong", "variable"), [("say-secret", "MY_API_KEY"), ("say-secret", "UNUSUAL_NAME"), ("leak", "MY_API_KEY")])
@pytest.mark.parametrize("fails", ["", "1"])
def test_the_canary_is_nowhere(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch, wrong: str, variable: str, fails: str) -> None:
    monkeypatch.setenv(variable, CANARY)
    monkeypatch.setenv("TOY_FAILS", fails)
    seen: list[Any] = []
    result = run(recipe(root, instance("a", wrong=wrong, secret=variable)), store, listener=seen.append)
    assert result.instances["a"].state == ("failed" if fails or wrong == "leak" else "done")
    spellings = [CANARY.encode(), b"canary%2F7f3a%2B9c%22d1e2f4", b'canary/7f3a+9c\\"d1e2f4']
    for path in (path for path in store.path.rglob("*") if path.is_file() and "work" not in path.parts):
        assert not any(spelling in path.read_bytes() for spelling in spellings), path
    assert CANARY not in repr(seen)
    assert CANARY not in repr(result)
    if wrong == "say-secret":
        log = (result.folder / "logs/a.log").read_text()  # type: ignore[operator]
        assert f"[{variable}]" in log
    else:
        assert result.instances["a"].error == {
            "message": f"the step wrote the value of {variable} into provenance/leak",
            "remedy": "nothing was kept; a secret never goes to a file",
        }


def test_an_unset_variable_is_told(root: Path, store: Store) -> None:
    result = run(recipe(root, instance("a", wrong="say-secret", secret="NOT_SET_KEY")), store)
    assert result.instances["a"].error == {
        "message": "the environment variable NOT_SET_KEY is not set",
        "remedy": "export NOT_SET_KEY=... before the run",
    }

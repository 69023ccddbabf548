from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from runner.errors import StepError
from runner.training.hub import cached, fetch
from runner.training.listener import Nobody
from tests.training.hub_server import COMMIT, Hub, hub


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    files = {
        "config.json": b"{}",
        "model.safetensors": b"w" * 1000,
        "pytorch_model.bin": b"pickle",
        "modeling.py": b"code",
        "README.md": b"#",
    }
    with hub("team/small", files) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server


def test_safetensors_and_configuration_are_fetched_and_nothing_else(server: Hub) -> None:
    snapshot = fetch("team/small", "v1")
    assert snapshot.revision == COMMIT
    assert sorted(path.name for path in snapshot.folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not any("pytorch_model" in request or "modeling" in request for request in server.requests)


def test_what_was_fetched_is_found_without_a_network(server: Hub) -> None:
    folder = fetch("team/small", "v1").folder
    before = len(server.requests)
    assert fetch("team/small", "v1", offline=True).folder == folder
    assert fetch("team/small", "v1", offline=True).revision == COMMIT
    assert cached("team/small", COMMIT) == folder
    assert len(server.requests) == before


def test_progress_is_in_bytes_with_a_total(server: Hub) -> None:
    class Told(Nobody):
        seen: tuple[tuple[float, float | None, str], ...] = ()

        def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
            self.seen += ((done, total, unit),)

    told = Told()
    fetch("team/small", listener=told)
    assert told.seen[-1] == (1002, 1002, "bytes")
    assert [done for done, _, _ in told.seen] == sorted(done for done, _, _ in told.seen)


def test_refusals_in_words(server: Hub) -> None:
    for arguments, message in (
        (("team/none", None), "the hub has no model team/none, or it is private"),
        (("team/small", "v9"), "team/small has no revision v9 on the hub"),
    ):
        with pytest.raises(StepError) as caught:
            fetch(*arguments)
        assert caught.value.message == message
    del server.files["model.safetensors"]
    with pytest.raises(StepError, match="team/small on the hub has no safetensors"):
        fetch("team/small")
    with pytest.raises(StepError, match="team/small at revision v7 is not in the hub's cache"):
        cached("team/small", "v7")


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StepError, match="team/small cannot be fetched from the hub: ConnectError"):
        fetch("team/small")

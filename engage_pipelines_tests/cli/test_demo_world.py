"""The world of the demonstration: the same folder is the same world, another shop is another one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from engage_pipelines.cli.demo_world import Shop, World, made_up, online_retail, running_world
from engage_pipelines.cli.sandbox_command import left_shop
from engage_pipelines.errors import ConfigError
from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings


def _receipts(world: World) -> int:
    count: int = world.ask("square")["all"]["receipts"]
    return count


def _visit(data: Path, shop: Shop) -> int:
    with running_world(data, shop, on_filling=lambda done, total: None) as world:
        Desk(load_settings(world.config)).check()
        return _receipts(world)


@pytest.fixture(autouse=True)
def _environment_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # The world points this process at its settings; whoever comes after is not to see that.
    monkeypatch.setenv("ENGAGE_CONFIG", "")


def test_another_shop_starts_afresh_and_the_same_one_goes_on(tmp_path: Path) -> None:
    assert _visit(tmp_path, made_up(60)) == 60
    state = tmp_path / "demo" / "state"
    state.mkdir()
    (state / "state.db").touch()
    (tmp_path / "dagster").mkdir()
    assert _visit(tmp_path, made_up(60)) == 60
    assert (state / "state.db").exists()
    assert left_shop(tmp_path, None, 1).receipts == 60
    assert _visit(tmp_path, made_up(70)) == 70
    assert not state.exists()
    assert not (tmp_path / "dagster").exists()


def test_one_folder_is_one_world_at_a_time(tmp_path: Path) -> None:
    with running_world(tmp_path, made_up(60), on_filling=lambda done, total: None) as world:
        with pytest.raises(ConfigError, match="demo is in use by another `engage demo`") as refused:
            _visit(tmp_path, made_up(70))
        assert "--data" in str(refused.value)
        # The other shop has not touched this one's.
        assert _receipts(world) == 60


def test_a_port_that_another_program_took_is_left_to_it(tmp_path: Path) -> None:
    assert _visit(tmp_path, made_up(60)) == 60
    port = tmp_path / "demo" / "port"
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(port.read_text())))
        other.listen()
        taken = port.read_text()
        assert _visit(tmp_path, made_up(60)) == 60
        assert port.read_text() != taken


def test_a_shop_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.parquet"):
        online_retail(tmp_path / "nothing.parquet")

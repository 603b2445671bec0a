"""The commands against the stand-ins, in processes of their own: output, exit codes, and what they send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from engage_pipelines.cli.application import app
from engage_pipelines.model import TABLES
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import KEYS, calls_of, write_settings
from engage_pipelines_tests.scripted_vendor import scripted_vendor

ROOT = Path(__file__).parents[2]
DAYS = ("--from", small_shop.FIRST_DAY.isoformat(), "--to", small_shop.LAST_DAY.isoformat())
COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Engage:
    """The command line in a folder with settings."""

    folder: Path

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENGAGE_", "DAGSTER_")) and k not in KEYS}
        return subprocess.run(
            [sys.executable, "-c", "from engage_pipelines.cli import main; main()", *arguments],
            cwd=self.folder, env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        """Run with `--json`; standard output is JSON and nothing else."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def engage(sandbox: Sandbox, tmp_path: Path) -> Engage:
    write_settings(sandbox.url, tmp_path)
    return Engage(tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Engage:
    """A folder without anything."""
    return Engage(tmp_path)


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error, which is the whole of what the command said; joined where the terminal's width broke it."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_the_list_of_commands_is_known() -> None:
    names = "alert check deliver demo dev diverged load publish pull rejected resolve sandbox status tables trace"
    assert names.split() == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    text = get_command(app).commands[command].help or ""  # type: ignore[attr-defined]
    assert "Example" in text
    assert f"engage {command}" in text


def test_help_is_printed_and_is_no_error(bare: Engage) -> None:
    done = bare("deliver", "--help")
    assert done.returncode == 0
    assert "engage deliver aiq" in done.stdout
    assert "--dry-run" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("pull",), ("pull", "square", "--from", "yesterday"), ("deliver", "aiq", "--nonsense")]
)
def test_a_wrong_command_line_ends_with_2(bare: Engage, arguments: tuple[str, ...]) -> None:
    assert bare(*arguments).returncode == 2


def test_a_complete_installation_passes_the_check_without_a_call(engage: Engage, sandbox: Sandbox) -> None:
    told = engage.json("check")
    assert told["problems"] == []
    assert told["sources"]["square"][0] == "locations"
    assert sorted(told["destinations"]) == ["aiq", "crmcom", "voyado"]
    done = engage("check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Settings and keys are complete." in done.stderr
    assert sum(calls_of(sandbox, vendor) for vendor in sandbox.frames) == 0


def test_the_check_names_everything_that_is_missing_and_ends_with_3(engage: Engage) -> None:
    (engage.folder / ".env").write_text("SQUARE_ACCESS_TOKEN=x\n")
    done = engage("check")
    assert done.returncode == 3
    assert "CredentialsError: missing AIQ_API_KEY, CRMCOM_WEB_API_KEY, VOYADO_API_KEY: set it" in done.stderr
    as_json = engage("check", "--json")
    assert as_json.returncode == 3
    assert [problem["error"] for problem in json.loads(as_json.stdout)["problems"]] == ["CredentialsError"]


def test_a_misspelt_platform_is_refused_by_every_command(engage: Engage) -> None:
    file = engage.folder / "engage.toml"
    file.write_text(file.read_text().replace("[destinations.voyado]", "[destinations.voyadoo]"))
    for command in (("check",), ("status",), ("deliver", "aiq")):
        done = engage(*command)
        assert done.returncode == 3
        assert "[destinations] voyadoo: unknown; did you mean voyado?" in _one_line(done)


def test_an_alert_goes_to_the_chat(engage: Engage) -> None:
    missing = engage("alert")
    assert missing.returncode == 3
    assert "CredentialsError: missing ENGAGE_ALERT_WEBHOOK" in _one_line(missing)
    with scripted_vendor((200, b"ok")) as chat:
        sent = [engage("alert", *text, ENGAGE_ALERT_WEBHOOK=f"{chat.url}/hook") for text in ((), ("look at this",))]
    assert [done.returncode for done in sent] == [0, 0]
    first, second = (asked.json()["text"] for asked in chat.asked)
    assert first.startswith("engage_pipelines: a test.")
    assert second == "look at this"


def test_the_journey_step_by_step(engage: Engage, sandbox: Sandbox) -> None:
    pulled = engage.json("pull", "square", *DAYS)
    assert {row["entity"]: row["records"] for row in pulled}["orders"] == small_shop.RECEIPTS
    loaded = engage.json("load", "square", *DAYS)
    assert {row["entity"]: row["changed"] for row in loaded}["orders"] == small_shop.RECEIPTS

    before = {vendor: calls_of(sandbox, vendor) for vendor in sandbox.frames}
    planned = engage.json("deliver", "aiq", *DAYS, "--dry-run")
    assert {row["flow"]: row["new"] for row in planned}["aiq/sales"] == small_shop.RECEIPTS - 2 + 1
    assert {vendor: calls_of(sandbox, vendor) for vendor in sandbox.frames} == before
    assert sandbox.stand_ins["aiq"].report()["sales"] == 0

    delivered = engage.json("deliver", "aiq", *DAYS)
    assert {row["flow"]: row["accepted"] for row in delivered}["aiq/sales"] == small_shop.RECEIPTS - 2 + 1
    assert sandbox.stand_ins["aiq"].report()["sales"] == small_shop.RECEIPTS - 2 + 1
    again = engage.json("deliver", "aiq", "--all")
    assert [row["calls"] for row in again] == [0, 0, 0]

    seen = engage.json("status")
    assert seen["needs_a_person"] is False
    assert seen["books"]["core"]["receipts"] == small_shop.RECEIPTS - 2 + 1
    published = engage.json("publish")
    assert Path(published["file"]).exists()
    assert published["rows"]["core.transactions"] == small_shop.RECEIPTS + 1


def test_pulling_and_loading_side_by_side_is_the_same_as_one_after_the_other(engage: Engage) -> None:
    done = engage.json("pull", "square", *DAYS, "--load")
    for step, count in (("pulled", "records"), ("loaded", "changed")):
        assert {row["entity"]: row[count] for row in done[step]}["orders"] == small_shop.RECEIPTS
    assert [row["entity"] for row in done["pulled"]] == [row["entity"] for row in done["loaded"]]
    again = engage.json("load", "square", *DAYS)
    assert [row["changed"] for row in again if row["entity"] in {"orders", "payments", "refunds"}] == [0, 0, 0]
    for extra in ((), ("--reread",)):
        anew = engage.json("load", "square", "orders", *DAYS, "--anew", *extra)
        assert [row["changed"] for row in anew] == [small_shop.RECEIPTS]
    for_people = engage("pull", "square", "orders", *DAYS, "--load").stderr
    assert "Pulled" in for_people
    assert "Loaded" in for_people


def test_history_goes_by_month(engage: Engage, sandbox: Sandbox) -> None:
    engage.json("pull", "square", *DAYS)
    engage.json("load", "square", *DAYS)
    engage.json("deliver", "voyado", "stores")
    rows = engage.json("deliver", "voyado", "contact_history", "receipt_history", "--month", "2024-03")
    assert [row["flow"] for row in rows] == ["voyado/contact_history", "voyado/receipt_history"]
    assert sandbox.stand_ins["voyado"].report()["receipts_by_channel"] == {"file": rows[1]["accepted"]}
    missing = engage("deliver", "voyado", "receipt_history")
    assert (missing.returncode, "--month 2026-09" in _one_line(missing)) == (3, True)
    assert engage("deliver", "voyado", "receipt_history", "--month", "March").returncode == 3


def test_tables_for_people_go_to_standard_error_and_bars_break_nothing(engage: Engage) -> None:
    done = engage("pull", "square", "orders", *DAYS)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Pulled" in done.stderr
    assert "\x1b" not in done.stderr


def test_missing_settings_and_keys_end_with_3_in_one_line(bare: Engage) -> None:
    done = bare("pull", "square")
    assert done.returncode == 3
    assert _one_line(done).startswith("ConfigError:")
    assert "engage.toml" in _one_line(done)


@pytest.mark.parametrize("name", KEYS)
def test_a_missing_key_is_named_before_anything_is_pulled(
    engage: Engage, sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    (tmp_path / ".env").write_text("".join(f"{key}={value}\n" for key, value in KEYS.items() if key != name))
    done = engage("pull", "square", *DAYS)
    assert done.returncode == 3
    assert _one_line(done).startswith("CredentialsError:")
    assert name in _one_line(done)
    assert [calls_of(sandbox, vendor) for vendor in sandbox.frames] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("pull", "nonsense"), "square"),
        (("pull", "square", "nonsense"), "inventory_counts"),
        (("deliver", "nonsense"), "crmcom"),
        (("deliver", "aiq", "nonsense"), "personas"),
        (("pull", "square", "--from", "2024-04-02", "--to", "2024-04-01"), "before"),
    ],
)
def test_a_wrong_name_says_which_there_are(engage: Engage, arguments: tuple[str, ...], word: str) -> None:
    done = engage(*arguments)
    assert done.returncode == 3
    assert word in _one_line(done)


@pytest.mark.parametrize("arguments", [("pull", "nonsense"), ("pull", "square", "nonsense"), ("deliver", "aiq", "x")])
def test_a_wrong_name_is_told_before_missing_keys(engage: Engage, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / ".env").unlink()
    assert _one_line(engage(*arguments)).startswith("ConfigError:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("deliver", "aiq", "sales", "--all", "--from", "2024-04-01"), "say one or the other"),
        (("deliver", "aiq", "sales", "--month", "2024-03"), "aiq sales goes by --from and --to"),
        (("load", "square", "--from", "2124-04-01"), "--from 2124-04-01 is in the future"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    engage: Engage, sandbox: Sandbox, arguments: tuple[str, ...], words: str
) -> None:
    done = engage(*arguments)
    assert done.returncode == 3
    assert words in _one_line(done)
    assert calls_of(sandbox, "aiq") == 0


def test_fields_are_read_whole_without_a_wide_terminal(engage: Engage) -> None:
    loaded = engage("pull", "square", *DAYS, "--load").stderr
    planned = engage("deliver", "aiq", *DAYS, "--dry-run").stderr
    delivered = engage("deliver", "aiq", *DAYS).stderr
    for text, words in (
        (loaded, ["inventory_counts", "quarantined", "transaction_lines: "]),
        (planned, ["aiq/personas", "aiq/inventory", "source_records", "First of aiq/sales"]),
        (delivered, ["aiq/personas", "aiq/inventory", "source_records", "minimal_calls"]),
    ):
        assert [word for word in words if word not in text] == []
        assert max(map(len, text.split("First of")[0].splitlines())) <= 120


def test_a_wrong_key_ends_with_3(engage: Engage, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{key}=wrong-{key}\n" for key in KEYS))
    done = engage("pull", "square", "locations")
    assert done.returncode == 3
    assert "wrong-SQUARE" not in done.stderr


def test_a_vendor_that_asks_to_come_back_much_later_ends_with_4(engage: Engage, sandbox: Sandbox) -> None:
    sandbox.add_fault("square", kind="throttle", retry_after=86_400)
    done = engage("pull", "square", "locations")
    assert done.returncode == 4
    assert "RetryableError" in _one_line(done)


def test_a_vendor_that_breaks_its_contract_ends_with_5(engage: Engage, sandbox: Sandbox) -> None:
    sandbox.add_fault("square", kind="broken_json")
    done = engage("pull", "square", "locations")
    assert done.returncode == 5
    assert "ContractError" in _one_line(done)


def test_something_that_needs_a_person_ends_with_1(engage: Engage, sandbox: Sandbox) -> None:
    sandbox.add_fault("square", kind="missing_rows", route="orders/search", times=1)
    engage.json("pull", "square", "locations", *DAYS)
    engage.json("pull", "square", "orders", *DAYS)
    done = engage("load", "square", "locations", "orders", *DAYS)
    assert done.returncode == 1
    assert "IncompleteError" in _one_line(done)
    status = engage("status", "--json")
    assert status.returncode == 1
    assert json.loads(status.stdout)["incomplete"] == 1


def test_status_works_before_anything_was_done(engage: Engage) -> None:
    assert engage.json("status")["needs_a_person"] is False
    assert engage("status").returncode == 0


def test_tables_are_listed_in_three_forms(bare: Engage) -> None:
    listed = bare.json("tables")
    assert [f"{table['schema']}.{table['name']}" for table in listed] == [table.full_name for table in TABLES]
    markdown = bare("tables", "--markdown")
    assert markdown.stdout == (ROOT / "docs" / "tables.md").read_text()
    assert bare("tables").returncode == 0


def test_the_settings_file_can_be_named(engage: Engage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Engage(elsewhere)
    assert other("status", "--json").returncode == 3
    assert other("status", "--json", "--config", str(tmp_path / "engage.toml")).returncode == 0
    assert other("status", "--json", ENGAGE_CONFIG=str(tmp_path / "engage.toml")).returncode == 0

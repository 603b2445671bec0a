"""`engage rejected`, `engage resolve`, `engage diverged` against the stand-ins: output, exit codes, what is sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from engage_pipelines.cli.application import app
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.cli.test_commands import Engage
from engage_pipelines_tests.installation import listed, write_settings

BAD = ("square:O40", "square:O07")
COMMANDS = [
    ("rejected", name) for name in ("list", "show", "fix", "replay", "discard")
] + [("diverged", "list")]  # fmt: skip


@pytest.fixture
def engage(sandbox: Sandbox, tmp_path: Path, loaded_folder: Path) -> Engage:
    """The week is loaded, and AIQ takes it but for two receipts."""
    shutil.copytree(loaded_folder / "data", tmp_path / "data")
    write_settings(sandbox.url, tmp_path, voyado={"match_key_type": "email"})
    engage = Engage(tmp_path)
    sandbox.add_fault("aiq", kind="row_errors", route="createUpdateSale", keys=list(BAD))
    assert engage.json("deliver", "aiq", "sales", "--all")[0]["rejected"] == 2
    return engage


def _said(done: Any) -> str:
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_every_command_explains_itself_with_an_example(group: str, name: str) -> None:
    text = get_command(app).commands[group].commands[name].help or ""  # type: ignore[attr-defined]
    assert "Example" in text
    assert f"engage {group} {name}" in text


def test_refused_records_are_listed_put_right_and_sent_again(engage: Engage, sandbox: Sandbox, tmp_path: Path) -> None:
    table = engage("rejected", "list")
    assert (table.returncode, table.stdout) == (0, "")
    assert "2 records." in _said(table)
    assert "AIQ: POST" in _said(table)
    found = engage.json("rejected", "list", "aiq", "sales", "--code", "400")
    assert sorted(each["record_key"] for each in found) == sorted(BAD)
    assert found[0]["attempt_count"] == 1
    assert found[0]["first_attempt_at"] <= found[0]["last_attempt_at"]
    assert len(engage.json("rejected", "list", "--limit", "1")) == 1
    assert engage.json("rejected", "list", "--code", "none-such") == []
    assert "1 of 2 records shown" in _said(engage("rejected", "list", "--limit", "1"))

    shown = engage("rejected", "show", "aiq", "sales", BAD[0])
    assert json.loads(shown.stdout)["visit"]["pos_user"] == "•••"
    revealed = engage("rejected", "show", "aiq", "sales", BAD[0], "--reveal").stdout
    assert '"transaction_total": 18.8000' in revealed
    (tmp_path / "payload.json").write_text(revealed.replace('"London"', '"Soho"'))
    fixed = engage.json("rejected", "fix", "aiq", "sales", BAD[0], "--payload", "payload.json")
    assert fixed["payload"]["visit"]["location"] == "Soho"
    assert engage("rejected", "fix", "aiq", "sales", BAD[1], "--set", "visit.location=Camden").returncode == 0

    again = engage("rejected", "replay", "aiq", "sales", BAD[0], "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["refused"] == 1
    sandbox.clear_faults("aiq")
    done = engage("rejected", "replay", "aiq", "sales", "--all")
    assert (done.returncode, "1 record, 0 refused again" in _said(done)) == (0, True)
    assert engage.json("deliver", "aiq", "sales", "--all")[0]["accepted"] == 1
    assert engage.json("rejected", "list") == []
    held = {row["key"]: row["times_received"] for row in listed(sandbox, "aiq", "sales")}
    assert [held[key] for key in BAD] == [1, 1]
    assert "Nothing waits." in _said(engage("rejected", "list"))


def test_refused_records_are_put_aside_with_a_reason(engage: Engage, sandbox: Sandbox) -> None:
    assert engage("rejected", "discard", "aiq", "sales", "--all").returncode == 2
    put_aside = engage.json("rejected", "discard", "aiq", "sales", "--code", "400", "--because", "old")
    assert put_aside == {"records": 2}
    assert engage.json("rejected", "list") == []
    aside = engage.json("rejected", "list", "--discarded")
    assert all(each["reason"].startswith("discarded: old (was: AIQ") for each in aside)
    sandbox.clear_faults("aiq")
    assert engage.json("deliver", "aiq", "sales", "--all")[0]["calls"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rejected", "list", "acme"), "no enabled destination 'acme'"),
        (("rejected", "list", "aiq", "receipts"), "aiq has no stream 'receipts'"),
        (("rejected", "show", "aiq", "sales", "square:O01"), "square:O01 is neither refused nor in doubt"),
        (("rejected", "replay", "aiq", "sales"), "name the records, or say --all"),
        (("rejected", "replay", "aiq", "sales", "square:O40", "--all"), "name the records, or say --all"),
        (("rejected", "replay", "aiq", "sales", "square:O01"), "not refused: square:O01"),
        (("rejected", "discard", "aiq", "sales", "--all", "--because", " "), "--because"),
        (("rejected", "fix", "aiq", "sales", "square:O40"), "--set path=value"),
        (("rejected", "fix", "aiq", "sales", "square:O40", "--set", "visit.x.y=1"), "there is no 'x'"),
        (("rejected", "fix", "aiq", "sales", "square:O40", "--payload", "gone.json"), "gone.json: cannot be read"),
        (("rejected", "fix", "aiq", "sales", "square:O40", "--payload", "-", "--set", "a=1"), "give one of them"),
        (("resolve", "aiq", "sales", "square:O40"), "say --sent"),
        (("resolve", "aiq", "sales", "--sent"), "say --all and name none"),
        (("resolve", "aiq", "--all", "--sent"), "name destination and stream"),
        (("resolve", "aiq", "sales", "square:O40", "--sent"), "not in doubt: square:O40"),
        (("diverged", "list", "acme"), "no enabled destination 'acme'"),
    ],
)
def test_a_wrong_key_or_stream_ends_with_3_and_names_the_way_out(
    engage: Engage, arguments: tuple[str, ...], words: str
) -> None:
    done = engage(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert words in _said(done)


def test_a_lost_answer_waits_for_a_person_where_that_is_the_policy(engage: Engage, sandbox: Sandbox) -> None:
    write_settings(sandbox.url, engage.folder, aiq={"in_doubt": {"sales": "hold"}, "batch_items": {"sales": 1}})
    sandbox.clear_faults("aiq")
    sandbox.add_fault("aiq", kind="broken_json", route="createUpdateSale")
    lost = engage("rejected", "replay", "aiq", "sales", "--all")
    assert lost.returncode == 1
    assert "UnknownOutcomeError" in _said(lost)
    sandbox.clear_faults("aiq")

    assert engage("deliver", "aiq", "sales", "--all").returncode == 1
    assert sorted(each["record_key"] for each in engage.json("resolve")) == sorted(BAD)
    status = engage("status")
    assert (status.returncode, "aiq/sales │ 2 │ hold" in _said(status)) == (1, True)
    assert "Way out: engage resolve [DESTINATION STREAM KEY --sent|--not-sent]" in _said(status)
    assert engage.json("resolve", "aiq", "sales", BAD[0], "--sent") == {"records": 1}
    assert engage.json("resolve", "aiq", "sales", "--all", "--not-sent") == {"records": 1}
    done = engage.json("deliver", "aiq", "sales", "--all")[0]
    assert (done["accepted"], done["in_doubt"]) == (1, 0)
    held = {row["key"]: row["times_received"] for row in listed(sandbox, "aiq", "sales")}
    assert [held[key] for key in BAD] == [1, 2]
    assert "Nothing waits." in _said(engage("resolve"))


def test_nobody_can_be_identified_in_any_list(engage: Engage, sandbox: Sandbox) -> None:
    sandbox.add_fault("aiq", kind="row_errors", share=1.0)
    sandbox.add_fault("voyado", kind="row_errors", route="api/v3/receipts", share=1.0)
    engage("deliver", "aiq", "personas", "--all")
    engage("deliver", "voyado", "stores", "contacts", "--all")
    engage("deliver", "voyado", "receipts", "--all")
    said = ""
    for arguments in (("rejected", "list"), ("rejected", "list", "--json"), ("status",), ("diverged", "list")):
        said += _said(engage(*arguments))
    assert "wilhelmina" not in said.lower()
    assert [value for value in small_shop.personal_values() if value in said] == []
    key = engage.json("rejected", "list", "voyado", "receipts")[0]["record_key"]
    assert "@shop-of-tests.example" not in _said(engage("rejected", "show", "voyado", "receipts", key))
    assert "@shop-of-tests.example" in _said(engage("rejected", "show", "voyado", "receipts", key, "--reveal"))


def test_status_shows_what_waits_with_its_way_out_and_a_refusal_alone_is_no_alarm(engage: Engage) -> None:
    done = engage("status")
    assert done.returncode == 0
    assert "aiq/sales │ 2 │ 400" in _said(done)
    assert "Way out: engage rejected list" in _said(done)
    seen = engage.json("status")
    assert [(pile["stream"], pile["vendor_code"], pile["records"]) for pile in seen["rejected"]] == [
        ("sales", "400", 2)
    ]
    assert (seen["in_doubt"], seen["diverged"], seen["needs_a_person"]) == ([], [], False)


def test_a_receipt_that_changed_after_delivery_is_listed_with_both_versions(engage: Engage, sandbox: Sandbox) -> None:
    engage.json("deliver", "voyado", "stores", "contacts", "receipts", "--all")
    assert engage.json("diverged", "list") == []
    assert "Nothing waits." in _said(engage("diverged", "list"))
    # The rate of the books changes what every receipt in another currency is worth.
    settings = engage.folder / "engage.toml"
    settings.write_text(settings.read_text().replace('"0.85"', '"0.86"'))
    count = engage.json("deliver", "voyado", "receipts", "--all")[0]["diverged"]
    found = engage.json("diverged", "list", "voyado", "receipts")
    assert len(found) == count > 0
    assert found[0]["held"]["exchangeRateToGroupCurrency"] == "0.85000000"
    assert found[0]["now"]["exchangeRateToGroupCurrency"] == "0.86000000"
    assert [each["path"] for each in found[0]["differences"]] == ["exchangeRateToGroupCurrency"]
    table = engage("diverged", "list", "--limit", "1")
    assert "exchangeRateToGroupCurrency:" in _said(table)
    assert f"1 of {count} records shown" in _said(table)
    assert "engage diverged list" in _said(engage("status"))

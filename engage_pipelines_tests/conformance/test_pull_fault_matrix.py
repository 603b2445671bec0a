"""Every fault at every list of every till: a window is whole or it is open, and nothing is ever silently missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Entity, Source
from engage_pipelines.errors import ContractError, CredentialsError, EngageError, IncompleteError, RetryableError
from engage_pipelines.ingest import Spool
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.sense import kinds_for
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests.conformance.conftest import Witness
from engage_pipelines_tests.conformance.vendors import ENTITIES, SHORT_TIMEOUT, TILLS, WINDOWED, name_of
from engage_pipelines_tests.installation import desk_of, fast_source
from engage_pipelines_tests.small_shop import DAYS

# Window -> records and proofs in it.
Windows = dict[str, tuple[int, int | None]]


@dataclass(frozen=True)
class Case:
    """One kind of fault.

    Attributes:
        rule: the rule without its route.
        error: that ends a pull which it lasts through.
        once: what differs in the rule that strikes once.
        survives: whether a pull that it strikes once is whole all the same; None: it depends on the calls before.
    """

    rule: dict[str, Any]
    error: type[EngageError] = RetryableError
    once: Mapping[str, Any] = field(default_factory=dict)
    survives: bool | None = True


CASES = {
    "429-with-and-without-retry-after": Case({"kind": "throttle"}, once={"retry_after": 0.01}),
    "403-with-retry-after": Case({"kind": "forbidden_throttle", "retry_after": 0.01}),
    "403-without-retry-after": Case({"kind": "forbidden_throttle"}, CredentialsError, survives=None),
    "500-and-502": Case({"kind": "status", "status": 502}, once={"status": 500}),
    "503": Case({"kind": "status", "status": 503}, once={"retry_after": 0.01}),
    "500-after-the-work": Case({"kind": "status", "handled": True}),
    "time-out": Case({"kind": "slow", "seconds": 30}),
    "reset-before": Case({"kind": "reset_before"}),
    "reset-after": Case({"kind": "reset_after"}),
    "half-a-body": Case({"kind": "half_body"}),
    "broken-json": Case({"kind": "broken_json"}, ContractError, survives=False),
    "200-with-failure": Case({"kind": "ok_with_failure"}, ContractError, survives=False),
    "token-expires": Case({"kind": "expired_token"}, CredentialsError, survives=False),
    "down": Case({"kind": "down"}),
    "unreachable": Case({"kind": "unreachable"}),
}
# What is left out of a list shows where the till can be asked twice, or counts what it lists.
TOLD = {"square": {"orders", "customers"}}
ONE_LIST = "the list is the only question the pull asks here: payments are missed by their receipts, in an asset check"
LEFT_OUT = [
    pytest.param(
        source, entity, id=f"{source.name}-{entity.name}",
        marks=[] if entity.name in TOLD[source.name] else [
            pytest.mark.xfail(reason=ONE_LIST, raises=pytest.fail.Exception, strict=True)
        ],
    )
    for source, entity in WINDOWED
]  # fmt: skip


def windows_of(desk: Desk, source: Source, entity: Entity) -> Windows:
    """The finished windows of an entity."""
    finished = Spool(desk.settings.data / "lake", source.name, entity.name).finished()
    return {folder.name: (manifest.records, manifest.proofs) for folder, manifest in finished}


class Pulls:
    """Pulls of one entity under faults."""

    def __init__(self, till: Sandbox, desk: Desk, source: Source, entity: Entity, witness: Witness) -> None:
        self.till = till
        self.desk = desk
        self.source = source
        self.entity = entity
        self.witness = witness

    def struck(self, rule: Mapping[str, Any], *, attempts: int = 5) -> type[EngageError] | None:
        """A pull under a rule; gives what ended it."""
        self.till.add_fault(self.source.name, route=TILLS[self.source.name].routes[self.entity.name], **rule)
        timeout = SHORT_TIMEOUT if rule["kind"] == "slow" else None
        ended = None
        try:
            self.desk.pull(fast_source(self.source, attempts=attempts, timeout=timeout), self.entity, DAYS)
        except EngageError as error:
            ended = type(error)
            self.witness.note(error)
        self.till.clear_faults(self.source.name)
        return ended

    @property
    def windows(self) -> Windows:
        return windows_of(self.desk, self.source, self.entity)

    @property
    def spool(self) -> Spool:
        return Spool(self.desk.settings.data / "lake", self.source.name, self.entity.name)


@pytest.fixture(scope="session")
def undisturbed(shared_till: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Windows]:
    """What pulls of the small shop's week bring, by entity."""
    desk = desk_of(shared_till.url, tmp_path_factory.mktemp("undisturbed"))
    for source, entity in ENTITIES:
        desk.pull(source, entity, DAYS)
    return {f"{source.name}/{entity.name}": windows_of(desk, source, entity) for source, entity in ENTITIES}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_whatever_happens_a_window_is_whole_or_open(
    till: Sandbox, undisturbed: Mapping[str, Windows], tmp_path: Path, witness: Witness, source: Source,
    entity: Entity, name: str,
) -> None:  # fmt: skip
    case, wanted = CASES[name], undisturbed[f"{source.name}/{entity.name}"]
    desk = desk_of(till.url, tmp_path, square={"in_flight": 1})
    pulls = Pulls(till, desk, source, entity, witness)

    assert pulls.struck(case.rule, attempts=1) == case.error
    assert pulls.windows.items() <= wanted.items()
    assert len(pulls.windows) < len(wanted)

    error = pulls.struck({**case.rule, "times": 1, **case.once})
    assert pulls.windows.items() <= wanted.items()
    # Where the stores are asked for first, the key has worked already: then a 403 is no verdict on it.
    survives = entity.per_location if case.survives is None else case.survives
    assert (error is None, pulls.windows == wanted) == (survives, survives)

    desk.pull(source, entity, DAYS)
    assert pulls.windows == wanted
    assert not list(pulls.spool.folder.glob("*.part"))


def test_every_kind_of_fault_that_a_list_can_suffer_is_in_the_table() -> None:
    possible = {kind for source, _ in ENTITIES for kind in kinds_for(source.name, "", None)}
    assert {case.rule["kind"] for case in CASES.values()} == possible - {"missing_rows"}


@pytest.mark.parametrize(("source", "entity"), WINDOWED, ids=name_of)
def test_a_bookmark_never_passes_a_window_that_is_open(
    till: Sandbox, undisturbed: Mapping[str, Windows], tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    desk = desk_of(till.url, tmp_path, square={"in_flight": 1, "window_days": 3, "page_size": 50})
    pulls = Pulls(till, desk, source, entity, witness)
    assert pulls.struck({"kind": "status", "after": 2}, attempts=1) is RetryableError
    desk.load(source, entity, DAYS)
    through = desk.bookmarks.through(source.name, entity.name)
    ends = {manifest.window_end for _, manifest in pulls.spool.finished()}
    assert through in {None, *ends}
    assert all(end <= through for end in ends) if through else not ends

    desk.pull(source, entity, DAYS)
    desk.load(source, entity, DAYS)
    assert desk.bookmarks.through(source.name, entity.name) == desk.range_of(DAYS)[1]
    assert sum(records for records, _ in pulls.windows.values()) == TILLS[source.name].records[entity.name]


@pytest.mark.parametrize(("source", "entity"), LEFT_OUT)
def test_a_list_that_leaves_a_record_out_is_no_success(
    till: Sandbox, tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    desk = desk_of(till.url, tmp_path, square={"in_flight": 1, "window_days": 31})
    pulls = Pulls(till, desk, source, entity, witness)
    desk.pull(source, next(each for each in source.entities if "stores" in each.tables), DAYS)
    # What is from before the week is asked for first, and there is none.
    rule = {"kind": "missing_rows", "times": 1, "after": int(entity.from_the_beginning)}
    if pulls.struck(rule) is None:
        with pytest.raises(IncompleteError):
            desk.load(source, entity, DAYS)
    assert desk.bookmarks.through(source.name, entity.name) is None


@pytest.mark.parametrize(("source", "entity"), [(s, e) for s, e in ENTITIES if not e.windowed], ids=name_of)
def test_a_record_that_a_list_of_the_present_state_leaves_out_comes_with_the_next_pull(
    till: Sandbox, undisturbed: Mapping[str, Windows], tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    pulls = Pulls(till, desk_of(till.url, tmp_path), source, entity, witness)
    assert pulls.struck({"kind": "missing_rows", "times": 1}) is None
    assert pulls.windows != undisturbed[f"{source.name}/{entity.name}"]
    assert pulls.struck({"kind": "status", "times": 1}) is None
    assert pulls.windows == undisturbed[f"{source.name}/{entity.name}"]

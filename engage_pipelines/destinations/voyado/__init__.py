"""Voyado Engage: takes stores, contacts and receipts, new ones by API and years of them as files.

What belongs here: the declaration. How each stream talks is in the module of its name, files are in
`files.py` and checked by `validation.py`, what a record looks like is in the SQL files. The points that
no document of the vendor settles are settings; docs/connectors/voyado.md lists them.
"""

from __future__ import annotations

from pathlib import Path

from engage_pipelines.connector import BatchLimits, Destination, InDoubt, Stream
from engage_pipelines.destinations.voyado.contacts import send_contacts, verify_contact_file, verify_contacts
from engage_pipelines.destinations.voyado.files import send_contact_file, send_receipt_file
from engage_pipelines.destinations.voyado.options import VoyadoOptions
from engage_pipelines.destinations.voyado.receipts import send_receipts, verify_receipts
from engage_pipelines.destinations.voyado.session import API_KEY, Session, connect
from engage_pipelines.destinations.voyado.stores import send_stores, verify_stores
from engage_pipelines.destinations.voyado.validation import MOST_LINES
from engage_pipelines.http_client import Limits, Rate

__all__ = ["VOYADO", "Session", "VoyadoOptions", "connect"]

_ONE = BatchLimits(items=1)
_ONE_FILE = BatchLimits(items=MOST_LINES, bytes=64_000_000, lines=MOST_LINES)
_CONTACT_FIELDS = frozenset({
    "externalId", "memberNumber", "email", "mobilePhone", "firstName", "lastName", "street", "zipCode", "city",
    "birthDay",
})  # fmt: skip
# A receipt knows its customer by the match key alone, which may be an e-mail address or a phone number.
_RECEIPT_FIELDS = frozenset({"matchKey"})

STORES = Stream(
    name="stores",
    sql="stores.sql",
    selects="stores",
    limits=_ONE,
    send=send_stores,
    in_doubt=InDoubt("resend", "Each attempt looks the store up first and changes only what differs.", verify_stores),
    summary="Shops, by the name they have at Voyado; before everything that names them.",
)
CONTACTS = Stream(
    name="contacts",
    sql="contacts.sql",
    selects="customers",
    limits=_ONE,
    send=send_contacts,
    in_doubt=InDoubt(
        "resend", "Each attempt looks the contact up first: one that was created is found.", verify_contacts
    ),
    summary="Customers with a match key: found, then created or changed where they differ.",
    after=("stores",),
    personal=_CONTACT_FIELDS,
)
CONTACT_HISTORY = Stream(
    name="contact_history",
    sql="contacts.sql",
    selects="customers",
    limits=_ONE_FILE,
    send=send_contact_file,
    in_doubt=InDoubt(
        "resend", "A contact with a known key is updated, and a resent file has the same name.", verify_contact_file
    ),
    summary="Customers of the months before go-live, as contact files.",
    ledger="contacts",
    rows="contact_history.sql",
    history=True,
    after=("stores",),
    personal=_CONTACT_FIELDS,
)
RECEIPTS = Stream(
    name="receipts",
    sql="receipts.sql",
    selects="transactions",
    limits=_ONE,
    send=send_receipts,
    in_doubt=InDoubt("resend", "Voyado ignores a receipt whose uniqueReceiptId it has already.", verify_receipts),
    summary="Receipts of known customers from go-live on; final once taken.",
    windowed=True,
    immutable=True,
    needs="contacts",
    after=("contacts",),
    elsewhere="before go-live: history file",
    personal=_RECEIPT_FIELDS,
    correction="receipt_correction.sql",
)
RECEIPT_HISTORY = Stream(
    name="receipt_history",
    sql="receipts.sql",
    selects="transactions",
    limits=_ONE_FILE,
    send=send_receipt_file,
    in_doubt=InDoubt(
        "resend",
        "Voyado leaves a receipt with a known uniqueReceiptId untouched; a resent file has the same name.",
        verify_receipts,
    ),
    summary="Receipts of known customers before go-live, as transaction files of whole receipts.",
    immutable=True,
    ledger="receipts",
    rows="receipt_history.sql",
    history=True,
    after=("contact_history",),
    elsewhere="from go-live on: API",
    needs="contact_history",
    personal=_RECEIPT_FIELDS,
    correction="receipt_correction.sql",
)

VOYADO = Destination(
    name="voyado",
    folder=Path(__file__).parent,
    options=VoyadoOptions,
    secrets=(API_KEY,),
    limits=Limits(rates=(Rate(50, 1.0),), in_flight=4),
    connect=connect,
    streams=(STORES, CONTACTS, CONTACT_HISTORY, RECEIPTS, RECEIPT_HISTORY),
    docs="docs/connectors/voyado.md",
)

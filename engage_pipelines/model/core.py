"""The canonical tables: what a shop talks about, whatever the till."""

from __future__ import annotations

from engage_pipelines.model.table import Column, Table

_SOURCE = Column("source", "text", "Till system the row came from, e.g. `square`.", required=True)
_MODIFIED = Column("modified_at", "timestamp", "When the till last changed the record (UTC).", required=True)
_LOAD = Column("load_id", "text", "Load that last changed the row; see `ops.loads`.", required=True)
_REMARK = Column("remark_code", "text", "What was odd about the source record, if anything.")


def _key(name: str, noun: str) -> Column:
    return Column(name, "text", f"Our key of the {noun}: `<source>:<vendor id>`.", required=True)


def _digest(name: str, noun: str) -> Column:
    return Column(
        f"{noun}_digest", "integer", f"40 bits of the MD5 of `{name}`, by which loads find rows. Not unique.",
        required=True, digest_of=name,
    )  # fmt: skip


def _vendor_id(name: str, noun: str) -> Column:
    return Column(name, "text", f"The till's own id of the {noun}.", required=True)


_CURRENCY = Column("currency", "text", "ISO 4217 code of all amounts in the row.", required=True)

STORES = Table(
    "core", "stores", "One row per shop location of a till.", ("store_id",),
    (
        _key("store_id", "store"), _SOURCE, _vendor_id("source_store_id", "store"),
        Column("name", "text", "Name as the till has it.", required=True),
        Column("time_zone", "text", "IANA time zone.", required=True),
        Column("currency", "text", "ISO 4217 code in which the store sells.", required=True),
        Column("country_code", "text", "ISO 3166 alpha-2 country."),
        Column("city", "text", "City."), Column("street", "text", "Street and number."),
        Column("postal_code", "text", "Postal code."), Column("phone", "text", "Phone, as written at the till."),
        Column("is_active", "boolean", "False once the till has closed the location.", required=True),
        _REMARK, _MODIFIED, _LOAD,
    ),
)  # fmt: skip

CUSTOMERS = Table(
    "core", "customers", "One row per customer of a till.", ("customer_id",),
    (
        _key("customer_id", "customer"), _SOURCE, _vendor_id("source_customer_id", "customer"),
        Column("first_name", "text", "Given name.", personal=True),
        Column("last_name", "text", "Family name.", personal=True),
        Column("email", "text", "E-mail, lower case; null if it cannot be one.", personal=True),
        Column("phone", "text", "Phone in E.164; null if it cannot be one.", personal=True),
        Column("country_code", "text", "ISO 3166 alpha-2 country."), Column("city", "text", "City."),
        Column("street", "text", "Street and number.", personal=True),
        Column("postal_code", "text", "Postal code.", personal=True),
        Column("birth_on", "date", "Date of birth.", personal=True),
        Column("is_email_unsubscribed", "boolean", "True if the customer opted out of e-mail."),
        Column("reference_id", "text", "Id of the customer in another system, kept by the till."),
        Column("created_at", "timestamp", "When the till first knew the customer (UTC)."),
        _REMARK, _MODIFIED, _LOAD,
    ),
)  # fmt: skip

PRODUCTS = Table(
    "core", "products", "One row per sellable thing (Square: item variation).", ("product_id",),
    (
        _key("product_id", "product"), _SOURCE, _vendor_id("source_product_id", "product"),
        Column("sku", "text", "Stock keeping unit, trimmed; null if the till has none."),
        Column("name", "text", "Name with its variation.", required=True),
        Column("description", "text", "Longer text."), Column("category", "text", "Category name."),
        Column("brand", "text", "Brand."), Column("gtin", "text", "Barcode (EAN/UPC), digits as text."),
        Column("price_amount", "money", "List price of one unit."),
        Column("cost_amount", "money", "Cost of one unit, where the till tells."),
        Column("currency", "text", "ISO 4217 code of the amounts."),
        Column("is_active", "boolean", "False once the till has deleted or archived it.", required=True),
        _REMARK, _MODIFIED, _LOAD,
    ),
)  # fmt: skip

INVENTORY_LEVELS = Table(
    "core", "inventory_levels", "One row per product and store: what is on the shelf now.",
    ("product_id", "store_id"),
    (
        _key("product_id", "product"), _key("store_id", "store"), _SOURCE,
        Column("quantity", "quantity", "Units in stock; negative when the till has sold more than it knew of.",
               required=True),
        _REMARK, _MODIFIED, _LOAD,
    ),
)  # fmt: skip

TRANSACTIONS = Table(
    "core", "transactions",
    "One row per receipt: sale, return or exchange. Amounts are signed: a return is negative. Voided, open "
    "and test receipts are kept, with flags.",
    ("transaction_id",),
    (
        _key("transaction_id", "transaction"), _SOURCE, _vendor_id("source_transaction_id", "transaction"),
        _key("store_id", "store"),
        Column("customer_id", "text", "Customer, or null for an anonymous sale."),
        Column("receipt_number", "text", "Number printed on the receipt, where the till tells."),
        Column("channel", "text", "Where it was sold, as the till names it."),
        Column("transaction_type", "text", "`sale`, `return` or `exchange`.", required=True),
        Column("status", "text", "`completed`, `open` or `voided`.", required=True),
        Column("is_countable", "boolean", "True if the receipt counts as revenue: completed and no test.",
               required=True),
        Column("is_test", "boolean", "True for test and training receipts.", required=True),
        Column("refund_of_transaction_id", "text", "Receipt that was returned, where the till tells."),
        Column("opened_at", "timestamp", "When it was opened (UTC).", required=True),
        Column("closed_at", "timestamp", "When it was closed (UTC); null while open."),
        Column("utc_offset_minutes", "integer", "The store's offset from UTC at that moment.", required=True),
        Column("business_on", "date", "Business day: the till's, else store time zone and cut-over hour.",
               required=True),
        _CURRENCY,
        Column("gross_amount", "money", "Lines before discount.", required=True),
        Column("discount_amount", "money", "Discounts of all lines; positive lowers a sale.", required=True),
        Column("tax_amount", "money", "Taxes of all lines and charges.", required=True),
        Column("tip_amount", "money", "Tips.", required=True),
        Column("service_charge_amount", "money", "Service charges, their tax included.", required=True),
        Column("rounding_amount", "money", "Cash rounding.", required=True),
        Column("total_amount", "money",
               "What was paid: lines + tip + service charge + rounding; negative when money went back.",
               required=True),
        Column("line_count", "integer", "Number of lines.", required=True),
        Column("version", "integer", "The till's version number of the record, 0 if it has none.", required=True),
        _REMARK, _MODIFIED, _LOAD, _digest("transaction_id", "transaction"),
    ),
)  # fmt: skip

TRANSACTION_LINES = Table(
    "core", "transaction_lines",
    "One row per receipt line. Returned goods have negative quantity and amounts.",
    ("line_id",),
    (
        Column("line_id", "text", "Our key: `<transaction_id>:<vendor line id>`.", required=True),
        _key("transaction_id", "transaction"), _SOURCE,
        Column("source_line_id", "text", "The till's own id of the line.", required=True),
        Column("line_number", "integer", "Position on the receipt, from 1.", required=True),
        Column("line_type", "text", "`item`, `custom` or `gift_card`.", required=True),
        Column("is_return", "boolean", "True for a returned line.", required=True),
        Column("product_id", "text", "Product, or null for a custom amount."),
        Column("sku", "text", "Stock keeping unit at the time of the sale, where the line carries it."),
        Column("name", "text", "What the receipt says.", required=True),
        Column("quantity", "quantity", "Units (or weight); negative on a return.", required=True),
        _CURRENCY,
        Column("unit_price_amount", "money", "Price of one unit before discount.", required=True),
        Column("gross_amount", "money", "Line before discount, signed.", required=True),
        Column("discount_amount", "money", "Discount of the line, its share of receipt discounts included; "
               "positive on a sale, negative on a return.", required=True),
        Column("tax_amount", "money", "Tax of the line, signed.", required=True),
        Column("service_charge_amount", "money", "Service charge inside `total_amount`, signed.", required=True),
        Column("total_amount", "money", "What was paid for the line, tax included, signed.", required=True),
        Column("refund_of_line_id", "text", "Line that was returned, where the till tells."),
        _REMARK, _LOAD, _digest("transaction_id", "transaction"),
    ),
    parent="transaction_id",
)  # fmt: skip

TRANSACTION_TENDERS = Table(
    "core", "transaction_tenders",
    "One row per payment or refund of a receipt. Refunds are negative.",
    ("tender_id",),
    (
        Column("tender_id", "text", "Our key: `<source>:<vendor id>`.", required=True),
        _key("transaction_id", "transaction"), _SOURCE,
        Column("source_tender_id", "text", "The till's own id of the payment or refund.", required=True),
        Column("tender_type", "text", "`card`, `cash`, `gift_card`, `bank`, `wallet`, `house_account` or "
               "`other`.", required=True),
        _CURRENCY,
        Column("amount", "money", "Money that moved, tip included; negative on a refund.", required=True),
        Column("tip_amount", "money", "Part of it that is a tip.", required=True),
        Column("paid_at", "timestamp", "When (UTC)."),
        _LOAD, _digest("transaction_id", "transaction"),
    ),
    parent="transaction_id",
)  # fmt: skip

PAYMENTS = Table(
    "core", "payments",
    "One row per payment as the payment service of the till has it: the second opinion on tenders.",
    ("payment_id",),
    (
        Column("payment_id", "text", "Our key; equals `tender_id` of the tender it paid.", required=True),
        _SOURCE, _vendor_id("source_payment_id", "payment"),
        Column("transaction_id", "text", "Receipt it paid."), _key("store_id", "store"),
        Column("status", "text", "`completed`, `pending` or `failed`.", required=True),
        _CURRENCY,
        Column("amount", "money", "Money without tip.", required=True),
        Column("tip_amount", "money", "Tip.", required=True),
        Column("total_amount", "money", "Money that moved, tip included.", required=True),
        Column("refunded_amount", "money", "Part that went back later.", required=True),
        Column("receipt_number", "text", "Number printed on the receipt."),
        Column("paid_at", "timestamp", "When (UTC).", required=True),
        _REMARK, _MODIFIED, _LOAD, _digest("payment_id", "payment"),
    ),
)  # fmt: skip

CORE_TABLES = (
    STORES, CUSTOMERS, PRODUCTS, INVENTORY_LEVELS, TRANSACTIONS, TRANSACTION_LINES, TRANSACTION_TENDERS, PAYMENTS,
)  # fmt: skip

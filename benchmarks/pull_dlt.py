"""dlt, tuned: REST client with its cursor paginator, windows side by side, parquet, worker processes, merge on id.

Runs in the peers' environment and imports nothing of this repository.

    python pull_dlt.py <url> <database> <first moment> <last moment> [--as-installed]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import datetime, timedelta

_WINDOW = timedelta(days=31)
_TUNED = {
    "EXTRACT__WORKERS": "8",
    "EXTRACT__MAX_PARALLEL_ITEMS": "16",
    "NORMALIZE__WORKERS": "2",
    "LOAD__WORKERS": "2",
    "NORMALIZE__LOADER_FILE_FORMAT": "parquet",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "5000",
    "DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
}
_ALWAYS = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def orders_of(url: str, start: datetime, end: datetime, *, side_by_side: bool):
    """The till as a dlt source: one resource per window, all into one table."""
    import dlt
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

    client = RESTClient(base_url=url)
    locations = [place["id"] for place in client.get("v2/locations").json()["locations"]]

    def window(first: datetime, last: datetime):
        between = {"start_at": _moment(first), "end_at": _moment(last - timedelta(milliseconds=1))}
        yield from RESTClient(base_url=url).paginate(
            "v2/orders/search", method="POST", data_selector="orders",
            json={"location_ids": locations, "limit": 500,
                  "query": {"filter": {"date_time_filter": {"updated_at": between}},
                            "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"}}},
            paginator=JSONResponseCursorPaginator(cursor_path="cursor", cursor_body_path="cursor"),
        )  # fmt: skip

    @dlt.source(name="till")
    def till():
        at = start
        while at < end:
            last = min(at + _WINDOW, end)
            yield dlt.resource(
                window, name=f"orders_{at:%Y%m%d}", table_name="orders", primary_key="id", write_disposition="merge",
                parallelized=side_by_side,
            )(at, last)  # fmt: skip
            at = last

    return till()


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    """Run the pipeline and tell the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("database")
    parser.add_argument("start", type=datetime.fromisoformat)
    parser.add_argument("end", type=datetime.fromisoformat)
    parser.add_argument("--as-installed", action="store_true")
    given = parser.parse_args()
    os.environ.update(_ALWAYS if given.as_installed else {**_ALWAYS, **_TUNED})  # noqa: TID251
    import dlt

    began = time.monotonic()
    pipeline = dlt.pipeline(
        "bench", destination=dlt.destinations.duckdb(given.database), dataset_name="till", pipelines_dir="pipelines"
    )
    source = orders_of(given.url, given.start, given.end, side_by_side=not given.as_installed)
    pipeline.extract(source, **({} if given.as_installed else {"loader_file_format": "parquet"}))
    extracted = time.monotonic()
    pipeline.normalize()
    normalized = time.monotonic()
    pipeline.load()
    ended = time.monotonic()
    told = {"extract": extracted - began, "normalize": normalized - extracted, "load": ended - normalized}
    sys.stdout.write(json.dumps({"seconds": ended - began, **told}) + "\n")


if __name__ == "__main__":
    main()

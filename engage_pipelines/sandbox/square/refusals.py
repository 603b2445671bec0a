"""Square's error envelope: one exception that says why a call is refused, and its answer on the wire."""

from __future__ import annotations

import msgspec
from starlette.responses import Response


class SquareRefusedError(Exception):
    """A call that Square would refuse.

    Args:
        code: One of Square's error codes, e.g. `INVALID_CURSOR`.
        detail: What is wrong, in words.
        field: Path of the offending field in the request.
        status: HTTP status of the answer.
        category: One of Square's error categories.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        status: int = 400,
        category: str = "INVALID_REQUEST_ERROR",
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.field, self.status, self.category = code, detail, field, status, category

    def response(self) -> Response:
        """The refusal as an HTTP answer."""
        error = {"category": self.category, "code": self.code, "detail": self.detail}
        if self.field is not None:
            error["field"] = self.field
        return Response(
            msgspec.json.encode({"errors": [error]}), status_code=self.status, media_type="application/json"
        )


def unauthorized() -> SquareRefusedError:
    """The bearer token is absent or not ours."""
    return SquareRefusedError(
        "UNAUTHORIZED",
        "This request could not be authorized.",
        status=401,
        category="AUTHENTICATION_ERROR",
    )


def forbidden_location(location_id: str) -> SquareRefusedError:
    """The location does not belong to this seller."""
    return SquareRefusedError(
        "FORBIDDEN",
        f"The seller has no location {location_id!r}.",
        status=403,
        category="AUTHENTICATION_ERROR",
    )


def not_found(what: str) -> SquareRefusedError:
    """There is no such record."""
    return SquareRefusedError("NOT_FOUND", f"{what} was not found.", status=404)


def not_offered(field: str) -> SquareRefusedError:
    """Square has this filter, the stand-in does not."""
    return SquareRefusedError(
        "NOT_IMPLEMENTED",
        f"The stand-in does not filter by {field}.",
        field=field,
        status=501,
        category="API_ERROR",
    )


def rate_limited() -> SquareRefusedError:
    """Too many calls."""
    return SquareRefusedError(
        "RATE_LIMITED",
        "Too many requests were made; slow down.",
        status=429,
        category="RATE_LIMIT_ERROR",
    )

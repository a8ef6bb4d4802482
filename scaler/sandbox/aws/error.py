"""The one error of the embedded AWS: a code of the service's own, a sentence, an HTTP status."""

from __future__ import annotations

# Codes that real services answer with something else than 400 (EC2 API "Error codes", STS "Common errors").
_STATUS = {
    "AccessDenied": 403,
    "AuthFailure": 401,
    "DryRunOperation": 412,
    "ExpiredToken": 403,
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "InternalServerError": 500,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
    "UnfulfillableCapacity": 500,
    "InsufficientHostCapacity": 500,
}


class AwsError(Exception):
    """What a call answers instead of a result."""

    def __init__(self, code: str, message: str = "", status: int = 0) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, 400)

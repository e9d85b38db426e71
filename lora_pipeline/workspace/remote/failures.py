"""What went wrong between us and a storage service, in words that say what to do.

The clients raise their own exceptions, wrapped in each other. They are told apart by status
and by the names of their classes, so that no client is imported to explain another one's. Their
texts are not repeated: an address in them may carry a signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lora_pipeline.foundation.errors import (
    RemoteMissingError,
    RemoteRefusedError,
    RemoteStoreError,
)
from lora_pipeline.workspace.remote.address import RemoteAddress

Kind = Literal["there", "missing", "refused", "busy", "cut", "other"]
_CREDENTIALS = {
    "s3": "give credentials as AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    " (a session that ended: sign in again)",
    "az": "give AZURE_STORAGE_ACCOUNT_NAME with az login, or AZURE_STORAGE_CONNECTION_STRING",
    "gs": "sign in with gcloud auth application-default login, or set"
    " GOOGLE_APPLICATION_CREDENTIALS",
    "file": "check who owns the folder and its permissions",
}
_REFUSING_NAMES = frozenset({
    "PermissionError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
    "TokenRetrievalError", "ClientAuthenticationError", "CredentialUnavailableError",
    "GoogleAuthError", "SSOError", "UnauthorizedSSOTokenError", "ProfileNotFound",
})  # fmt: skip
_CUT_NAMES = frozenset({
    "ConnectionError", "TimeoutError", "HTTPClientError", "ClientConnectionError",
    "ClientPayloadError", "ServiceRequestError", "ServiceResponseError", "IncompleteReadError",
    "IncompleteRead", "RequestException", "FSTimeoutError", "ResponseStreamingError",
    "ResponseParserError", "ServerDisconnectedError",
})  # fmt: skip
# Services say these with status 400.
_REFUSING_CODES = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_WORDS = {
    "busy": ("is overloaded or out of order", "wait a little, then run the command again"),
    "cut": ("could not be reached", "check the network and the address, then run it again"),
    "other": ("failed", "check the address and the service, then run the command again"),
}


def kind_of(error: BaseException) -> Kind:
    """Return which kind of failure an exception of a client is."""
    chain = list(_chain(error))
    names = {base.__name__ for one in chain for base in type(one).__mro__}
    statuses = [status for one in chain if (status := _status(one))]
    status = statuses[-1] if statuses else 0  # the innermost saw the answer itself
    codes = {_code(one) for one in chain}
    if "FileExistsError" in names or status == 412:
        return "there"
    if codes & _REFUSING_CODES or status in (401, 403) or _says_forbidden(error):
        return "refused"
    if status == 404 or "FileNotFoundError" in names:
        return "missing"
    if status in (408, 409, 425, 429) or (status >= 500 and status != 501):
        return "busy"
    if status == 0 and names & _REFUSING_NAMES:
        return "refused"
    return "cut" if status == 0 and names & _CUT_NAMES else "other"


def explained(error: BaseException, address: RemoteAddress, doing: str) -> RemoteStoreError:
    """Return the error that every face can explain.

    Args:
        error: What the client raised.
        address: The remote store.
        doing: What was tried, such as ``reading object 0123…``.
    """
    kind, status = kind_of(error), _status_words(error)
    if kind == "refused":
        return RemoteRefusedError(
            f"{address} refuses {doing}{status}", hint=_CREDENTIALS[address.service]
        )
    if kind == "missing":
        return RemoteMissingError(
            f"{address}: {doing} found nothing there{status}",
            hint=f"check that {address.bucket} exists, then lora store status",
        )
    words, hint = _WORDS.get(kind, _WORDS["other"])
    return RemoteStoreError(f"{address} {words} when {doing}{status}", hint=hint)


def unopened(error: BaseException, address: RemoteAddress) -> RemoteStoreError:
    """Return the error of a client that could not even be set up."""
    return RemoteRefusedError(
        f"{address} cannot be opened: its client found no account or credentials"
        f" ({type(error).__name__})",
        hint=_CREDENTIALS[address.service],
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int:
    if type(error).__module__ == "aiohttp.http_exceptions":
        return 0  # says 400 of answers that were cut off, and no server ever said it
    response = getattr(error, "response", None)
    found: object = None
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status_code", "status", "code"):
        found = getattr(error, name, None) if found is None else found
    try:
        status = int(str(found))
    except ValueError:
        return 0
    return status if 100 <= status <= 599 else 0


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "error_code", "") or "")


def _says_forbidden(error: BaseException) -> bool:
    # gcsfs turns an answer of 403 into a bare OSError.
    return type(error) is OSError and str(error).startswith("Forbidden")


def _status_words(error: BaseException) -> str:
    statuses = [status for one in _chain(error) if (status := _status(one))]
    codes = [code for one in _chain(error) if (code := _code(one)) and code.isalnum()]
    told = [str(one) for one in (*statuses[-1:], *codes[-1:])]
    if not told:
        return f" ({type(error).__name__})"
    return f" (HTTP {' '.join(dict.fromkeys(told))})" if statuses else f" ({told[0]})"

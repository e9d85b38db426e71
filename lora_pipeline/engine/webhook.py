"""Telling an address on the web. Apart from other ways: Python's HTTP takes long to import."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lora_pipeline.engine.notify import TIMEOUT_S
from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.foundation.loopback import is_confidential


def post_webhook(address: str, notice: Mapping[str, Any], *, token: str = "") -> None:
    """Send the notice as JSON to an address; redirections are not followed.

    Raises:
        SettingsError: When the address may not be used, or the answer is no.
        OSError: When there is no answer.
    """
    parts = urlsplit(address)
    if not is_confidential(address):
        raise SettingsError("a webhook is an https:// address (http:// on this machine alone)")
    if parts.username or parts.password:
        raise SettingsError(
            "the webhook's address holds a password", hint="name it with notify.tokenVariable"
        )
    headers = {"Content-Type": "application/json", "User-Agent": "lora-pipeline"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        address, data=json.dumps(notice).encode(), headers=headers, method="POST"
    )
    opener = urllib.request.build_opener(_Stay())
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise SettingsError(f"the webhook answered {error.code}") from error
    except http.client.HTTPException as error:
        raise SettingsError("the webhook's answer is no HTTP") from error


class _Stay(urllib.request.HTTPRedirectHandler):
    """Takes a redirection as the answer that it is: the token is for one address alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None

"""How long boto3 waits for an answer, and when it repeats a request that nobody has answered."""

from __future__ import annotations

import time
from typing import Any, Final

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import HTTPClientError

from depot_lite.io.objects.silence import Silence

#: Operations that clean up, which are not repeated after a silence.
_CLEANING: Final = {"AbortMultipartUpload", "DeleteObject", "DeleteObjects"}
#: Operations that take the server long.
_SLOW: Final = {"CompleteMultipartUpload", "CopyObject", "UploadPartCopy"}
#: Keys in the context of a request: when its last attempt began, and how long all of them have waited in vain.
_BEGAN: Final = "depot_lite.began"
_WAITED: Final = "depot_lite.waited"


class Waiting:
    """Decides whether boto3 repeats a request that nobody has answered, beside boto3's own decision.

    Args:
        silence: of the storage.
        decides: whether it does; otherwise it only notes the silence of the server.
    """

    def __init__(self, silence: Silence, *, decides: bool) -> None:
        self._silence = silence
        self._decides = decides

    def watch(self, client: Any) -> None:
        """Watch all requests of a client."""
        client.meta.events.register("request-created.s3", self._begin)
        # Before boto3 decides: an error that is raised here is the end of the call.
        client.meta.events.register_first("needs-retry.s3", self._end)

    def _begin(self, request: Any, operation_name: str, **_: object) -> None:
        context = request.context
        context[_BEGAN] = time.monotonic()
        patience = self._silence.patience
        if operation_name in _SLOW and self._decides and context["client_config"].read_timeout == patience.read:
            # The timeout is ours and not the caller's. Heeded since botocore 1.43.72.
            context["read_timeout"] = patience.copy_timeout

    def _end(
        self, response: Any, caught_exception: Any, request_dict: Any, operation: Any, endpoint: Any, **_: object
    ) -> None:
        context = request_dict["context"]
        if not isinstance(caught_exception, HTTPClientError | NoConnection) or _BEGAN not in context:
            if response is not None:
                self._silence.heard()
            return
        began = context[_BEGAN]
        silence = self._silence.missed(began)
        # Before that, bytes have moved.
        waited = min(time.monotonic() - began, _read_timeout(context))
        context[_WAITED] = context.get(_WAITED, 0.0) + waited
        # The next attempt may take as long. Other threads may have waited before.
        too_long = self._silence.is_enough(context[_WAITED], silence, waited)
        cleans = operation.name in _CLEANING and self._silence.is_silence(waited)
        if self._decides and (too_long or cleans):
            raise caught_exception


def _read_timeout(context: Any) -> float:
    return float(context.get("read_timeout") or context["client_config"].read_timeout or 0.0)

"""The region of a bucket, which signed URLs and forms have to name.

boto3 follows S3's hint when it has sent a request to another region than the bucket's. But it signs URLs and forms for
the region of its configuration, and S3 refuses them. So the region is learned from the answers to all requests, and
asked for with one HeadBucket if a URL is needed before there was a request.
"""

from __future__ import annotations

import logging
import re
import time
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

from depot_lite.io.boto3.errors import S3_ERRORS

_log: Final = logging.getLogger("depot_lite")

#: It becomes a part of host names.
_REGION: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: The region of clients without one, as boto3 calls it, and as signatures name it.
_GLOBAL: Final = "aws-global"
_FIRST: Final = "us-east-1"
#: Access points, which name their region, and directory buckets, which boto3 signs with sessions.
_OF_THEIR_OWN: Final = re.compile(r"arn:.*|.*--x-s3")
#: Seconds until a region is asked for again that could not be found.
_PAUSE: Final = 60.0
#: The key in the context of a request to the bucket.
_OURS: Final = "depot_lite.bucket"
#: Seconds that a page which shows a URL waits for the answer.
_LONGEST: Final = 5.0
# How many seconds this thread waits for the region, None if it does not ask for it.
_asking: Final[ContextVar[float | None]] = ContextVar("_asking", default=None)


def is_amazons(endpoint: str) -> bool:
    """Return whether an endpoint is one of Amazon's."""
    return (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


class BucketRegion:
    """The region of one bucket, as soon as it is known. Children of a fork know what their parent knew."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._known: str | None = None
        self._failed = -_PAUSE

    def watch(self, client: Any) -> None:
        """Learn from all requests of a client to the bucket, and let it use the region for them and for signatures."""
        if _OF_THEIR_OWN.fullmatch(self._bucket):
            return
        events = client.meta.events
        # Last, since boto3 prefers the global address for URLs.
        events.register_last("before-endpoint-resolution.s3", self._resolve)
        events.register("before-sign.s3", self._name_in_signature)
        # Before boto3 follows the hint: it resolves the endpoint again.
        events.register_first("needs-retry.s3", self._learn)

    def find(self, client: Any) -> str | None:
        """Return the region, None if it cannot be found; then the client's is used.

        Only Amazon is asked. Other servers have one region, and most of them do not look at its name.
        """
        if self._known is None and self._may_ask(client):
            # Without a lock: if the server is silent, threads would wait one after the other.
            self._ask(client)
        return self._known

    def _may_ask(self, client: Any) -> bool:
        has_one = is_amazons(client.meta.endpoint_url) and not _OF_THEIR_OWN.fullmatch(self._bucket)
        return has_one and time.monotonic() - self._failed >= _PAUSE

    def _ask(self, client: Any) -> None:
        asking = _asking.set(min(_LONGEST, client.meta.config.read_timeout))
        reason = "the answer does not say so"
        try:
            client.head_bucket(Bucket=self._bucket)
        except S3_ERRORS as error:  # also if we may not look at the bucket; the answer names the region nevertheless
            reason = type(error).__name__
        finally:
            _asking.reset(asking)
        if self._known is None:
            self._failed = time.monotonic()
            _log.warning(
                "the region of bucket %r cannot be found (%s): its URLs are signed for the configured one",
                self._bucket,
                reason,
            )

    def _resolve(self, builtins: Any, model: Any, params: Any, context: Any, **_: object) -> None:
        if params.get("Bucket") != self._bucket:
            return  # the client may be the user's, who has other buckets
        if model.name == "CreateBucket" and "is_presign_request" not in context:
            return  # as whose request forms are signed
        context[_OURS] = self._bucket
        if (timeout := _asking.get()) is not None:
            context["read_timeout"] = timeout  # heeded since botocore 1.43.72
        if self._known not in {None, signed_region(builtins.get("AWS::Region"))}:
            builtins["AWS::Region"] = self._known

    def _name_in_signature(self, request: Any, **_: object) -> None:
        # boto3 ignores the region of the endpoint when it signs URLs and forms.
        context = request.context
        if self._known is not None and context.get(_OURS) == self._bucket and "is_presign_request" in context:
            context["signing"] = {**context.get("signing", {}), "region": self._known}

    def _learn(self, response: Any, caught_exception: Any, request_dict: Any, **_: object) -> None:
        context = request_dict["context"]
        if context.get(_OURS) != self._bucket:
            return
        if response is None:
            if _asking.get() is not None and caught_exception is not None:
                raise caught_exception  # a page that shows a URL does not wait for repetitions
            return
        accepted = response[0].status_code < 300
        # Other servers may name a region although they accept signatures for any.
        region = None if accepted and not is_amazons(request_dict["url"]) else _hint(response[1])
        if region is None and accepted:
            region = context.get("signing", {}).get("region")
        if region and _REGION.fullmatch(region) and region != self._known:
            self._known = region
            configured = signed_region(context.get("client_region"))
            if configured != region:
                _log.warning(
                    "bucket %r is in %s, but boto3 is configured for %s: set region_name to save requests",
                    self._bucket,
                    region,
                    configured,
                )


def _hint(parsed: Any) -> str | None:
    """Return the region of the bucket as an answer names it."""
    error = parsed.get("Error", {})
    named = error.get("Region") if error.get("Code") == "AuthorizationHeaderMalformed" else None
    region: str | None = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region") or named
    return region


def signed_region(region: str | None) -> str:
    """Return the name of a client's region in signatures."""
    return _FIRST if region is None or region == _GLOBAL else region

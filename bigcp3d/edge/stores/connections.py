"""Connections to object stores and web servers: one for a process and bucket, and their errors in words.

Endpoint, region and credentials come from where Amazon's own tools look: the environment (``AWS_ENDPOINT_URL``,
``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ...), ``~/.aws`` with ``AWS_PROFILE``, or the role of the machine. Without
credentials, requests are not signed: public buckets can be read. None of this is kept in a plan or shown.

After answers 5xx, lost connections and slow reads the library asks again, with growing pauses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from bigcp3d.errors import BigCP3DError, InputError

INSTALL = "pip install 'bigcp3d[s3]'"

QUICK: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
PATIENT: dict[str, Any] = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}
"""With pauses of 0.1 s that double up to 10 s, about twenty seconds for a server that is too busy."""

XML_CODE = re.compile(r"<Code>(\w+)</Code>")


@lru_cache(maxsize=64)  # a client takes 6 ms to make, and keeps its connections open
def connect(root: str, key: str = "", *, patient: bool) -> Any:
    """The client of a bucket or host, or of a folder there; `InputError` without the libraries or usable settings."""
    try:
        import boto3  # noqa: F401 - looked for before anything is done
        import obstore.store
    except ImportError as error:
        raise InputError(f"{root}: object stores need {error.name}, which is not installed: {INSTALL}") from error
    limits = PATIENT if patient else QUICK
    backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=10), "base": 2}
    options: Any = {"connect_timeout": "5s", "timeout": "120s" if patient else "30s"}
    more: dict[str, Any] = {"retry_config": {"backoff": backoff, **limits}}
    if not root.startswith("s3:"):
        options["allow_http"] = root.startswith("http:")
        return obstore.store.HTTPStore.from_url(f"{root}/{quote(key)}".rstrip("/"), client_options=options, **more)
    from botocore.exceptions import BotoCoreError

    try:
        session = _session()
        endpoint = _endpoint(session)
        more |= _signed(session)
    except (BotoCoreError, ValueError) as error:
        said = f": profile {os.environ.get('AWS_PROFILE')!r}" if type(error).__name__ == "ProfileNotFound" else ""
        raise InputError(
            f"{root}: the AWS settings cannot be used ({type(error).__name__}{said}); check the environment (AWS_...) "
            "and ~/.aws"
        ) from None
    if endpoint is not None:
        more["endpoint"] = endpoint
        options["allow_http"] = endpoint.startswith("http:")
    more["region"] = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
    return obstore.store.S3Store(root.removeprefix("s3://"), prefix=key or None, client_options=options, **more)


@lru_cache(maxsize=1)
def _session() -> Any:
    """What boto3 knows of this process; it may have asked the machine for its role, which takes a second."""
    import boto3

    return boto3.Session()


def _endpoint(session: Any) -> str | None:
    """As the environment or the profile names it; None for Amazon's own."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = named or session._session.get_scoped_config().get("endpoint_url")
    if endpoint and ("@" in endpoint or "?" in endpoint):
        raise InputError("AWS_ENDPOINT_URL is an address with credentials; give http(s)://HOST:PORT")
    return endpoint.rstrip("/") if endpoint else None


def _signed(session: Any) -> dict[str, Any]:
    """How requests are signed."""
    from obstore.auth.boto3 import Boto3CredentialProvider

    if session.get_credentials() is None:
        return {"skip_signature": True}
    return {"credential_provider": Boto3CredentialProvider(session)}


@contextmanager
def reaching(where: object, kind: type[BigCP3DError] = InputError) -> Iterator[None]:
    """Turn what a store answers into an error of ``kind``; that something is not there stays `FileNotFoundError`."""
    try:
        yield
    except BigCP3DError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            raise
        if not is_remote_error(error):
            raise
        raise kind(f"{where}: {describe_error(error)}") from None  # whose text may hold what the server was sent


def is_remote_error(error: BaseException) -> bool:
    """Whether an error comes from an object store."""
    return any("obstore" in base.__module__ for base in type(error).__mro__) or "NoSuchBucket" in str(error)


def shown_cause(error: BaseException) -> BaseException | None:
    """What a traceback may show as the cause: not a server's answer, which may repeat what it was sent."""
    return None if is_remote_error(error) else error


def describe_error(error: BaseException) -> str:
    """An error in one line, with the cure; of an object store's errors, without what was sent to it."""
    if not is_remote_error(error):
        return str(error)
    text, name = str(error), type(error).__name__
    code = XML_CODE.search(text)
    said = f" ({code[1]})" if code else ""
    if "NoSuchBucket" in text:
        return "there is no such bucket; check its name, and AWS_ENDPOINT_URL where the store is not Amazon's"
    if name in ("PermissionDeniedError", "UnauthenticatedError"):
        return (
            f"access was denied{said}; give credentials that may do this: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or the role of the machine"
        )
    first = text.split("\n", 1)[0].split("<?xml", 1)[0].split("<Error>", 1)[0]
    first = re.sub(r"(https?://)[^/\s@]*@", r"\1", re.sub(r"\?\S*", "", first)).strip(" :-")
    if "error sending request" in text or "timed out" in text:
        return f"the server does not answer ({first}); check the network, and AWS_ENDPOINT_URL where one is used"
    if "Received non-partial response" in text:
        return "the file is empty, or the server sends whole files where a part was asked for, and shards need ranges"
    return (
        f"the server answered with an error{said} ({first}); check AWS_ENDPOINT_URL where one is used, run the same "
        "command again, or ask its keeper"
    )

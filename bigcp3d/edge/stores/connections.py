"""Connects to object stores and web servers, and describes their errors.

Endpoint, region and credentials come from where Amazon's own tools look: the environment (``AWS_ENDPOINT_URL``,
``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ...), ``~/.aws`` with ``AWS_PROFILE``, or the role of the machine. Without
credentials, requests are not signed: public buckets can be read. None of this is kept in a plan or shown.
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

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files whose presence shows that a folder exists, on a server that cannot be listed."""
PACKED = ("gzip", "deflate", "br", "zstd")
"""Content encodings that change the bytes of a file."""
AMAZON = re.compile(r"https://s3[\w.-]*\.amazonaws\.com(\.cn)?")
"""The endpoint that boto3 gives where none is named."""


@lru_cache(maxsize=64)  # a client takes 6 ms to make, and keeps its connections open
def connect(root: str, key: str = "", *, patient: bool) -> Any:
    """The client of a bucket or host, or of a folder there; `InputError` without the libraries or usable settings."""
    try:
        import obstore.store
        from obstore.auth.boto3 import Boto3CredentialProvider  # imports boto3 and botocore
    except ImportError as error:
        raise InputError(f"{root}: object stores need {error.name}, which is not installed: {INSTALL}") from error
    options: Any = {"connect_timeout": "5s", "timeout": "120s" if patient else "30s"}
    # obstore tries again after a server error, a lost connection or a slow read
    retry: Any = {"max_retries": 8 if patient else 3, "retry_timeout": timedelta(seconds=120 if patient else 15)}
    retry["backoff"] = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=10), "base": 2}
    more: dict[str, Any] = {"retry_config": retry}
    if not root.startswith("s3:"):
        options["allow_http"] = root.startswith("http:")
        return obstore.store.HTTPStore.from_url(f"{root}/{quote(key)}".rstrip("/"), client_options=options, **more)
    from botocore.exceptions import BotoCoreError

    try:
        session, endpoint = _settings()
        signed = session.get_credentials() is not None
        more |= {"credential_provider": Boto3CredentialProvider(session)} if signed else {"skip_signature": True}
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
def _settings() -> tuple[Any, str | None]:
    """The settings that boto3 finds, and the endpoint that they name, if it is not Amazon's.

    Kept, since asking the machine for its role takes a second, and a client, which knows the endpoint, 0.2 s.
    """
    import boto3

    session = boto3.Session()
    endpoint = str(session.client("s3").meta.endpoint_url).rstrip("/")
    if "@" in endpoint or "?" in endpoint:
        raise InputError("AWS_ENDPOINT_URL is an address with credentials; give http(s)://HOST:PORT")
    return session, None if AMAZON.fullmatch(endpoint) else endpoint


@contextmanager
def reaching(where: object, kind: type[BigCP3DError] = InputError) -> Iterator[None]:
    """Turn errors of an object store into ``kind``, but leave `FileNotFoundError` for a missing object."""
    try:
        yield
    except Exception as error:
        missing = isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error)
        if missing or isinstance(error, BigCP3DError) or not is_remote_error(error):
            raise
        raise kind(f"{where}: {describe_error(error, where)}") from None  # the server's answer may repeat what was sent


def is_remote_error(error: BaseException) -> bool:
    """Whether an error comes from an object store."""
    return any("obstore" in base.__module__ for base in type(error).__mro__) or "NoSuchBucket" in str(error)


def is_page(answer: Any) -> bool:
    """Whether obstore's answer to a GET is a web page, which some servers send for whatever they do not have."""
    return str(answer.attributes.get("Content-Type", "")).lower().startswith(("text/html", "application/xhtml"))


def refuse_packed(answer: Any, where: object) -> None:
    """`InputError` if a web server answers a GET with a packed file. It should not, since nobody asked for it."""
    encoding = str(answer.attributes.get("Content-Encoding", "")).lower()
    if encoding in PACKED:
        raise InputError(
            f"{where}: the server sends its files packed (Content-Encoding: {encoding}), and they are not unpacked "
            "here; copy the store to a local disk"
        )


def is_bad_request(error: BaseException) -> bool:
    """Whether a server answered 400 or 410, as some do for what they do not have."""
    return any(answer in str(error) for answer in ("400 Bad Request", "410 Gone"))


def is_denied(error: BaseException) -> bool:
    """Whether a server answered 401 or 403."""
    return type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError")


def shown_cause(error: BaseException) -> BaseException | None:
    """The error as the cause for a traceback; None for a server's answer, which may repeat what was sent."""
    return None if is_remote_error(error) else error


def describe_error(error: BaseException, where: object = "") -> str:
    """Describe an error at a place in one line; with the cure for servers, and without what was sent to them."""
    if not is_remote_error(error):
        return str(error)
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = f" ({code[1]})" if code else ""
    if "NoSuchBucket" in text:
        return "there is no such bucket; check its name; if the bucket is not Amazon's, check AWS_ENDPOINT_URL too"
    on_web = str(where).startswith("http")
    check = "check the address" if on_web else "check AWS_ENDPOINT_URL, if you have set it"
    if on_web and is_denied(error):
        return "access was denied; some servers also say this if there is nothing at the address, so check it"
    if is_denied(error):
        return (
            f"access was denied{said}; give credentials that may do this: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or the role of the machine"
        )
    first = text.split("\n", 1)[0].split("<?xml", 1)[0].split("<Error>", 1)[0]
    first = re.sub(r"(https?://)[^/\s@]*@", r"\1", re.sub(r"\?\S*", "", first)).strip(" :-")
    if "error sending request" in text or "timed out" in text:
        return f"the server does not answer ({first}); check the network, and {check}"
    if "Received non-partial response" in text:
        return "the file is empty, or the server cannot send parts of files, which shards need"
    if "Content-Length" in text:
        return (
            "the server sends nothing (204), or does not say how long its files are (Content-Length); check the "
            "address, or copy the store to a local disk"
        )
    return (
        f"the server answered with an error{said} ({first}); {check}, run the same command again, or ask whoever runs "
        "the server"
    )

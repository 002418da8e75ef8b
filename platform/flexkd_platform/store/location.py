"""Where a storage is: a folder of this machine, or a URI that pyarrow knows."""

from __future__ import annotations

import string
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow as pa
from pyarrow import fs

SECRETS = ("key", "passw", "pwd", "credential", "secret", "signature", "token")
"""A setting of a URI whose name has one of these words is a credential."""

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
"""Kinds of storage that pyarrow opens."""

OBJECT_STORES = {"s3", "gs", "gcs"}
"""Schemes whose URI has a bucket for its host, so that what precedes an @ can only be a key."""


REMEDIES = {
    "NO_SUCH_BUCKET": "create it, or name another one",
    "INVALID_ACCESS_KEY_ID": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SIGNATURE_DOES_NOT_MATCH": "set AWS_SECRET_ACCESS_KEY",
    "ACCESS_DENIED": "let AWS_ACCESS_KEY_ID put, read, list and delete objects there",
    "NETWORK_CONNECTION": "correct endpoint_override and scheme, or start the server",
}
"""What to do, by the name that an S3 client gives an error."""


class StoreError(ValueError):
    """The storage cannot be used as asked; says what to do."""


def open_location(uri: str) -> tuple[fs.FileSystem, str, str]:
    """The filesystem at a path or URI, the root in it, and the absolute path or the URI.

    Raises:
        StoreError: the URI is not understood, or holds credentials.
    """
    if "://" not in uri:
        try:
            path = str(Path(uri).expanduser().resolve())
        except RuntimeError as error:  # ~nobody, or links in a circle
            raise StoreError(f"{uri} is not a usable storage: {error}") from None
        return fs.LocalFileSystem(), path, path
    _refuse_credentials(uri)
    uri = quote(
        uri, safe=string.punctuation
    )  # people write größe, and pyarrow wants gr%C3%B6%C3%9Fe
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{uri} is not a usable storage: {error}") from None
    return filesystem, root, root if isinstance(filesystem, fs.LocalFileSystem) else uri


def absolute_location(uri: str) -> str:
    """The absolute path or the URI of a storage, which is not opened: what a bucket's URI leaves
    out S3 is asked for when it is, and perhaps it can be reached from a cluster alone.

    Raises:
        StoreError: the URI is not understood, or holds credentials.
    """
    scheme = uri.partition("://")[0]
    if "://" not in uri or scheme == "file":
        return open_location(uri)[2]
    _refuse_credentials(uri)
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise StoreError(f"{uri} is not a usable storage: kinds of storage are {known}")
    return uri


def joined(uri: str, path: str) -> str:
    """The place of `path` below a storage: it comes before what a URI says of how to connect."""
    if "://" not in uri:
        return f"{uri.rstrip('/')}/{path}"
    base, mark, query = uri.partition("?")
    return f"{base.rstrip('/')}/{quote(path)}{mark}{query}"


def remedy(error: BaseException) -> str:
    """What to do about an error of a storage, to be put behind it; "" where it says so itself."""
    told = str(error)
    return next((f"; {what}" for name, what in REMEDIES.items() if name in told), "")


def _refuse_credentials(uri: str) -> None:
    """A URI gets into logs, manifests, tracking and process lists, so it must hold no secret."""
    scheme, _, rest = uri.partition("://")
    shown = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise StoreError(f"{shown} is not a usable storage: {error}") from None
    named = [name for name, _ in parse_qsl(parts.query) if any(w in name.lower() for w in SECRETS)]
    user = parts.username is not None and scheme in OBJECT_STORES
    if not (named or user or parts.password is not None):
        return
    what = f"credentials ({', '.join(named)})" if named else "credentials before an @"
    raise StoreError(
        f"the storage {shown} is given with {what}, which logs and process lists would show; "
        "leave them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what your storage "
        "reads) in the environment, here and on the workers"
    )

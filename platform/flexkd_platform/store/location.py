"""The location of a storage: a local folder, or a URI that pyarrow supports."""

from __future__ import annotations

import string
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow as pa
from pyarrow import fs

SECRETS = ("key", "passw", "pwd", "credential", "secret", "signature", "token")
"""A URI parameter whose name contains one of these words is a credential."""

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
"""URI schemes that pyarrow supports."""

OBJECT_STORES = {"s3", "gs", "gcs"}
"""Schemes whose URI has a bucket as its host, so that text before an @ can only be a key."""


REMEDIES = {
    "NO_SUCH_BUCKET": "create it, or name another one",
    "INVALID_ACCESS_KEY_ID": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SIGNATURE_DOES_NOT_MATCH": "set AWS_SECRET_ACCESS_KEY",
    "ACCESS_DENIED": "let AWS_ACCESS_KEY_ID put, read, list and delete objects there",
    "NETWORK_CONNECTION": "correct endpoint_override and scheme, or start the server",
}
"""Remedies, by the S3 client's name of the error."""


class StoreError(ValueError):
    """The storage cannot be used as requested; the message includes a remedy."""


def open_location(uri: str) -> tuple[fs.FileSystem, str, str]:
    """The filesystem at a path or URI, the root in it, and the absolute path or the URI.

    Raises:
        StoreError: the URI is not supported, or contains credentials.
    """
    if "://" not in uri:
        try:
            path = str(Path(uri).expanduser().resolve())
        except RuntimeError as error:  # an unknown home folder, or a symlink loop
            raise StoreError(f"{uri} is not a usable storage: {error}") from None
        return fs.LocalFileSystem(), path, path
    _refuse_credentials(uri)
    # Users write größe, but pyarrow requires gr%C3%B6%C3%9Fe.
    uri = quote(uri, safe=string.punctuation)
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{uri} is not a usable storage: {error}") from None
    return filesystem, root, root if isinstance(filesystem, fs.LocalFileSystem) else uri


def absolute_location(uri: str) -> str:
    """The absolute path or the URI of a storage. It is not opened: that would query S3 for settings
    that the URI omits, and the storage may only be reachable from the cluster.

    Raises:
        StoreError: the URI is not supported, or contains credentials.
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
    """The URI of `path` in a storage: the path is inserted before the URI's query."""
    if "://" not in uri:
        return f"{uri.rstrip('/')}/{path}"
    base, mark, query = uri.partition("?")
    return f"{base.rstrip('/')}/{quote(path)}{mark}{query}"


def remedy(error: BaseException) -> str:
    """A remedy to append to an error message of a storage; "" if none is known."""
    message = str(error)
    return next((f"; {what}" for name, what in REMEDIES.items() if name in message), "")


def _refuse_credentials(uri: str) -> None:
    """Reject a URI with credentials: it appears in logs, manifests, tracking and process lists."""
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
        f"the storage {shown} contains {what}, which logs and process lists would show; "
        "leave them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what your storage "
        "reads) in the environment, here and on the workers"
    )

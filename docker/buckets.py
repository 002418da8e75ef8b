#!/usr/bin/env -S python3
"""Create missing S3 buckets: `flexkd-buckets NAME…`, at AWS_ENDPOINT_URL."""

from __future__ import annotations

import sys
from typing import Any

import boto3


def make_missing(client: Any, names: list[str]) -> list[str]:
    """Create the buckets that do not exist; returns their names."""
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    made = [name for name in names if name not in there]
    for name in made:
        client.create_bucket(Bucket=name)
    return made


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: flexkd-buckets NAME…")
    made = make_missing(boto3.client("s3"), sys.argv[1:])
    print(f"created {', '.join(made)}" if made else "all buckets exist")

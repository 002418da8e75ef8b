"""An S3 server of moto's in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator

import boto3
import pytest

BUCKET = "team"
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "flexkd-key",
    "AWS_SECRET_ACCESS_KEY": "flexkd-hidden",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto's S3 server as a process of its own, with an empty bucket; its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    argv = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*argv, "-p", str(port)], stdout=output, stderr=output)
    try:
        late = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < late, log.read_text()
                time.sleep(0.1)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=S3_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3_uri(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in the bucket, with the credentials for it in the environment."""
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    query = f"endpoint_override={s3_server}&scheme=http&region=us-east-1"
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/präfix?{query}"

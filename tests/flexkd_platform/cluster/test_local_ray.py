"""A Ray that is started on this machine: what it may not write down."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

KEY, SECRET = "AKIAMADEUP", "a-secret-that-nobody-has"

TRIAL = """
import os
from pathlib import Path
from ray import tune
from flexkd_platform.cluster.connect import join_cluster

def trial(config):
    tune.report({"has": len(os.environ.get("AWS_SECRET_ACCESS_KEY", ""))})

leave = join_cluster("local", Path(os.environ["RAY_TMPDIR"], "ray.log"))
results = tune.Tuner(
    tune.with_resources(trial, {"cpu": 1}),
    run_config=tune.RunConfig(storage_path=os.environ["RESULTS"], verbose=0),
).fit()
print("has", results[0].metrics["has"])
leave()
"""


@pytest.mark.ray
def test_keys_are_in_no_log_of_a_local_ray(tmp_path: Path) -> None:
    """Tune would put them into the runtime environment of trials, which Ray logs; a worker
    inherits them.
    """
    # Short, as a socket's path must be. Ray's last processes may still write there at the end.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as scratch:
        # Without the settings of the tests' own cluster, whose workers are forks.
        inherited = {n: value for n, value in os.environ.items() if not n.startswith("RAY_")}
        environment = inherited | {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "RAY_TMPDIR": scratch,
            "RESULTS": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        done = subprocess.run(
            [sys.executable, "-c", TRIAL],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"has {len(SECRET)}" in done.stdout
        logs = [path for path in Path(scratch).rglob("*") if path.is_file()]
        told = {path.name: path.read_bytes() for path in logs}
    assert b"PL_DISABLE_FORK" in told["runtime_env_agent.log"], "it tells of runtime environments"
    shown = [name for name, text in told.items() if SECRET.encode() in text or KEY.encode() in text]
    assert shown == []

"""compose.yaml: valid by the Compose specification, and what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from .compose import MissingVariableError, composed, filled, interpolated, settings, written
from .conftest import BOARDS, DOCKER, ROOT
from .test_images import stages

SERVICES: dict[str, Any] = composed()["services"]


def schema_errors(path: str) -> str:
    """What the specification's JSON schema (Apache-2.0, in check-jsonschema) has against a file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout


def test_the_file_is_valid_by_the_compose_specification(tmp_path: Any) -> None:
    assert schema_errors(str(DOCKER / "compose.yaml")) == ""
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(composed()))
    assert schema_errors(str(file)) == "", "and with its variables filled in"
    file.write_text(yaml.safe_dump({"services": {"head": {"image": "a", "comand": ["head"]}}}))
    assert "comand" in schema_errors(str(file)), "the schema finds what is wrong"


def test_compose_reads_the_file() -> None:
    """Where Docker's own Compose is installed, it has the last word."""
    docker = shutil.which("docker")
    command = [str(docker), "compose", "-f", str(DOCKER / "compose.yaml")]
    asked = [*command[:2], "version"]
    if docker is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("the docker client has no compose plugin here")
    done = subprocess.run(
        [*command, "config", "--quiet"], env=filled(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(settings()))
def test_no_secret_has_a_default(name: str) -> None:
    assert settings()[name] == "", "the example holds no value that somebody might keep"
    environment = {key: value for key, value in filled().items() if key != name}
    with pytest.raises(MissingVariableError, match=f"^{name}: set {name} in docker/.env$"):
        interpolated(written(), environment)


def test_variables_with_a_default_are_told_of() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    example = (DOCKER / ".env.example").read_text(encoding="utf-8")
    told = re.findall(r"^# (\w+)=(\S*)", example, flags=re.MULTILINE)
    assert sorted(told) == sorted(set(re.findall(r"\$\{(\w+):-([^}]*)\}", text)))


def test_secrets_are_nobody_elses_to_read() -> None:
    secrets = composed()["secrets"]
    for name, service in SERVICES.items():
        for secret in service.get("secrets", []):
            if secret == "postgres_password" and name == "postgres":
                continue  # read by root, who starts that image
            assert secret["mode"] == "0o400"
            assert int(secret["uid"]) > 0
            assert "environment" in secrets[secret["source"]]
            # Compose refuses the two together.
            assert not service.get("read_only")
    shown = yaml.safe_dump({name: s.get("command", []) for name, s in SERVICES.items()})
    assert "value-of" not in shown, "what stands in a command line, everybody can read"


def test_only_people_reach_it_and_only_from_this_machine() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert set(published) == {"head", "mlflow", "grafana"}
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)
    assert composed()["networks"]["database"] == {"internal": True}
    on_it = {name for name, s in SERVICES.items() if "database" in s["networks"]}
    assert on_it == {"postgres", "mlflow"}


def test_every_service_is_waited_for_until_it_is_well() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            once = other == "buckets"
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how == {"condition": wanted}, f"{name} on {other}"
        assert "test" in service["healthcheck"] or name == "buckets"


def test_images_are_pinned_and_their_licences_named() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    for name, service in SERVICES.items():
        repository, _, tag = service["image"].rpartition(":")
        assert repository
        assert re.search(r"\d+\.\d+", tag), f"{name}: {tag}"
    for name in ("postgres", "s3", "prometheus", "grafana"):
        assert re.search(rf"^  {name}: # .*(Licence|Apache-2\.0|AGPL-3\.0)", text, re.MULTILINE)


def test_ray_asks_for_the_token_everywhere() -> None:
    for name in ("head", "worker"):
        environment = SERVICES[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_auth_token"
        assert SERVICES[name]["secrets"][0]["source"] == "ray_auth_token"
        assert SERVICES[name]["user"] == "10001:10001"


def test_what_is_built_and_mounted_is_there() -> None:
    for service in SERVICES.values():
        if "build" in service:
            build = service["build"]
            assert (DOCKER / build["context"]).resolve() == ROOT
            assert (ROOT / build["dockerfile"]).is_file()
            assert build["target"] in stages()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists()
    assert list(BOARDS.glob("*.json"))


def test_prometheus_takes_its_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool not found; install Debian's package prometheus")
    config = DOCKER / "prometheus" / "prometheus.yaml"
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_grafana_finds_its_board_and_asks_prometheus() -> None:
    folder = DOCKER / "grafana" / "provisioning"
    read = lambda path: yaml.safe_load((folder / path).read_text(encoding="utf-8"))  # noqa: E731
    (source,) = read("datasources/prometheus.yaml")["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert host in SERVICES
    assert port == "9090"
    (provider,) = read("dashboards/flexkd.yaml")["providers"]
    mounted = [v.split(":")[1] for v in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted

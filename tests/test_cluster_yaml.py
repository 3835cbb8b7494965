"""cluster.yaml is what Ray's cluster launcher accepts: checked with the schema and the option parser that Ray ships."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from tests.fakes.nodes import QUICK

pytestmark = pytest.mark.slow  # Ray takes seconds to import

TEXT = (Path(__file__).parent.parent / "cluster.yaml").read_text()
COMMANDS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


def on_premises() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(TEXT)
    return config


def on_a_cloud() -> dict[str, Any]:
    """The file after doing what its last comment says."""
    commented = TEXT[TEXT.index("\n# provider:\n") + 1 :].splitlines()
    sections = yaml.safe_load("\n".join(line.removeprefix("# ") for line in commented))
    return {**on_premises(), **sections}


def accepted(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with Ray's defaults, as `ray up` would use it; raises what `ray up` would complain about."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared: dict[str, Any] = prepare_config(dict(config))
    validate_config(prepared)
    return prepared


VARIANTS = pytest.mark.parametrize("variant", [on_premises, on_a_cloud])


@VARIANTS
def test_ray_accepts_the_file(variant: Any) -> None:
    prepared = accepted(variant())
    assert prepared["cluster_name"] == "sweeper"
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_every_worker_of_the_local_cluster_is_started() -> None:
    config = on_premises()
    (node,) = accepted(config)["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(config["provider"]["worker_ips"])


def test_cloud_workers_are_spot_machines_and_the_head_is_not() -> None:
    types = accepted(on_a_cloud())["available_node_types"]
    markets = {name: each["node_config"].get("InstanceMarketOptions") for name, each in types.items()}
    assert markets == {"head": None, "gpu-spot": {"MarketType": "spot"}}


@VARIANTS
def test_nothing_is_left_of_the_defaults_that_are_not_safe(variant: Any) -> None:
    prepared = accepted(variant())
    everything = [command for section in (*COMMANDS, *STARTS) for command in prepared[section]]
    assert not [command for command in everything if "0.0.0.0" in command or "ray-wheels" in command]
    starts = [command for section in STARTS for command in prepared[section] if "ray start" in command]
    assert len(starts) == 2
    assert all("~/sweeper-env" in command for command in starts)
    assert [options_of(command)["include_dashboard"] for command in starts] == [True, None]
    assert {options_of(command)["dashboard_host"] for command in starts} == {"127.0.0.1"}


@VARIANTS
def test_every_node_installs_the_pinned_versions(variant: Any) -> None:
    assert [c for c in accepted(variant())["setup_commands"] if "--constraint ~/sweeper/constraints.txt" in c]


@VARIANTS
def test_ray_knows_every_option_that_it_is_started_with(variant: Any) -> None:
    prepared = accepted(variant())
    head, worker = (next(c for c in prepared[section] if "ray start" in c) for section in STARTS)
    assert options_of(head)["head"] is True
    assert options_of(head)["port"] == 6379
    assert {name: value for name, value in QUICK.items() if f"{name}={value}" in head} == QUICK
    assert options_of(worker)["address"] == "$RAY_HEAD_IP:6379"


def test_the_environment_of_every_command_has_the_token(tmp_path: Path) -> None:
    (write,) = [c for c in on_premises()["setup_commands"] if c.endswith("> ~/sweeper-env")]
    print_it = ". ~/sweeper-env && echo $RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH ${PATH%%:*}"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", f"{write} && {print_it}"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["token", f"{tmp_path}/.ray/auth_token", f"{tmp_path}/sweeper-venv/bin"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"worker": {}}, "Additional properties are not allowed"),
        ({"cluster_name": 7}, "7 is not of type 'string'"),
        ({"max_workers": -1}, "-1 is less than the minimum of 0"),
        ({"auth": {"ssh_usr": "ubuntu"}}, "'ssh_usr' was unexpected"),
        ({"setup_commands": [{"pip": "install"}]}, "is not of type 'string'"),
        ({"rsync_exclude": ".venv"}, "'.venv' is not of type 'array'"),
    ],
)
def test_the_check_notices_a_broken_file(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=complaint):
        accepted(on_premises() | change)


@pytest.mark.parametrize("missing", ["head_ip", "worker_ips"])
def test_the_check_notices_a_missing_address(missing: str) -> None:
    config = on_premises()
    del config["provider"][missing]
    with pytest.raises(click.ClickException):
        accepted(config)


def test_the_check_notices_a_head_of_unknown_type() -> None:
    with pytest.raises(ValueError, match="`head_node_type` must be one of"):
        accepted(on_a_cloud() | {"head_node_type": "haed"})


def options_of(command: str) -> dict[str, Any]:
    """What Ray's parser makes of the `ray start` in a shell command; raises click.UsageError for an unknown option."""
    from ray.scripts.scripts import start

    words = shlex.split(command)
    arguments = words[words.index("start") + 1 :]
    options: dict[str, Any] = start.make_context("start", arguments).params
    return options

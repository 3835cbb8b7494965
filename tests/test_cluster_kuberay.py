"""cluster-kuberay.yaml: what can be checked without Kubernetes. KubeRay's own schemas, 1.6.2 and 1.7, accepted it."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.nodes import QUICK

TEXT = (Path(__file__).parent.parent / "cluster-kuberay.yaml").read_text()
CLUSTER, CLAIM, POLICY = yaml.safe_load_all(TEXT)
GROUPS = {"head": CLUSTER["spec"]["headGroupSpec"]} | {
    each["groupName"]: each for each in CLUSTER["spec"]["workerGroupSpecs"]
}


def container(group: str) -> dict[str, Any]:
    (only,) = GROUPS[group]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_it_is_a_cluster_a_claim_and_a_policy() -> None:
    kinds = [(each["apiVersion"], each["kind"]) for each in (CLUSTER, CLAIM, POLICY)]
    assert kinds == [
        ("ray.io/v1", "RayCluster"),
        ("v1", "PersistentVolumeClaim"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
    ]
    assert list(GROUPS) == ["head", "gpu-spot"]


def test_a_token_is_demanded_and_none_is_in_the_file() -> None:
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token"}
    assert "stringData" not in TEXT
    named = {each["name"] for group in GROUPS for each in container(group)["env"]}
    assert named == {*QUICK, "RAY_USAGE_STATS_ENABLED"}


def test_the_version_is_the_one_that_is_tested() -> None:
    assert CLUSTER["spec"]["rayVersion"] == metadata.version("ray")


@pytest.mark.slow
def test_the_dashboard_is_on_loopback_and_ray_knows_every_option() -> None:
    from ray.scripts.scripts import start

    options = {}
    for group in GROUPS:
        arguments = [f"--{name}={value}" for name, value in GROUPS[group]["rayStartParams"].items()]
        options[group] = start.make_context("start", arguments).params
    assert (options["head"]["num_cpus"], options["head"]["dashboard_host"]) == (0, "127.0.0.1")
    assert "0.0.0.0" not in TEXT.replace("# KubeRay's default is 0.0.0.0.", "")


def test_a_lost_node_is_noticed_in_seconds() -> None:
    assert QUICK.items() <= {each["name"]: each["value"] for each in container("head")["env"]}.items()


def test_the_claim_is_where_the_head_keeps_results() -> None:
    (volume,) = GROUPS["head"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert container("head")["volumeMounts"] == [{"name": volume["name"], "mountPath": "/results"}]
    assert "--set results=/results" in TEXT


def test_only_pods_of_the_cluster_reach_it() -> None:
    own = {"matchLabels": {"ray.io/cluster": CLUSTER["metadata"]["name"]}}
    assert POLICY["spec"] == {
        "podSelector": own,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": own}]}],
    }


@pytest.mark.parametrize("group", GROUPS)
def test_every_pod_has_limits_that_it_is_given_whole_and_few_rights(group: str) -> None:
    spec = GROUPS[group]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container(group)["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container(group)["resources"]["limits"] == container(group)["resources"]["requests"]
    assert container(group)["image"] == container("head")["image"]


def test_the_number_of_workers_is_fixed() -> None:
    worker = GROUPS["gpu-spot"]
    assert worker["replicas"] == worker["minReplicas"] == worker["maxReplicas"]

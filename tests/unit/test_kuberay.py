"""docs/deploy/kuberay.yaml against the schemas of Kubernetes and KubeRay, and against what the gateway does.

Nothing here has seen a Kubernetes: what an operator makes of the file is not known by these tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.unit.raycluster import RayCluster, WorkerGroupSpec
from voice_server.__main__ import _parser
from voice_server.config import load_config
from voice_server.core.neighbours import parse_name

FILE = Path(__file__).parents[2] / "docs" / "deploy" / "kuberay.yaml"
OBJECTS: dict[str, dict[str, Any]] = {one["kind"]: one for one in yaml.safe_load_all(FILE.read_text())}
KUBERNETES = "1.34"


@pytest.fixture
def cluster() -> RayCluster:
    return msgspec.convert(OBJECTS["RayCluster"], RayCluster)


@pytest.fixture
def workers(cluster: RayCluster) -> WorkerGroupSpec:
    (group,) = cluster.spec.worker_group_specs
    return group


@pytest.fixture
def gateway() -> dict[str, Any]:
    """The pod."""
    pod: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]["spec"]
    return pod


@pytest.fixture
def container(gateway: dict[str, Any]) -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = gateway["containers"]
    return only


def pods(cluster: RayCluster) -> list[dict[str, Any]]:
    """All templates that are KubeRay's."""
    return [cluster.spec.head_group_spec.template, *(group.template for group in cluster.spec.worker_group_specs)]


def test_kuberay_knows_every_field(cluster: RayCluster) -> None:
    assert cluster.metadata.name == "voice"


@pytest.mark.parametrize("wrong", [{"rayVersoin": "2"}, {"authOptions": {"mode": "tokens"}}, {"headGroupSpec": {}}])
def test_kuberay_s_schema_refuses_what_it_does_not_know(wrong: dict[str, Any]) -> None:
    spoiled = {**OBJECTS["RayCluster"], "spec": {**OBJECTS["RayCluster"]["spec"], **wrong}}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(spoiled, RayCluster)


def test_kubernetes_knows_every_field(cluster: RayCluster) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="the group `deploy` is not installed")
    own = [one for one in OBJECTS.values() if one["kind"] != "RayCluster"]
    templates = [{"apiVersion": "v1", "kind": "PodTemplate", "template": template} for template in pods(cluster)]
    assert len(own) == 3
    for one in (*own, *templates):
        kubernetes.validate(one, KUBERNETES, strict=True)


def test_the_head_has_no_room_for_workers_and_a_node_has_room_for_one(
    cluster: RayCluster, workers: WorkerGroupSpec
) -> None:
    config = load_config(None).backends["voxcpm"]
    (node,) = workers.template["spec"]["containers"]
    assert cluster.spec.head_group_spec.ray_start_params["num-cpus"] == "0"
    assert config.devices == "auto" and node["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert float(node["resources"]["requests"]["cpu"]) >= config.resources.cpus


def test_nodes_come_and_go_between_bounds_that_leave_room_for_an_upgrade(
    cluster: RayCluster, workers: WorkerGroupSpec, container: dict[str, Any]
) -> None:
    given = _parser().parse_args(arguments(container))
    assert cluster.spec.enable_in_tree_autoscaling
    assert 1 <= workers.min_replicas <= (workers.replicas or 0) <= given.pool_size < workers.max_replicas


def arguments(container: dict[str, Any]) -> list[str]:
    """As Kubernetes fills them in, for a pod of this name."""
    return [one.replace("$(POD_NAME)", "voice-server-5d8f-x2x7k") for one in container["args"]]


def test_the_gateway_is_started_with_flags_that_it_has_and_finds_its_cluster(
    cluster: RayCluster, container: dict[str, Any]
) -> None:
    given = _parser().parse_args(arguments(container))
    assert given.cluster == f"ray://{cluster.metadata.name}-head-svc:10001"
    assert parse_name(given.gateway) and given.backend == ["voxcpm"] and given.host == "0.0.0.0"


def test_a_pod_that_leaves_is_given_the_time_to_drain(gateway: dict[str, Any], container: dict[str, Any]) -> None:
    before_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain_s = _parser().parse_args(arguments(container)).drain
    assert gateway["terminationGracePeriodSeconds"] > before_s + drain_s


def test_readiness_is_that_of_speaking_and_health_that_of_answering(container: dict[str, Any]) -> None:
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"livenessProbe": "/health", "startupProbe": "/health", "readinessProbe": "/ready"}
    assert {port["name"] for port in container["ports"]} == {"http"}


def test_gateway_and_nodes_are_one_image_and_show_one_token(cluster: RayCluster, container: dict[str, Any]) -> None:
    nodes = [node for pod in pods(cluster) for node in pod["spec"]["containers"]]
    environ = {one["name"]: one for one in container["env"]}
    assert {container["image"], *(node["image"] for node in nodes)} == {"registry.example/voice-server:0.1.0"}
    assert cluster.spec.auth_options and cluster.spec.auth_options.mode == environ["RAY_AUTH_MODE"]["value"]
    secret = environ["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": cluster.metadata.name, "key": "auth_token"}  # as KubeRay names it
    assert environ["VOICE_SERVER_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] != secret["name"]


def test_only_the_gateway_and_the_nodes_themselves_reach_the_nodes(cluster: RayCluster) -> None:
    policy, labels = OBJECTS["NetworkPolicy"]["spec"], OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    own = {"ray.io/cluster": cluster.metadata.name}
    assert policy["podSelector"]["matchLabels"] == own
    (rule,) = policy["ingress"]
    assert [one["podSelector"]["matchLabels"] for one in rule["from"]] == [own, labels]
    assert OBJECTS["Service"]["spec"]["selector"] == labels


def test_nobody_is_root(cluster: RayCluster, container: dict[str, Any]) -> None:
    user = int(re.findall(r"^USER (\d+)$", (FILE.parent / "Containerfile").read_text(), re.MULTILINE)[0])
    for one in (container, *(node for pod in pods(cluster) for node in pod["spec"]["containers"])):
        context = one["securityContext"]
        assert (context["runAsUser"], context["runAsNonRoot"], context["allowPrivilegeEscalation"]) == (
            user,
            True,
            False,
        )

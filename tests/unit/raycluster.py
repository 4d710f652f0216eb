"""What a RayCluster v1 may say, as far as it is KubeRay's own: pods, services and policies are those of Kubernetes.

Taken from ray-operator/apis/ray/v1/raycluster_types.go of KubeRay (a version after 1.6), of which its CRD is generated.
What may be newer than KubeRay 1.5.1 and is not used here is left out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Pod = dict[str, Any]  # a PodTemplateSpec
Words = dict[str, str]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class _Strict(Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    pass


class AuthOptions(_Strict):
    mode: Literal["disabled", "token"] = "token"


class AutoscalerOptions(_Strict):
    resources: dict[str, Any] = {}
    image: str = ""
    image_pull_policy: str = ""
    security_context: dict[str, Any] = {}
    idle_timeout_seconds: Count | None = None
    upscaling_mode: Literal["Default", "Aggressive", "Conservative"] | None = None
    version: Literal["v1", "v2"] | None = None
    env: list[dict[str, Any]] = []
    env_from: list[dict[str, Any]] = []
    volume_mounts: list[dict[str, Any]] = []


class GcsFaultToleranceOptions(_Strict):
    redis_address: str  # may be left out in newer ones
    redis_username: dict[str, Any] = {}
    redis_password: dict[str, Any] = {}
    external_storage_namespace: str = ""


class HeadGroupSpec(_Strict):
    template: Pod
    ray_start_params: Words  # may be left out in newer ones
    head_service: dict[str, Any] = {}
    enable_ingress: bool | None = None
    resources: Words = {}
    labels: Words = {}
    service_type: str = ""


class ScaleStrategy(_Strict):
    workers_to_delete: list[str] = []


class WorkerGroupSpec(_Strict):
    group_name: str
    min_replicas: Count
    max_replicas: Count
    template: Pod
    ray_start_params: Words
    replicas: Count | None = None
    suspend: bool | None = None
    idle_timeout_seconds: Count | None = None
    resources: Words = {}
    labels: Words = {}
    scale_strategy: ScaleStrategy | None = None
    num_of_hosts: Count = 1


class RayClusterSpec(_Strict):
    head_group_spec: HeadGroupSpec
    worker_group_specs: list[WorkerGroupSpec] = []
    ray_version: str = ""
    auth_options: AuthOptions | None = None
    autoscaler_options: AutoscalerOptions | None = None
    enable_in_tree_autoscaling: bool | None = None
    gcs_fault_tolerance_options: GcsFaultToleranceOptions | None = None
    head_service_annotations: Words = {}
    managed_by: Literal["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"] | None = None
    suspend: bool | None = None


class Metadata(_Strict):
    name: Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
    namespace: str = ""
    labels: Words = {}
    annotations: Words = {}


class RayCluster(_Strict):
    api_version: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec

"""A Ray cluster of several nodes on this machine.

`python -m tests.cluster.nodes NODES CPUS CLIENT_PORT` tells its address, and ends it when standard input does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE_BYTES = 80 * 2**20  # the least that Ray takes
_HEALTH = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 1000, "health_check_timeout_ms": 3000}


@contextmanager
def ray_cluster(port: int = 0, client_port: int = 0, **system: Any) -> Iterator[Any]:
    """A head that has no room for workers; `client_port` is for those who are no nodes, `system` is of Ray's own
    configuration. Raises ModuleNotFoundError where Ray is not installed."""
    from ray.cluster_utils import Cluster

    # Of a head below `uv run` Ray takes nodes for copies of its folder.
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    head |= {"_system_config": {**_HEALTH, **system}, **({"gcs_server_port": port} if port else {})}
    head |= {"ray_client_server_port": client_port} if client_port else {}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, cpus: int) -> Any:
    return cluster.add_node(num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES)


def main(nodes: int, cpus: int, client_port: int) -> None:
    told = os.dup(1)  # what Ray prints goes elsewhere
    os.dup2(2, 1)
    os.environ.pop("PYTHONPATH", None)  # a node finds us nowhere but in what travels
    with ray_cluster(client_port=client_port) as cluster:
        for _ in range(nodes):
            add_node(cluster, cpus)
        os.write(told, f"{cluster.address}\n".encode())
        sys.stdin.read()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

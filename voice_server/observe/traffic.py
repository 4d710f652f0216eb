"""What came in and went out, in plain numbers: they are counted for every message, and read when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class Traffic:
    open: Counter[str] = field(default_factory=Counter)  # by kind: "http", "websocket", "tcp"
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # by door, status, code
    sent_bytes: int = 0  # of bodies and messages: neither headers nor TLS


class TrafficCollector(Collector):
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily("voice_connections", "Requests and sockets that are open.", labels=["kind"])
        for kind, count in sorted(self._traffic.open.items()):
            connections.add_metric([kind], count)
        requests = CounterMetricFamily(
            "voice_requests", "Requests and sockets by how they ended.", labels=["door", "status", "code"]
        )
        for end, count in sorted(self._traffic.ended.items()):
            requests.add_metric(list(end), count)
        sent = CounterMetricFamily("voice_sent_bytes", "Handed to clients' sockets.", value=self._traffic.sent_bytes)
        return iter([connections, requests, sent])

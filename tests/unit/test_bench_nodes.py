"""The simulation of many nodes: nothing is lost or heard twice, and the same seed gives the same run."""

from __future__ import annotations

import random

import pytest

from bench.listeners import Asked, Engine, Listener, Period, Policy
from bench.nodes import Cluster, Losses
from bench.scenarios import Crowd, Scenario, is_wrong, moments, run
from bench.simulated import Simulated, simulate
from bench.timeline import HOP_S, Link, Timeline, Way, Wire

PERIOD = Period(warm_up_s=0.0, seconds=15.0, drain_s=15.0)
LINK = Link(latency_s=0.002, spread=0.5, bytes_per_s=1e6)
BUSY = Engine(workers=8)


def run_on(cluster: Cluster, answers: list[Asked], engine: Engine = BUSY) -> Simulated:
    return simulate(engine, Policy("chunk-EDF", "deadline", 4), PERIOD, answers, cluster)


def answers(count: int, chars: tuple[int, ...] = (60, 80, 40)) -> list[Asked]:
    return [Asked(number, number / 4, True, chars) for number in range(count)]


def heard(simulated: Simulated) -> list[tuple[float, float, list[float]]]:
    listeners = simulated.gateway.listeners
    return [(one.first_audio_s, one.playhead.received_s, one.playhead.gaps) for one in listeners]


def test_though_nodes_are_lost_every_answer_is_heard_whole_and_nothing_twice() -> None:
    gateway, nodes = run_on(Cluster(4, LINK, Losses(first_at=1.0, every_s=2.0, back_after_s=1.5)), answers(40))
    assert len(nodes.lost_at) > 5
    assert gateway.again > 5
    assert all(one.is_done or one.failed for one in gateway.listeners)
    assert not any(is_wrong(one, BUSY) for one in gateway.listeners)


def test_what_a_lost_node_had_open_is_rendered_on_another_one() -> None:
    losses = Losses(
        first_at=0.3, every_s=60.0, back_after_s=60.0
    )  # both nodes are busy then, and it does not come back
    both = [Asked(number, 0.0, True, (50,)) for number in range(2)]
    gateway, _ = run_on(Cluster(2, LINK, losses), both, Engine(workers=2))
    assert gateway.again == 1
    assert [one.playhead.received_s for one in gateway.listeners] == [pytest.approx(3.0)] * 2


def test_who_had_heard_a_part_gets_the_rest_when_the_second_render_has_come_so_far() -> None:
    losses = Losses(first_at=0.5, every_s=60.0, back_after_s=0.1)
    gateway, _ = run_on(Cluster(1, losses=losses), [Asked(0, 0.0, True, (100,))], Engine(workers=1))
    [listener] = gateway.listeners
    chunks = listener.playhead.chunks
    assert listener.playhead.received_s == pytest.approx(6.0)
    assert 75 <= chunks <= 76  # each of 80 ms once; the one at the seam may be cut in two


def test_a_sentence_that_was_lost_twice_has_failed_and_the_next_one_is_heard() -> None:
    losses = Losses(first_at=0.5, every_s=0.5, back_after_s=0.1)
    gateway, _ = run_on(Cluster(1, losses=losses), [Asked(0, 0.0, True, (100, 5))], Engine(workers=1))
    [listener] = gateway.listeners
    assert (listener.failed, listener.is_done) == (1, True)


def test_a_loss_that_nobody_notices_keeps_its_listener_waiting_for_so_long() -> None:
    losses = Losses(first_at=0.02, every_s=60.0, noticed_after_s=4.0, back_after_s=60.0)
    both = [Asked(number, 0.0, True, (50,)) for number in range(2)]
    gateway, _ = run_on(Cluster(2, losses=losses), both, Engine(workers=2))
    lucky, unlucky = sorted(one.first_audio_s for one in gateway.listeners)
    assert unlucky - lucky == pytest.approx(4.02, abs=0.01)


def test_the_same_seed_gives_the_same_run() -> None:
    cluster = Cluster(4, LINK, Losses(first_at=1.0, every_s=2.0, back_after_s=1.5))
    assert heard(run_on(cluster, answers(30))) == heard(run_on(cluster, answers(30)))


def test_workers_on_one_node_without_a_link_are_those_at_home() -> None:
    assert heard(run_on(Cluster(), answers(30))) == heard(run_on(Cluster(4), answers(30)))


def test_messages_over_a_link_come_in_the_order_in_which_they_were_sent() -> None:
    timeline, came = Timeline(), list[int]()
    way = Way(timeline, LINK.latencies(random.Random(1)), Wire(LINK.bytes_per_s))
    for number in range(500):
        timeline.at(number / 10_000, way.send, 10.0, came.append, number)
    timeline.run(until=1.0)
    assert came == list(range(500))


def test_workers_of_one_node_share_what_it_can_send() -> None:
    timeline, came_at = Timeline(), list[float]()
    wire = Wire(bytes_per_s=1000.0)
    ways = [Way(timeline, Link().latencies(random.Random(1)), wire) for _ in range(3)]
    for way in ways:
        way.send(500.0, lambda: came_at.append(timeline.now))
    timeline.run(until=10.0)
    assert came_at == pytest.approx([0.5 + HOP_S, 1.0 + HOP_S, 1.5 + HOP_S])


def test_so_many_listeners_are_the_load_that_was_asked_for() -> None:
    crowd = Crowd(nodes=2, workers=8, listeners=60, load=0.6, capacity=4, tokens_per_s=60.0, seconds=20.0)
    assert crowd.engine.audio_per_s * crowd.load == pytest.approx(crowd.listeners)
    outcome = run(crowd, Scenario("small", Cluster(2, LINK)))
    assert outcome.listeners == pytest.approx(crowd.listeners, rel=0.2)  # by chance, more or fewer
    assert outcome.wrong == 0


def test_a_gap_counts_at_the_moment_when_it_was_heard() -> None:
    listener = Listener(Asked(0, 0.5, True, (100,)))
    listener.hear(1.0, now=1.0)
    listener.hear(5.0, now=4.5)
    told = moments([listener], Period(warm_up_s=0.0, seconds=8.0))
    assert [moment.gap_free for moment in told] == [1.0, 1.0, 0.0, 1.0]

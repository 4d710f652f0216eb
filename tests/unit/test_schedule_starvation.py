"""Nobody starves: drawn answers and files among listeners who never stop coming, on a model of workers in fake time.

Workers do so many seconds of work for each second of audio, and turn to the render that is due first; listeners take
what they are given, as fast as time passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.schedule import Scheduler

LIMITS = replace(StreamLimits(), file_slack_s=5.0, file_share=0.5)  # so that little fake time has to pass
NOW = 1000.0
TICK_S = 0.25
CHUNK_S = 0.5
CHARS_PER_S = 15
PATIENCE_S = 200.0


@dataclass(frozen=True)
class Wish:
    """One answer or file."""

    at_s: float
    live: bool
    client: str
    sentences: tuple[int, ...]  # seconds of speech
    ends: bool = True  # False: the model never says that its answer is complete


@dataclass
class Worker:
    rtf: float
    open: dict[int, tuple[float, float]] = field(default_factory=dict)  # render id -> due at, pace
    spent_s: float = 0.0


class Town:
    def __init__(self, wishes: list[Wish], rtf: float, capacities: list[int], newcomers_per_s: float) -> None:
        self.scheduler = Scheduler(LIMITS, fifo=False)
        self.wishes = dict(enumerate(wishes, 1))
        self.left = {(stream, number): float(s) for stream in self.wishes for number, s in self.said_by(stream)}
        self.wished = list(self.left)
        self.workers = {f"w{number}": Worker(rtf) for number in range(len(capacities))}
        self.renders: dict[int, Assignment] = {}
        self.newcomers_per_s = newcomers_per_s
        self.newcomers = 0
        self.now = NOW
        for name, capacity in zip(self.workers, capacities, strict=True):
            self.scheduler.worker_ready(name, capacity)

    def said_by(self, stream: int) -> list[tuple[int, int]]:
        return list(enumerate(self.wishes[stream].sentences))

    def run(self) -> None:
        """Until all that was wished for has been said."""
        while any(wished in self.left for wished in self.wished):
            assert self.now < NOW + PATIENCE_S, "somebody starves"
            self.come()
            for assignment in self.scheduler.assign(self.now):
                self.renders[assignment.render_id] = assignment
                self.workers[assignment.worker].open[assignment.render_id] = (assignment.deadline, assignment.pace)
            self.now += TICK_S
            for worker in self.workers.values():
                self.work(worker)

    def come(self) -> None:
        for stream, wish in self.wishes.items():
            if self.now - TICK_S < NOW + wish.at_s <= self.now:
                self.ask(stream, wish)
        while self.newcomers < (self.now - NOW) * self.newcomers_per_s:
            self.newcomers += 1
            self.left[1000 + self.newcomers, 0] = 1.0
            self.ask(1000 + self.newcomers, Wish(0.0, True, f"newcomer {self.newcomers}", (1,)))

    def ask(self, stream: int, wish: Wish) -> None:
        client = wish.client if wish.ends else f"silent {stream}"  # one that stays inside stands in its own way only
        self.scheduler.open_stream(stream, live=wish.live, client=client)
        for number, seconds in enumerate(wish.sentences):
            self.scheduler.submit(stream, number, seconds * CHARS_PER_S, self.now)
        if wish.ends:
            self.scheduler.finish(stream)

    def work(self, worker: Worker) -> None:
        worker.spent_s -= TICK_S
        while worker.open and worker.spent_s < 0:
            self.step(worker, min(worker.open, key=lambda render_id: worker.open[render_id][0]))
        worker.spent_s = max(worker.spent_s, -TICK_S) if worker.open else 0.0

    def step(self, worker: Worker, render_id: int) -> None:
        render = self.renders[render_id]
        due_at, pace = worker.open[render_id]
        worker.open[render_id] = (due_at + CHUNK_S * pace, pace)
        worker.spent_s += CHUNK_S * worker.rtf
        self.left[render.stream, render.sentence] -= CHUNK_S
        self.scheduler.rendered(render_id, CHUNK_S, self.now)
        self.scheduler.delivered(render.stream, CHUNK_S, 0.0, self.now)
        for moved, new_due_at in self.scheduler.corrections(render.stream, self.now):
            owner = self.workers[self.renders[moved].worker]
            owner.open[moved] = (new_due_at, owner.open[moved][1])
        if self.left[render.stream, render.sentence] <= 0:
            self.end(worker, render)

    def end(self, worker: Worker, render: Assignment) -> None:
        del worker.open[render.render_id], self.left[render.stream, render.sentence]
        self.scheduler.released(render.render_id, self.now, complete=True)
        if render.stream not in self.wishes:
            self.scheduler.close_stream(render.stream)


WISHES = st.builds(
    Wish,
    at_s=st.sampled_from([0.0, 2.0, 9.0]),
    live=st.booleans(),
    client=st.sampled_from("ab"),
    sentences=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    ends=st.booleans(),
)


@settings(max_examples=2 * settings.default.max_examples)
@given(
    wishes=st.lists(WISHES, min_size=1, max_size=4),
    rtf=st.sampled_from([0.3, 1.2]),
    capacities=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    load=st.sampled_from([0.0, 0.5, 1.0, 1.3]),
)
def test_whoever_wants_to_speak_is_heard_in_the_end_however_many_come(
    wishes: list[Wish], rtf: float, capacities: list[int], load: float
) -> None:
    """`load`: of the workers' whole time, newcomers' answers of a second."""
    Town(wishes, rtf, capacities, newcomers_per_s=load * len(capacities) / rtf).run()

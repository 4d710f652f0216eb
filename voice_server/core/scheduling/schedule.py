"""Which waiting sentence starts next, and on which worker: earliest playout deadline first, over all streams.

The gateway knows, for every stream, when the audio it has delivered will run out. That instant is the deadline of the
stream's next audio; the first sentence of an answer is due at once. A worker that can hold several renders open steps
the one that is due first, chunk by chunk; `corrections` tells it when a deadline has moved otherwise than it assumes.

A live answer is let in when the measured speed of the workers carries one more listener without a gap (admission.py).
Until then it waits, for the client that has the fewest answers inside, in the order they came.
Nobody listens to a whole file in real time: its sentences are due a fixed while after they were said, and once they are
overdue they may claim a fixed share of the workers, so that they harm no listener and yet cannot starve.

Laws (tests/unit/test_schedule_laws.py):
  * work-conserving: no worker idles while a sentence that may start waits;
  * the sentences of a stream start in order, and a retry before its successors;
  * nobody starves: whatever was let in becomes the most urgent in the end, and somebody is always let in;
  * a cancelled stream leaves nothing behind but the seats its renders hold until the engine lets go of them;
  * a stream whose client does not take its audio is not rendered further ahead than `ahead_s`.

Pure: `now` is an argument, in seconds of any monotonic clock. `fifo` is the policy of most servers, kept to measure
against: first come, first served, everyone is let in.
"""

from __future__ import annotations

from bisect import bisect_left

from voice_server.core.limits import StreamLimits
from voice_server.core.scaling import Load
from voice_server.core.scheduling.entrance import Entrance
from voice_server.core.scheduling.line import Line
from voice_server.core.scheduling.places import Places
from voice_server.core.scheduling.plan import Assignment, RenderPlan, StreamPlan, Waiting
from voice_server.core.scheduling.seats import Seats
from voice_server.core.scheduling.snapshot import Place, PoolSnapshot
from voice_server.core.scheduling.speed import SpeechRate

CHARS_PER_S = 15.0  # of speech, until the engine's own rate has been measured


class Scheduler:
    """The waiting line of one backend."""

    def __init__(self, limits: StreamLimits, *, fifo: bool) -> None:
        self._limits = limits
        self._fifo = fifo
        self._streams: dict[int, StreamPlan] = {}
        self._renders: dict[int, RenderPlan] = {}  # wanted ones
        self._seats = Seats(limits.kept_seats)
        self._line = Line()  # streams that go on with what comes next
        self._ahead = Line()  # streams of which that is being rendered: what comes after it is for idle workers
        self._newcomers = Line()  # answers that begin: they find the kept seats, whoever else has to wait
        self._rate = SpeechRate(CHARS_PER_S)
        self._entrance = Entrance(limits, self._streams, self._seats, self._rate)
        self._in_line = Places()
        self._next_render = 1
        self._files_due_at = 0.0
        self.deadline_misses = 0

    # Workers

    def worker_ready(self, worker: str, capacity: int) -> None:
        self._seats.add(worker, capacity)
        self._entrance.look_again()

    def worker_holds(self, worker: str, capacity: int) -> None:
        """It takes no more than so many renders from now on; those it has stay."""
        self._seats.resize(worker, capacity)

    def worker_gone(self, worker: str) -> None:
        """It gets no more renders. Those that it has open still are released, one by one, when they end."""
        self._seats.remove(worker)

    @property
    def has_idle_worker(self) -> bool:
        return self._seats.has_idle

    # Streams

    def open_stream(self, stream: int, *, live: bool, client: str = "") -> None:
        self._streams[stream] = StreamPlan(live, client)

    def close_stream(self, stream: int) -> None:
        """Forget the stream. The seats of its open renders are freed by `released`."""
        self.clear(stream)
        del self._streams[stream]

    def submit(self, stream: int, sentence: int, chars: int, now: float) -> None:
        plan = self._streams[stream]
        if plan.would_begin:
            self._begin_answer(stream, plan, sentence)
        plan.waiting.append(Waiting(sentence, chars, now))
        self._enter(stream, plan, now)

    def retry(self, stream: int, sentence: int, chars: int, now: float, avoid: str = "") -> None:
        """A sentence whose render came to nothing goes before its successors, and to a worker other than `avoid` if
        another is free; they may be told to retry in any order."""
        plan = self._streams[stream]
        plan.ended.pop(sentence, None)
        place = sum(1 for other in plan.waiting if other.sentence < sentence)
        plan.waiting.insert(place, Waiting(sentence, chars, now, avoid))
        self._entrance.enter(stream, plan)
        self._enter(stream, plan, now)

    def finish(self, stream: int) -> None:
        """The answer's text is complete."""
        plan = self._streams[stream]
        plan.is_complete = True
        self._entrance.leave_if_done(plan)

    def clear(self, stream: int) -> list[int]:
        """Barge-in: drop what waits and was rendered. Returns the renders to cancel; they hold their seats still."""
        plan = self._streams[stream]
        for render_id in plan.open:
            del self._renders[render_id]
        self._entrance.give_up(stream)
        self._entrance.leave(plan)
        self._leave_line(stream)
        self._streams[stream] = StreamPlan(plan.live, plan.client)
        return list(plan.open)

    # News

    def speaks(self, render_id: int, voice: str) -> None:
        """The voice of a render that was started; each has its own rate of speech."""
        render = self._renders[render_id]
        render.voice = self._streams[render.stream].voice = voice

    def rendered(self, render_id: int, audio_s: float, now: float) -> None:
        """An open render produced audio."""
        render = self._renders.get(render_id)
        self._seats.heard(render_id, audio_s, now)
        if render is None:
            return
        plan = self._streams[render.stream]
        if plan.live and plan.has_spoken and now > plan.due(render, now, self._rate.seconds) + self._limits.late_s:
            self.deadline_misses += 1
        render.due_at += audio_s * self._pace(plan)
        render.audio_s += audio_s
        plan.undelivered_s += audio_s
        plan.made_s += audio_s

    def repeated(self, stream: int, sentence: int, audio_s: float) -> None:
        """A sentence came from memory instead of a worker."""
        self._streams[stream].overtake(sentence, audio_s)

    def stopped(self, render_id: int, now: float) -> None:
        """An open render is wanted no more, and its sentence is over; it holds its seat until it is released."""
        if render := self._renders.pop(render_id, None):
            plan = self._streams[render.stream]
            plan.close(render)
            self._entrance.leave_if_done(plan)
            self._enter(render.stream, plan, now)

    def delivered(self, stream: int, audio_s: float, undelivered_s: float, now: float) -> None:
        """`audio_s` more was handed to the client's socket, `undelivered_s` of what was rendered is left."""
        if plan := self._streams.get(stream):
            plan.undelivered_s = undelivered_s
            if audio_s:
                plan.runs_out_at = max(plan.runs_out_at, now) + audio_s
            if not audio_s or stream not in self._line_of(plan):  # without audio it was told that less is left
                self._enter(stream, plan, now)

    def released(self, render_id: int, now: float, *, complete: bool = False) -> None:
        """The engine has let go of a render: it is done (`complete`), failed, cancelled, or its worker is dead."""
        self._seats.release(render_id, now, complete=complete)
        render = self._renders.pop(render_id, None)
        if render is None:
            return
        plan = self._streams[render.stream]
        plan.close(render)
        if complete:
            self._rate.add(render.voice, render.chars, render.audio_s)
        self._entrance.leave_if_done(plan)
        self._enter(render.stream, plan, now)  # it may have been shorter than it looked

    # Decisions

    def assign(self, now: float) -> list[Assignment]:
        """Fill the seats that ought to be filled."""
        for stream in self._entrance.let_in(now):
            self._enter(stream, self._streams[stream], now)
        assignments: list[Assignment] = []
        while assignment := self._start_next(now):
            assignments.append(assignment)
        return assignments

    def skip(self, stream: int) -> bool:
        """Whether the first waiting sentence may be said now without a worker; it does not wait any more then."""
        plan = self._streams[stream]
        if not self._may_start(plan):
            return False
        plan.waiting.popleft()
        self._leave_line(stream)
        return True

    def corrections(self, stream: int, now: float) -> list[tuple[int, float]]:
        """Open renders of a stream whose deadline is another than their worker thinks, and the true one."""
        plan = self._streams.get(stream)
        moved: list[tuple[int, float]] = []
        if plan is None or not plan.live or self._fifo:
            return moved
        for render in plan.open.values():
            due_at = max(now, plan.due(render, now, self._rate.seconds))
            if abs(due_at - render.due_at) > self._limits.moved_s and not (due_at == now and render.due_at < now):
                render.due_at = due_at
                moved.append((render.render_id, due_at))
        return moved

    def place(self, stream: int, now: float) -> Place | None:
        """Where a stream stands in the line, None when nothing of it waits."""
        plan = self._streams[stream]
        if not plan.waiting:
            return None
        if stream in self._entrance:
            return self._entrance.place(stream, now)
        return self._place_in_line(plan, self._dues(now), now)

    def loser(self, stream: int, room: int) -> int | None:
        """Who gives up its place if this stream says more now and `room` answers may wait to begin: perhaps itself."""
        plan = self._streams[stream]
        return self._in_line.loser(stream, plan.client, room) if plan.would_begin else None

    def place_free_in_s(self, now: float) -> float | None:
        """Until the next of those who wait to begin does; None where nobody knows."""
        return self._entrance.next_in_s(now) if len(self._entrance) else self._seats.wait_s(0, self._remaining_s)

    @property
    def waiting_streams(self) -> int:
        """Those of which an answer waits to begin."""
        return len(self._in_line)

    def waiting(self, stream: int) -> int:
        """Sentences of a stream that no worker has taken."""
        return len(self._streams[stream].waiting)

    def load(self, now: float) -> Load:
        """What is asked of the workers, for who decides how many there are to be."""
        return self._entrance.load(self.deadline_misses, now)

    def snapshot(self, now: float) -> PoolSnapshot:
        """For people: who waits for what."""
        places = self._places(now)
        streams = [plan.state(stream, places.get(stream), now) for stream, plan in self._streams.items()]
        renders = [render.state(now) for render in self._renders.values()]
        return PoolSnapshot(self._seats.states(), streams, renders, self.deadline_misses)

    # Places

    def _places(self, now: float) -> dict[int, Place]:
        """Of all who wait; their deadlines are looked at once, since a look at a thousand must not stop the audio."""
        dues = self._dues(now)
        inside = {
            stream: self._place_in_line(plan, dues, now)
            for stream, plan in self._streams.items()
            if plan.waiting and stream not in self._entrance
        }
        return inside | self._entrance.places(now)

    def _dues(self, now: float) -> list[float]:
        """The deadlines of all who are let in and wait, soonest first."""
        return sorted(self._due(plan, now) for plan in self._streams.values() if plan.waiting and plan.is_admitted)

    def _place_in_line(self, plan: StreamPlan, dues: list[float], now: float) -> Place:
        before = bisect_left(dues, self._due(plan, now))
        return Place(before + 1, self._seats.wait_s(before, self._remaining_s))

    # The lines

    def _begin_answer(self, stream: int, plan: StreamPlan, opening: int) -> None:
        plan.begin(opening)
        self._in_line.take(stream, plan.client)
        if plan.live and not self._fifo:
            self._entrance.come(stream, plan)
        else:
            self._entrance.enter(stream, plan)

    def _due(self, plan: StreamPlan, now: float) -> float:
        """The deadline of a stream's next waiting sentence."""
        if self._fifo:
            return plan.waiting[0].since
        if not plan.live:
            return max(plan.waiting[0].since + self._limits.file_slack_s, self._files_due_at)
        return plan.next_due(now, self._rate.seconds)

    def _pace(self, plan: StreamPlan) -> float:
        if self._fifo:
            return 0.0
        return 1.0 if plan.live else 1.0 / self._limits.file_share

    def _enter(self, stream: int, plan: StreamPlan, now: float) -> None:
        """Into the line, or further to the front if it became more urgent."""
        if self._may_start(plan):
            self._line_of(plan).put(stream, self._due(plan, now))

    def _line_of(self, plan: StreamPlan) -> Line:
        if plan.is_first:
            return self._newcomers
        return self._ahead if plan.is_ahead and not self._fifo else self._line

    def _leave_line(self, stream: int) -> None:
        self._in_line.leave(stream)
        for line in (self._line, self._ahead, self._newcomers):
            line.leave(stream)

    def _may_start(self, plan: StreamPlan) -> bool:
        return bool(plan.waiting) and plan.is_admitted and plan.deliverable_s < self._limits.ahead_s

    def _start_next(self, now: float) -> Assignment | None:
        """The most urgent of those for whom there is a seat: who begins an answer may find one where others do not."""
        lines = (self._line, self._ahead, self._newcomers) if self.has_idle_worker else (self._line, self._newcomers)
        for due_at, stream in sorted(head for line in lines for head in self._head(line, now)):
            plan = self._streams[stream]
            if worker := self._worker_for(plan, due_at, now):
                return self._start(stream, plan, worker, now)
        return None

    def _head(self, line: Line, now: float) -> list[tuple[float, int]]:
        def due_at(stream: int) -> float | None:
            plan = self._streams[stream]
            return self._due(plan, now) if self._may_start(plan) and self._line_of(plan) is line else None

        stream = line.head(due_at)
        return [] if stream is None else [(self._due(self._streams[stream], now), stream)]

    def _worker_for(self, plan: StreamPlan, due_at: float, now: float) -> str | None:
        """An idle worker, or a seat beside others for what is needed soon."""
        near = self._fifo or due_at - now < self._limits.near_s
        is_first, avoid = self._fifo or plan.is_first, plan.waiting[0].avoid
        return self._seats.choose(self._renders, now, is_first=is_first, beside_others=near, avoid=avoid)

    def _start(self, stream: int, plan: StreamPlan, worker: str, now: float) -> Assignment:
        due_at = self._due(plan, now)
        if not plan.live and due_at <= now:
            said_s = self._rate.seconds(plan.voice, plan.waiting[0].chars)
            self._files_due_at = now + self._seats.work_s(said_s) / self._limits.file_share
        next_up = plan.waiting.popleft()
        if not self._fifo:
            due_at = max(due_at, now) if plan.live else now + self._limits.file_slack_s
        render_id, self._next_render = self._next_render, self._next_render + 1
        render = RenderPlan(render_id, stream, next_up.sentence, next_up.chars, worker, due_at, plan.voice)
        plan.open[render_id] = self._renders[render_id] = render
        self._leave_line(stream)
        self._seats.take(worker, render_id, now)
        self._enter(stream, plan, now)
        return Assignment(render_id, stream, next_up.sentence, worker, due_at, self._pace(plan))

    def _remaining_s(self, render_id: int) -> float:
        """Of audio that an open render has to make still; a cancelled one makes none."""
        render = self._renders.get(render_id)
        return render.left_s(self._rate.seconds) if render else 0.0

from __future__ import annotations

import pytest

from voice_server.core.scheduling.plan import RenderPlan, StreamPlan, Waiting

NOW = 1000.0


def seconds(voice: str, chars: int) -> float:
    return chars / 10.0


class Answer:
    """One stream's plan, driven as the scheduler drives it. A sentence of 30 characters is 3 s."""

    def __init__(self) -> None:
        self.plan = StreamPlan(live=True, client="")

    def say(self, *sentences: int, now: float = NOW) -> None:
        self.plan.waiting.extend(Waiting(sentence, 30, now) for sentence in sentences)

    def start(self, audio_s: float = 0.0) -> RenderPlan:
        first = self.plan.waiting.popleft()
        render = RenderPlan(first.sentence, 1, first.sentence, first.chars, "w0", NOW)
        self.plan.open[render.render_id] = render
        self.hear(render, audio_s)
        return render

    def hear(self, render: RenderPlan, audio_s: float) -> None:
        render.audio_s += audio_s
        self.plan.undelivered_s += audio_s
        self.plan.made_s += audio_s

    def deliver(self, audio_s: float, now: float = NOW) -> None:
        self.plan.undelivered_s -= audio_s
        self.plan.runs_out_at = max(self.plan.runs_out_at, now) + audio_s

    def next_due(self, now: float = NOW) -> float:
        return self.plan.next_due(now, seconds)

    def due(self, render: RenderPlan, now: float = NOW) -> float:
        return self.plan.due(render, now, seconds)


@pytest.fixture
def answer() -> Answer:
    return Answer()


# When the next sentence is needed


def test_the_first_sentence_is_needed_when_it_was_said(answer: Answer) -> None:
    answer.say(0)
    assert answer.next_due(NOW + 5.0) == NOW


def test_the_second_sentence_is_needed_when_the_first_will_have_been_heard(answer: Answer) -> None:
    answer.say(0, 1)
    answer.start()
    assert answer.next_due(NOW) == NOW + 3.0


def test_delivered_audio_is_played_as_time_passes(answer: Answer) -> None:
    answer.say(0, 1)
    answer.plan.close(answer.start(3.0))
    answer.deliver(3.0)
    assert answer.next_due(NOW) == answer.next_due(NOW + 2.0) == answer.next_due(NOW + 9.0) == NOW + 3.0


def test_rendering_and_delivering_do_not_move_a_deadline(answer: Answer) -> None:
    answer.say(0, 1)
    render = answer.start(1.0)
    assert answer.next_due() == NOW + 3.0
    answer.deliver(1.0)
    answer.hear(render, 1.0)
    assert answer.next_due() == NOW + 3.0


def test_audio_that_the_client_does_not_take_moves_the_deadline_on(answer: Answer) -> None:
    answer.say(0, 1)
    answer.plan.close(answer.start(3.0))
    assert answer.next_due(NOW + 5.0) == NOW + 5.0 + 3.0


def test_a_sentence_is_not_needed_before_it_was_said(answer: Answer) -> None:
    answer.say(0)
    answer.plan.close(answer.start(3.0))
    answer.deliver(3.0)
    answer.say(1, now=NOW + 60.0)
    assert answer.next_due(NOW + 61.0) == NOW + 60.0


def test_a_render_that_is_longer_than_it_looked_is_taken_to_end_at_once(answer: Answer) -> None:
    answer.say(0, 1)
    answer.start(4.0)
    assert answer.next_due() == NOW + 4.0


# When the next audio of an open render is needed


def test_a_render_is_needed_when_what_was_rendered_of_it_will_have_been_heard(answer: Answer) -> None:
    answer.say(0)
    render = answer.start(1.0)
    answer.deliver(0.5)
    assert answer.due(render) == NOW + 1.0


def test_a_later_render_does_not_make_an_earlier_one_less_urgent(answer: Answer) -> None:
    answer.say(0, 1)
    first, second = answer.start(1.0), answer.start(2.0)
    assert answer.due(first) == NOW + 1.0
    assert answer.due(second) == NOW + 3.0 + 2.0


def test_a_later_render_that_ended_does_not_make_an_earlier_one_less_urgent(answer: Answer) -> None:
    answer.say(0, 1)
    first, second = answer.start(1.0), answer.start(2.0)
    answer.plan.close(second)
    assert answer.due(first) == NOW + 1.0


def test_a_gap_moves_the_deadline_of_what_comes_after_it(answer: Answer) -> None:
    answer.say(0)
    render = answer.start(1.0)
    answer.deliver(1.0)
    assert answer.due(render, NOW + 5.0) == NOW + 1.0
    answer.hear(render, 1.0)
    answer.deliver(1.0, NOW + 5.0)
    assert answer.due(render, NOW + 5.0) == NOW + 6.0


# A sentence whose worker died


def lost_head(answer: Answer, *, ended: bool) -> None:
    """Sentence 0 dies after 1 s that was delivered, and waits again; 8 s of sentence 1 are rendered."""
    answer.say(0, 1, 2)
    head, next_one = answer.start(1.0), answer.start(8.0)
    answer.deliver(1.0)
    if ended:
        answer.plan.close(next_one)
    answer.plan.close(head)
    answer.plan.waiting.appendleft(Waiting(0, 30, NOW))


@pytest.mark.parametrize("ended", [False, True])
def test_a_lost_sentence_is_needed_before_what_overtook_it(answer: Answer, ended: bool) -> None:
    lost_head(answer, ended=ended)
    assert answer.next_due() == NOW + 1.0


@pytest.mark.parametrize("ended", [False, True])
def test_what_a_lost_sentence_holds_back_cannot_be_delivered(answer: Answer, ended: bool) -> None:
    lost_head(answer, ended=ended)
    assert answer.plan.deliverable_s == 0.0
    assert answer.plan.audible_until(NOW) == NOW + 1.0


def test_once_a_lost_sentence_is_said_all_behind_it_can_be_delivered(answer: Answer) -> None:
    lost_head(answer, ended=True)
    answer.plan.close(answer.start(3.0))
    assert answer.plan.deliverable_s == 3.0 + 8.0
    assert answer.next_due() == NOW + 1.0 + 3.0 + 8.0


def test_nothing_is_remembered_of_sentences_once_one_behind_them_has_ended(answer: Answer) -> None:
    answer.say(0, 1, 2)
    first, second, third = answer.start(1.0), answer.start(1.0), answer.start(1.0)
    answer.plan.close(second)
    answer.plan.close(first)
    answer.plan.close(third)
    assert answer.plan.ended == {}


# What is left, and for people


def test_a_sentence_from_memory_that_is_next_to_be_heard_can_be_delivered_at_once(answer: Answer) -> None:
    answer.say(1)
    answer.plan.overtake(0, 2.0)
    assert answer.plan.deliverable_s == 2.0
    assert answer.plan.ended == {}


def test_what_is_left_is_what_waits_and_what_open_renders_have_still_to_say(answer: Answer) -> None:
    answer.say(0, 1)
    answer.start(1.0)
    assert answer.plan.left_s(seconds) == 2.0 + 3.0


def test_only_the_sentence_that_an_answer_begins_with_is_its_first(answer: Answer) -> None:
    answer.plan.opening = 4
    answer.say(4, 5)
    assert answer.plan.is_first
    answer.start()
    assert not answer.plan.is_first


def test_a_whole_file_has_no_first_words_to_wait_for(answer: Answer) -> None:
    answer.say(0)
    answer.plan.live = False
    assert not answer.plan.is_first


def test_people_see_how_far_ahead_a_listener_is(answer: Answer) -> None:
    answer.say(0, 1)
    answer.start(2.0)
    answer.deliver(1.5)
    state = answer.plan.state(7, None, NOW + 0.5)
    assert (state.stream, state.ahead_s, state.rendered_s, state.waiting, state.open) == (7, 1.5, 2.0, 1, [0])

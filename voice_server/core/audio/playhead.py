"""Where a listener is in the audio that has arrived, and what it was like to listen.

Pure: arrival times and durations go in; first-audio latency, gaps and real-time factor come out. It imagines a player
that starts with the first chunk and never waits, so it measures the server even when nothing is played.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_server.core.limits import ListeningLimits


@dataclass(slots=True)
class Playhead:
    """Times are seconds of one monotonic clock."""

    started_at: float | None = None  # the first words were there to be spoken
    first_at: float | None = None  # the first audio came
    last_at: float = 0.0  # the latest audio came
    runs_out_at: float = 0.0  # the imagined player has nothing left to play
    received_s: float = 0.0
    chunks: int = 0
    gaps: list[float] = field(default_factory=list)
    shortest_gap_s: float = ListeningLimits().gap_s

    def start(self, now: float) -> None:
        if self.started_at is None:
            self.started_at = now

    def arrive(self, duration_s: float, now: float) -> None:
        if self.first_at is None:
            self.first_at = self.runs_out_at = now
        if self.silence_s(now) >= self.shortest_gap_s:
            self.gaps.append(self.silence_s(now))
        self.runs_out_at = max(self.runs_out_at, now) + duration_s
        self.received_s += duration_s
        self.last_at = now
        self.chunks += 1

    def pardon(self, now: float) -> None:
        """The silence until now is nobody's fault, and no gap."""
        self.runs_out_at = max(self.runs_out_at, now)

    def silence_s(self, now: float) -> float:
        """For how long a listener who began has heard nothing."""
        return 0.0 if self.first_at is None else max(0.0, now - self.runs_out_at)

    def ahead_s(self, now: float) -> float:
        """Seconds of audio that have come and were not heard yet."""
        return max(0.0, self.runs_out_at - now)

    def heard_s(self, now: float) -> float:
        """Seconds of audio that a listener has heard by now."""
        return self.received_s - self.ahead_s(now)

    @property
    def first_audio_s(self) -> float | None:
        """From the first words to the first audio, or None while there is none."""
        if self.started_at is None or self.first_at is None:
            return None
        return self.first_at - self.started_at

    @property
    def real_time_factor(self) -> float | None:
        """Seconds waited for each second of audio, tokens' own delay included; below 1 is faster than speech."""
        if self.started_at is None or not self.received_s:
            return None
        return (self.last_at - self.started_at) / self.received_s

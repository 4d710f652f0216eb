"""Where a listener is in the audio that has arrived, and what it was like to listen.

Pure: arrival times and durations go in; first-audio latency, gaps and real-time factor come out. It imagines a player
that starts with the first chunk and never waits, so it measures the server even when nothing is played.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_server.core.limits import TerminalLimits


@dataclass(slots=True)
class Playhead:
    """Times are seconds of one monotonic clock."""

    started_at: float | None = None  # the first token was sent
    first_at: float | None = None  # the first audio came
    last_at: float = 0.0  # the latest audio came
    runs_out_at: float = 0.0  # the imagined player has nothing left to play
    received_s: float = 0.0
    chunks: int = 0
    gaps: list[float] = field(default_factory=list)
    shortest_gap_s: float = TerminalLimits().gap_s

    def start(self, now: float) -> None:
        if self.started_at is None:
            self.started_at = now

    def arrive(self, duration_s: float, now: float) -> None:
        if self.first_at is None:
            self.first_at = self.runs_out_at = now
        silence_s = now - self.runs_out_at
        if silence_s >= self.shortest_gap_s:
            self.gaps.append(silence_s)
        self.runs_out_at = max(self.runs_out_at, now) + duration_s
        self.received_s += duration_s
        self.last_at = now
        self.chunks += 1

    def heard_s(self, now: float) -> float:
        """Seconds of audio that a listener has heard by now."""
        return self.received_s - max(0.0, self.runs_out_at - now)

    @property
    def first_audio_s(self) -> float | None:
        """From the first token sent to the first audio, or None while there is none."""
        if self.started_at is None or self.first_at is None:
            return None
        return self.first_at - self.started_at

    @property
    def real_time_factor(self) -> float | None:
        """Seconds waited for each second of audio, tokens' own delay included; below 1 is faster than speech."""
        if self.started_at is None or not self.received_s:
            return None
        return (self.last_at - self.started_at) / self.received_s

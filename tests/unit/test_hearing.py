from __future__ import annotations

from voice_server.core.text.hearing import Segment, joined


def test_segments_are_one_text_with_the_spaces_that_they_bring() -> None:
    assert joined([Segment(" We go", 0.0, 0.5), Segment(" home", 0.5, 1.0), Segment(".", 1.0, 1.1)]) == "We go home."
    assert joined([]) == ""

from __future__ import annotations

import numpy as np
import pytest

from voice_server.worker.pcm import spoiled_samples


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_that_are_no_numbers_are_counted(kind: type[np.float32] | type[np.float64]) -> None:
    assert spoiled_samples(np.array([[0.0, np.nan, 1.0, np.inf, -np.inf, 4.0]]).astype(kind)) == 3

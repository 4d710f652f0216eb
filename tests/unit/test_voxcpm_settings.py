from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from voice_server.backends.voxcpm.settings import Settings, read
from voice_server.config import load_config
from voice_server.core.options import validate
from voice_server.worker.adapter import BackendError

SHIPPED = load_config(Path(__file__).resolve().parents[2] / "backends.yaml").backends
EDGES = [
    {"cfg_value": 0.1},
    {"cfg_value": 10},
    {"inference_timesteps": 2},
    {"inference_timesteps": 50},
    {"seed": 2**32 - 1},
    {"retry_badcase_ratio_threshold": 20.0},
    {"design": "x" * 200},
]


def test_no_options_are_the_defaults():
    assert read({}) == Settings()


@pytest.mark.parametrize("options", EDGES, ids=str)
def test_the_edges_of_a_range_are_in_it(options):
    assert asdict(read(options)) == {**asdict(Settings()), **options}


@pytest.mark.parametrize(
    "options",
    [
        {"cfg_value": 0.09},
        {"cfg_value": float("nan")},
        {"cfg_value": "2"},
        {"cfg_value": True},
        {"inference_timesteps": 1},
        {"inference_timesteps": 2.5},
        {"seed": -2},
        {"max_len": 3},
        {"min_len": 5, "max_len": 4},
        {"retry_badcase": 1},
        {"retry_badcase_max_times": 0},
        {"design": "x" * 201},
        {"prompt_text": None},
        {"speed": 1.0},
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_bad_option(options):
    with pytest.raises(BackendError) as caught:
        read(options)
    assert caught.value.code == "bad_option"


@pytest.mark.parametrize(
    ("name", "cannot"),
    [("voxcpm", set()), ("voxcpm-cpu", {"design"})],  # the smallest model reads descriptions aloud
)
def test_whatever_a_client_may_set_suits_the_adapter(name, cannot):
    assert set(SHIPPED[name].opts) == set(asdict(Settings())) - cannot
    for options in [{}, *EDGES]:
        read(validate({key: value for key, value in options.items() if key not in cannot}, SHIPPED[name].opts))

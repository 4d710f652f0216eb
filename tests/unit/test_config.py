from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from voice_server.config import ConfigError, load_config, pick_backend
from voice_server.core.limits import ConfigLimits
from voice_server.core.settings import Bounds, Gpu

SHIPPED = [
    *("voxcpm", "hibari", "kokoro", "piper", "voxcpm-cpu", "whisper", "whisper-tiny"),
    *("chatterbox", "chatterbox-standard", "vibevoice", "tone", "pitch"),
]
ROOT = Path(__file__).resolve().parents[2]
OPENAI_VOICES = ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"]
OPENAI_VOICES += ["marin", "nova", "onyx", "sage", "shimmer", "verse"]


@pytest.fixture
def write(tmp_path):
    def _write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return _write


@pytest.fixture
def refusal(write):
    def _refusal(text: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load_config(write(text))
        return caught.value

    return _refusal


def one(keys: str) -> str:
    """A file with one backend and these keys, from line 4 on."""
    return "backends:\n  mine:\n    adapter: pkg.mod:Class\n" + textwrap.indent(textwrap.dedent(keys), "    ")


def test_the_shipped_file_begins_with_the_engine_that_a_gpu_gets():
    config = load_config(ROOT / "backends.yaml")
    assert list(config.backends) == SHIPPED and config.default == "auto"


def test_auto_picks_voxcpm_where_a_gpu_has_the_memory():
    gpu = Gpu(0, "a card", 24.0, 20.0)
    assert pick_backend(load_config(ROOT / "backends.yaml"), "", [gpu])[0].name == "voxcpm"


def test_auto_picks_hibari_from_the_shipped_file_without_a_gpu():
    assert pick_backend(load_config(ROOT / "backends.yaml"), "", [])[0].name == "hibari"


def test_every_openai_voice_has_an_alias_in_the_shipped_file():
    aliases = load_config(ROOT / "backends.yaml").backends["hibari"].aliases
    assert {aliases[name] for name in (*OPENAI_VOICES, "default", "af_heart")} == {"heart"}


def test_without_a_path_the_file_of_the_current_folder_is_read(tmp_path, monkeypatch):
    (tmp_path / "backends.yaml").write_text("default: mine\nbackends: {mine: {adapter: m}}")
    monkeypatch.chdir(tmp_path)
    config = load_config(None)
    assert config.default == "mine" and config.path == tmp_path / "backends.yaml"


def test_without_any_file_the_shipped_one_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(None).path == ROOT / "backends.yaml"


def test_a_file_with_own_backends_only_keeps_the_shipped_ones_after_them(write):
    assert list(load_config(write(one(""))).backends) == ["mine", *SHIPPED]


def test_a_backend_of_a_shipped_name_replaces_it(write):
    backends = load_config(write("backends: {tone: {adapter: own.tone}}")).backends
    assert backends["tone"].adapter == "own.tone" and backends["tone"].aliases == {}


def test_an_empty_file_is_the_shipped_one(write):
    assert list(load_config(write("")).backends) == SHIPPED


def test_a_shipped_backend_may_be_the_default_of_an_own_file(write):
    assert load_config(write("default: tone")).default == "tone"


def test_f8_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfdefault: tone\n")
    assert load_config(path).default == "tone"


def test_a_minimal_backend_has_sound_defaults(write):
    backend = load_config(write(one(""))).backends["mine"]
    assert (backend.name, backend.devices, backend.workers, backend.warmup_text) == ("mine", "cpu", 1, "Ready.")
    assert backend.venv.requirements == () and backend.needs.cuda_gib is None


def test_a_full_backend_is_read_to_the_last_key(write):
    text = """
        venv: {python: "3.11", requirements: [a==1, b]}
        devices: [0, 2]
        workers: 3
        options: {model: x, nested: {a: [1, 2]}}
        opts: {speed: {type: float, min: 0.5, max: 2, default: 1, help: pace}}
        aliases: {alloy: x}
        voice: x
        needs: {cuda_gib: 8}
        warmup_text: ""
        env: {OMP_NUM_THREADS: "1"}
        limits: {load_s: 600, chunk_gap_s: 30}
    """
    backend = load_config(write(one(text))).backends["mine"]
    assert backend.venv.requirements == ("a==1", "b") and backend.devices == (0, 2) and backend.workers == 3
    assert backend.options == {"model": "x", "nested": {"a": [1, 2]}}
    assert backend.opts["speed"].max == 2 and backend.aliases == {"alloy": "x"} and backend.voice == "x"
    assert backend.needs.cuda_gib == 8 and backend.warmup_text == "" and backend.env == {"OMP_NUM_THREADS": "1"}
    assert (backend.limits.load_s, backend.limits.chunk_gap_s, backend.limits.first_chunk_s) == (600, 30, 15)


@pytest.mark.parametrize("adapter", ["pkg.mod:Class", "pkg", "voice_server.backends.tone"])
def test_an_adapter_that_is_a_module_stays_as_it_is(write, adapter):
    assert load_config(write(f"backends: {{x: {{adapter: '{adapter}'}}}}")).backends["x"].adapter == adapter


@pytest.mark.parametrize("suffix", ["", ":Class"])
def test_an_adapter_that_is_a_file_is_relative_to_the_configuration(write, tmp_path, suffix):
    backend = load_config(write(f"backends: {{x: {{adapter: 'own/engine.py{suffix}'}}}}")).backends["x"]
    assert backend.adapter == f"{tmp_path}/own/engine.py{suffix}"


def test_the_path_of_an_environment_is_relative_to_the_configuration(write, tmp_path):
    assert load_config(write(one("venv: {path: env}"))).backends["mine"].venv.path == tmp_path / "env"


@pytest.mark.parametrize("keys", ["adapter: ~no-such-user/engine.py:E", "{adapter: m, venv: {path: ~no-such-user}}"])
def test_a_path_in_the_home_of_nobody_is_a_problem_of_its_backend(refusal, keys):
    (problem,) = refusal(f"default: mine\nbackends:\n  mine:\n    {keys}\n").problems
    assert problem.startswith("4: backends.mine: ") and "no user's" in problem


def test_null_is_the_same_as_a_key_that_is_not_there(write):
    assert load_config(write(one("opts:\nlimits: {load_s: }\n"))).backends["mine"].opts == {}


@pytest.mark.parametrize(
    "keys, where, words",
    [
        ("workers: 0", "workers", ">= 1"),
        ("workers: true", "workers", "got `bool`"),
        ("workers: two", "workers", "got `str`"),
        ("worker: 2", "worker", "did you mean workers?"),
        ("zzz: 2", "zzz", "known keys are"),
        ("devices: gpu", "devices", ""),
        ("devices: []", "devices", ""),
        ("devices: [-1]", "devices", ""),
        ("venv: {path: x, requirements: [y]}", "venv", "do not go with it"),
        ("venv: {requirements: [--index-url=http://evil]}", "venv", "not a requirement"),
        ("venv: {requirements: hibari}", "venv.requirements", "array"),
        ("venv: {pyton: '3'}", "venv.pyton", "did you mean python?"),
        ("venv: {path: 3}", "venv.path", "path"),
        ("venv: none", "venv", "map"),
        ("opts: {speed: {type: number}}", "opts.speed.type", ""),
        ("opts: {speed: {min: 1}}", "opts.speed", "type is missing"),
        ("opts: {speed: {type: float, min: 2, max: 1}}", "opts", "speed: min"),
        ("opts: {speed: {type: float, max: .inf}}", "opts", "finite"),
        ("aliases: {../x: heart}", "aliases", "'../x'"),
        ("aliases: {a: [b]}", "aliases", "`str`"),
        ("env: {A=B: x}", "env", "'A=B'"),
        ("env: {A: 1}", "env", "got `int`"),
        ("needs: {cuda_gib: 8}", "needs", "devices is cpu"),
        ("needs: {cuda_gib: .nan}", "needs.cuda_gib", ""),
        ("placement: kubernetes", "placement", "kubernetes"),
        ("resources: {gpus: -1}", "resources.gpus", ">= 0"),
        ("resources: {gpu: 1}", "resources.gpu", "did you mean gpus?"),
        ("resources: {custom: {A100: many}}", "resources.custom", "`str`"),
        ("resources: {nodes: all}", "resources.nodes", ""),
        ("limits: {load_s: 0}", "limits", "load_s"),
        ("limits: {load_s: .nan}", "limits", "load_s"),
        ("limits: {parallel_loads: 9}", "limits", "parallel_loads"),
        ("limits: {load: 9}", "limits.load", "did you mean load_s?"),
        ("options: [1]", "options", "object"),
    ],
)
def test_f8_a_mistake_is_told_with_its_line_and_place(refusal, keys, where, words):
    problems = refusal(one(keys)).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"4: backends.mine.{where}: ") and words in problems[0]


def test_gpus_of_this_machine_are_of_no_use_to_a_worker_elsewhere(refusal):
    (problem,) = refusal(one("placement: ray\ndevices: [0]")).problems
    assert problem.startswith("5: backends.mine.devices: ") and "resources: {gpus: 1}" in problem


@pytest.mark.parametrize("adapter", ["", "a b", "a:b:c", "mod:", ":Class", "mod:1x", "../mod", "a..b"])
def test_what_is_no_adapter_is_refused(refusal, adapter):
    assert "backends.x.adapter" in str(refusal(f"backends: {{x: {{adapter: '{adapter}'}}}}"))


@pytest.mark.parametrize("name", ["auto", "Big", "a b", "../x", "x" * 33, "-x"])
def test_what_cannot_name_a_backend_is_refused(refusal, name):
    assert "a backend's name is" in str(refusal(f"backends: {{'{name}': {{adapter: m}}}}"))


@pytest.mark.parametrize(
    "text", ["backends: []", "- a", "just text", "backends: {x: 1}", "backends: {x: }", "default: 1"]
)
def test_a_file_of_another_shape_is_refused(refusal, text):
    assert refusal(text).problems


def test_a_default_that_names_no_backend_is_refused(refusal):
    assert "no backend 'nobody'" in str(refusal("default: nobody"))


def test_f8_all_problems_are_told_at_once_in_the_order_of_lines(refusal):
    error = refusal(
        """\
        defalt: x
        backends:
          a: {adapter: m, workers: -1}
          b:
            adapter: "?"
            opts: {speed: {type: float, min: x}, seed: {typ: int}}
          b: {adapter: m}
        """
    )
    lines = [int(problem.split(":")[0]) for problem in error.problems]
    assert lines == sorted(lines) and set(lines) >= {1, 3, 7}


def test_a_problem_reads_like_a_compiler_s_message(refusal, tmp_path):
    assert str(refusal(one("workers: 0"))).startswith(f"{tmp_path}/mine.yaml:4: backends.mine.workers: ")


def test_a_number_of_workers_may_have_bounds_instead(write):
    backend = load_config(write(one("workers: {min: 1, max: 8}"))).backends["mine"]
    assert backend.workers == Bounds(1, 8) and backend.most_workers == 8
    assert backend.bounds(0) == Bounds(1, 8) and backend.bounds(3) is None


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        ("{min: 3, max: 2}", "mine.workers: min is 3, which is more than max, 2"),
        ("{min: 0, max: 2}", "mine.workers.min: expected `int` >= 1"),
        ("{min: 1}", "mine.workers: max is missing"),
        ("{min: 1, max: 2, most: 3}", "mine.workers.most: unknown key"),
        ("[1, 2]", "mine.workers: expected `int"),
    ],
)
def test_bounds_that_mean_nothing_are_refused_with_the_reason(refusal, workers, says):
    assert says in str(refusal(one(f"workers: {workers}")))


def test_the_exit_code_says_configuration(refusal):
    assert refusal("x: 1").exit_code == 78


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")


def test_f8_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match="2: is not UTF-8"):
        load_config(tmp_path / "x.yaml")


def test_f8_an_endless_file_is_refused_without_being_read_whole(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"#" * (ConfigLimits().file_bytes + 1))
    with pytest.raises(ConfigError, match="larger"):
        load_config(path)


def test_f8_no_tag_runs_code(refusal, tmp_path):
    refusal(f"x: !!python/object/apply:os.mkdir [{tmp_path}/made]")
    assert not (tmp_path / "made").exists()


def test_f8_loading_imports_no_backend(write):
    code = """
        import pathlib, sys
        from voice_server.config import load_config
        load_config(pathlib.Path(sys.argv[1]))
        print([name for name in sys.modules if name.startswith(("voice_server.backends", "voice_server.worker"))])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), write(one(""))]
    assert subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_a_backend_may_listen_in_place_of_speaking(tmp_path: Path) -> None:
    path = tmp_path / "backends.yaml"
    path.write_text("backends: {ears: {adapter: 'a.b:C', kind: stt}}")
    assert load_config(path).backends["ears"].kind == "stt"


@pytest.mark.parametrize(
    "text",
    [
        "default: ears\nbackends: {ears: {adapter: 'a:C', kind: stt}}",
        "backends: {e: {adapter: 'a:C', kind: stt, voice: x}}",
    ],
)
def test_a_backend_that_listens_is_no_default_and_has_no_voice(tmp_path: Path, text: str) -> None:
    path = tmp_path / "backends.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_config(path)

"""What the gateway itself costs: CPU per second of audio, memory per idle connection.

    uv run python -m bench.cost [--streams 8] [--seconds 20] [--idle 1000]

The engine is the tone backend at a real-time factor of 1.0 with 80 ms chunks: each chunk comes alone, which is the
dearest case. Only the server's own process is counted; workers and clients are others. Chunks that an engine renders
faster than real time go out together and cost less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource

import psutil
import websockets

from bench.gateway import Gateway, machine, running_gateway

SENTENCE = "This sentence is spoken by the tone backend and it is just about long enough. "  # 4.7 s of audio
BYTES_PER_S = 48_000


async def cpu_per_audio_second(gateway: Gateway, streams: int, seconds: float) -> dict[str, float]:
    process = psutil.Process(gateway.pid)
    sentences = max(1, round(seconds / (len(SENTENCE.strip()) * 0.06)))
    sockets = [await websockets.connect(gateway.ws, compression=None, max_size=None) for _ in range(streams)]
    before = process.cpu_times()
    pcm_bytes, messages = 0, 0
    for size, count in await asyncio.gather(*(_listen(ws, sentences) for ws in sockets)):
        pcm_bytes, messages = pcm_bytes + size, messages + count
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    audio_s = pcm_bytes / BYTES_PER_S
    return {
        "streams": streams,
        "audio_s": round(audio_s, 1),
        "ms_per_audio_s": round(used_s * 1000 / audio_s, 3),
        "ms_audio_per_message": round(audio_s * 1000 / messages, 1),
    }


async def _listen(ws: websockets.ClientConnection, sentences: int) -> tuple[int, int]:
    await ws.send(json.dumps({"token": SENTENCE * sentences, "done": True}))
    pcm_bytes = messages = 0
    async for message in ws:
        if isinstance(message, bytes):
            pcm_bytes, messages = pcm_bytes + len(message), messages + 1
    return pcm_bytes, messages


async def memory_per_connection(gateway: Gateway, count: int) -> dict[str, float]:
    process = psutil.Process(gateway.pid)
    warm = [await _idle(gateway) for _ in range(50)]  # the first connections also pay for caches and arenas
    before = process.memory_info().rss
    sockets = [await _idle(gateway) for _ in range(count)]
    after = process.memory_info().rss
    for ws in [*warm, *sockets]:
        ws.transport.abort()
    return {"connections": count, "kib_per_connection": round((after - before) / 1024 / count, 1)}


async def _idle(gateway: Gateway) -> websockets.ClientConnection:
    ws = await websockets.connect(gateway.ws, compression=None)
    await ws.recv()
    return ws


def main(streams: int, seconds: float, idle: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * idle + 512)), hard))
    with running_gateway(workers=streams, speed_rtf=1.0) as gateway:
        cpu = asyncio.run(cpu_per_audio_second(gateway, streams, seconds))
    with running_gateway(workers=1) as gateway:
        memory = asyncio.run(memory_per_connection(gateway, min(idle, 900)))
    print(f"gateway CPU      {cpu['ms_per_audio_s']:>7.3f} ms per second of audio ({streams} streams)")
    print(f"message size     {cpu['ms_audio_per_message']:>7.1f} ms of audio")
    print(f"idle connection  {memory['kib_per_connection']:>7.1f} KiB ({memory['connections']} connections)")
    print(json.dumps({"bench": "cost", "machine": machine(), **cpu, **memory}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--idle", type=int, default=900)
    given = parser.parse_args()
    main(given.streams, given.seconds, given.idle)

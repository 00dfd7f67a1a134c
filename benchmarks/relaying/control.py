"""Processes of the benchmark that are told what to do: a line of JSON each way, over a pair of sockets."""

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
TIED = PROJECT / "bin" / "launch" / "tied.py"
LONGEST_ANSWER = 90.0  # seconds
LINE_LIMIT = 16_777_216  # bytes


class RunFailed(Exception):
    """The benchmark cannot go on, or has found a wrong answer; the text says why."""


def tied(command: list[str]) -> list[str]:
    """Return the command that ends when this process ends, however that ends."""
    return [sys.executable, "-I", "-S", str(TIED), str(os.getpid()), *command]


class Remote:
    """A process that runs `module`, as its starter sees it."""

    def __init__(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._name = module
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", module, str(theirs.fileno()), *arguments]
            self.process = subprocess.Popen(
                tied(command), cwd=PROJECT, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._answers = self._socket.makefile("rb")

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, what: str, *, limit: float = LONGEST_ANSWER, **values: Any) -> Any:  # anything JSON can say
        """Have `what` done and return its result; raise RunFailed if it fails or takes longer than `limit` seconds."""
        self._socket.settimeout(limit)
        try:
            self._socket.sendall(json.dumps([what, values]).encode() + b"\n")
            line = self._answers.readline(LINE_LIMIT)
        except OSError as error:
            raise RunFailed(f"{self._name} does not answer to {what!r}: {error}") from error
        if not line:
            raise RunFailed(f"{self._name} has ended.")
        problem, result = json.loads(line)
        if problem:
            raise RunFailed(f"{self._name}, asked to {what}:\n{problem}")
        return result

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(commands: dict[str, Callable[..., Awaitable[Any]]]) -> None:
    """Do what the starter asks for, until it goes."""
    # A pause of the collector would count as a delay; a run is short, and its garbage makes no circles.
    gc.freeze()
    gc.disable()
    asyncio.run(_serve(commands))


async def _serve(commands: dict[str, Callable[..., Awaitable[Any]]]) -> None:
    reader, writer = await asyncio.open_connection(sock=_our_socket(), limit=LINE_LIMIT)
    while line := await reader.readline():
        what, values = json.loads(line)
        try:
            answer = ["", await commands[what](**values)]
        except Exception:  # noqa: BLE001 - the starter raises it
            answer = [traceback.format_exc(), None]
        writer.write(json.dumps(answer).encode() + b"\n")


def serve_plainly(commands: dict[str, Callable[..., Any]]) -> None:
    """Do what the starter asks for, without an event loop, until it goes."""
    with _our_socket() as connection, connection.makefile("rwb") as lines:
        for line in lines:
            what, values = json.loads(line)
            try:
                answer = ["", commands[what](**values)]
            except Exception:  # noqa: BLE001 - the starter raises it
                answer = [traceback.format_exc(), None]
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()


def _our_socket() -> socket.socket:
    return socket.socket(fileno=int(sys.argv[1]))

"""A made-up model on loopback that says what a test tells it to, over real sockets."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from espalier.labels.options import LanguageModelOptions

REPORT = "Small left pleural\neffusion. No nodules. Atelectasis cannot be excluded.\n"
SAID = {
    "pleural_effusion": ("present", "Small left pleural effusion"),
    "lung_nodule": ("absent", "No nodules"),
    "atelectasis": ("uncertain", "Atelectasis cannot be excluded."),
}


@dataclass
class Sent:
    """What the server does with one request; `None` for the body closes the connection without a word."""

    body: bytes | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


Say = Callable[[dict[str, Any], int], Sent]


@dataclass
class Stub:
    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def asked(request: dict[str, Any]) -> list[str]:
    """Return the findings that a request asks, by its last message."""
    last = request["messages"][-1]["content"]
    if "these findings only: " in last:
        return last.rpartition("these findings only: ")[2].split(", ")
    return [line[2:].partition(":")[0] for line in last.rpartition("Findings:\n")[2].splitlines()]


def said(text: str) -> Sent:
    """Wrap what a model says as a server does."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Sent(json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}).encode())


def answers(request: dict[str, Any], own: Mapping[str, tuple[str, str]]) -> str:
    """Return an answer to all that a request asks; what is not in `own` is not mentioned."""
    told = {name: own.get(name, ("not_mentioned", "")) for name in asked(request)}
    return json.dumps({name: {"evidence": quote, "state": state} for name, (state, quote) in told.items()})


def honest(request: dict[str, Any], number: int) -> Sent:
    """Say of `SAID` what stands in the report."""
    report = " ".join(request["messages"][1]["content"].split())
    return said(answers(request, {name: one for name, one in SAID.items() if one[1] in report}))


@contextmanager
def stub(say: Say = honest) -> Iterator[Stub]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                own.requests.append(request)
                own.headers.append(dict(self.headers))
                own.paths.append(self.path)
                number = len(own.requests)
            sent = say(request, number)
            if sent.body is None:
                return
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent.body) if sent.length is None else sent.length))
            self.end_headers()
            try:
                self.wfile.write(sent.body)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    own = Stub(url=f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def options(url: str, **changes: Any) -> LanguageModelOptions:
    own = {"order": "model only", "wait_s": 0.01, "longest_wait_s": 0.05, "timeout_s": 20.0, "retries": 2, "parallel": 2}
    return LanguageModelOptions(**{"url": url, "name": "stub", **own, **changes})

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import EspalierError, SettingsError
from espalier.labels.endpoint import Endpoint, NoReply, Reply, _retry_after
from espalier.labels.options import LanguageModelOptions

from .stub_model import Sent, honest, options, said, stub

CANARY = "Zebulon Quartermain"
HELLO = [{"role": "system", "content": "Read."}, {"role": "user", "content": f"Findings:\n- lung_nodule: nodule\n{CANARY}"}]
SCHEMA = {"type": "object"}


def first(*sent: Sent) -> Callable[[dict[str, Any], int], Sent]:
    """Say these, one per request, and `honest` after them."""
    return lambda request, number: sent[number - 1] if number <= len(sent) else honest(request, number)


def test_a_request_is_greedy_seeded_and_bound_to_the_schema() -> None:
    with stub() as server:
        own = options(server.url + "/", seed=7, max_tokens=99, extra={"chat_template_kwargs": {"enable_thinking": False}})
        reply = Endpoint(own).ask(HELLO, SCHEMA)
    assert isinstance(reply, Reply)
    assert (reply.tokens_in, reply.tokens_out) == (100, 10)
    assert server.paths == ["/v1/chat/completions"]
    body = server.requests[0]
    assert (body["temperature"], body["seed"], body["max_tokens"], body["model"]) == (0, 7, 99, "stub")
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_server_that_knows_no_schema_is_asked_for_json_and_only_once_refuses() -> None:
    def say(request: dict[str, Any], number: int) -> Sent:
        plain = request.get("response_format", {}).get("type") == "json_object"
        return honest(request, number) if plain else Sent(b"{}", status=400)

    with stub(say) as server:
        endpoint = Endpoint(options(server.url))
        assert isinstance(endpoint.ask(HELLO, SCHEMA), Reply)
        assert isinstance(endpoint.ask(HELLO, SCHEMA), Reply)
    assert [r["response_format"]["type"] for r in server.requests] == ["json_schema", "json_object", "json_object"]


def test_one_refused_request_does_not_loosen_the_form_of_the_next() -> None:
    with stub(first(*[Sent(b"", status=400)] * 3)) as server:
        endpoint = Endpoint(options(server.url))
        assert endpoint.ask(HELLO, SCHEMA) == NoReply("refused")
        assert isinstance(endpoint.ask(HELLO, SCHEMA), Reply)
    assert server.requests[-1]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "sent",
    [
        Sent(b"", status=429, headers={"Retry-After": "0"}),
        Sent(b"", status=429, headers={"Retry-After": "86400"}),
        Sent(b"oh", status=500),
        Sent(b"", status=503),
        Sent(None),
        Sent(b'{"choices": [', length=4000),
        Sent(b"<html>"),
        Sent(b'{"choices": []}'),
        Sent(b"[" * 100_000),
        Sent(b'{"choices": [{"message": "text"}]}'),
    ],
    ids=["429", "long 429", "500", "503", "cut at once", "cut", "html", "empty", "deep", "odd"],
)
def test_a_passing_fault_is_tried_again(sent: Sent) -> None:
    with stub(first(sent, sent)) as server:
        assert isinstance(Endpoint(options(server.url)).ask(HELLO, SCHEMA), Reply)
    assert len(server.requests) == 3


def test_attempts_are_bounded() -> None:
    with stub(lambda *_: Sent(b"", status=429)) as server:
        assert Endpoint(options(server.url, retries=3)).ask(HELLO, SCHEMA) == NoReply("overloaded")
    assert len(server.requests) == 4


def test_a_server_that_is_not_there_is_no_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert Endpoint(options(f"http://127.0.0.1:{port}/v1")).ask(HELLO, SCHEMA) == NoReply("unreachable")


def test_a_server_that_thinks_too_long_is_left() -> None:
    release = threading.Event()

    def say(request: dict[str, Any], number: int) -> Sent:
        release.wait(10)
        return honest(request, number)

    with stub(say) as server:
        reply = Endpoint(options(server.url, timeout_s=0.2, retries=0)).ask(HELLO, SCHEMA)
        release.set()
    assert reply == NoReply("timed_out")


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1"]
)
def test_a_server_that_drips_is_left_too(begin: bytes) -> None:
    release = threading.Event()

    def drip(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(begin)
            try:
                while not release.wait(0.02):
                    peer.sendall(b" ")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        # Each byte comes well within the limit; all of them do not.
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        reply = Endpoint(options(url, timeout_s=0.4, retries=0)).ask(HELLO, SCHEMA)
        release.set()
        thread.join()
    assert reply == NoReply("timed_out")


@pytest.mark.parametrize(("status", "says"), [(301, "redirects"), (307, "redirects"), (401, "key"), (404, "does not know")])
def test_what_waiting_cannot_mend_stops_the_run_at_once(status: int, says: str) -> None:
    headers = {"Location": "http://127.0.0.1:1/elsewhere"}
    with (
        stub(lambda *_: Sent(CANARY.encode(), status=status, headers=headers)) as server,
        pytest.raises(SettingsError) as caught,
    ):
        Endpoint(options(server.url)).ask(HELLO, SCHEMA)
    assert says in str(caught.value)
    assert len(server.requests) == 1
    assert CANARY not in str(caught.value)
    assert "elsewhere" not in str(caught.value)


def test_the_key_comes_from_the_environment_and_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", "sk-canary-4711")
    with stub(first(Sent(b"", status=403))) as server:
        endpoint = Endpoint(options(server.url, api_key_env="MODEL_KEY"))
        with pytest.raises(SettingsError) as caught:
            endpoint.ask(HELLO, SCHEMA)
    assert server.headers[0]["Authorization"] == "Bearer sk-canary-4711"
    assert "4711" not in str(caught.value)
    assert "4711" not in repr(endpoint._options)


@pytest.mark.parametrize("value", ["", "two\nlines", "schlüssel"])
def test_a_key_that_is_none_is_refused_without_being_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", value)
    with pytest.raises(SettingsError, match="environment variable MODEL_KEY") as caught:
        Endpoint(options("http://127.0.0.1:1/v1", api_key_env="MODEL_KEY"))
    assert not value or value not in str(caught.value)


def test_settings_of_a_proxy_do_not_lead_reports_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub() as proxy, stub() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert isinstance(Endpoint(options(server.url)).ask(HELLO, SCHEMA), Reply)
    assert proxy.requests == []


def test_a_certificate_that_nobody_knows_or_no_tls_at_all_brings_no_reply() -> None:
    with stub() as server:
        secure = options(server.url.replace("http:", "https:"), retries=0)
        assert isinstance(Endpoint(secure).ask(HELLO, SCHEMA), NoReply)
    assert server.requests == []


def test_a_name_of_this_machine_that_leads_elsewhere_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine's hosts file cannot be changed in a test: what is checked is the address at the socket's other end.
    monkeypatch.setattr("espalier.labels.endpoint.ip_address", lambda _: __import__("ipaddress").ip_address("192.0.2.1"))
    with stub() as server, pytest.raises(EspalierError, match="leads to another machine"):
        Endpoint(options(server.url.replace("127.0.0.1", "localhost"))).ask(HELLO, SCHEMA)
    assert server.requests == []


def test_a_stopped_endpoint_waits_for_nothing() -> None:
    with stub(lambda *_: Sent(b"", status=503)) as server:
        endpoint = Endpoint(options(server.url, wait_s=3600.0, longest_wait_s=3600.0))
        endpoint.stop()
        started = time.monotonic()
        assert endpoint.ask(HELLO, SCHEMA) == NoReply("overloaded")
    assert time.monotonic() - started < 3000
    assert len(server.requests) == 1


@given(st.text(max_size=40))
def test_any_wait_that_a_server_asks_for_is_a_number_of_seconds_or_none(value: str) -> None:
    seconds = _retry_after(value)
    assert seconds is None or seconds >= 0


def test_waits_are_told_in_seconds_or_as_a_date() -> None:
    assert _retry_after("7") == 7
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    later = _retry_after("Fri, 01 Jan 2999 00:00:00 GMT")
    assert later is not None
    assert later > 1e9


@pytest.mark.parametrize(
    ("url", "allow", "says"),
    [
        ("http://models.hospital.example/v1", None, "leads to models.hospital.example"),
        ("http://models.hospital.example/v1", "hospital.example", "leads to models.hospital.example"),
        ("http://192.168.0.4:8000/v1", None, "leads to 192.168.0.4"),
        ("http://127.0.0.1.example/v1", None, "leads to 127.0.0.1.example"),
        ("http://localhost@evil.example/v1", None, "user name or password"),
        ("http://user:canary@127.0.0.1/v1", None, "user name or password"),
        ("ftp://127.0.0.1/v1", None, "no address"),
        ("127.0.0.1:8000/v1", None, "no address"),
        ("http://127.0.0.1:99999/v1", None, "no address"),
        ("http://[::1/v1", None, "no address"),
        ("http://127.0.0.1/v1?key=canary", None, "more behind its path"),
        ("http://127.0.0.1/v 1", None, "no address"),
    ],
)
def test_addresses_that_reports_must_not_go_to_are_refused(url: str, allow: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        LanguageModelOptions(url=url, name="m", allow_remote=allow)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://localhost:11434/v1", None),
        ("https://127.0.0.1/v1", None),
        ("http://[::1]:8000/v1", None),
        ("https://models.hospital.example:8443/v1", "models.hospital.example"),
        ("http://Models.Hospital.example/v1", "models.hospital.example"),
    ],
)
def test_this_machine_and_the_one_allowed_host_are_taken(url: str, allow: str | None) -> None:
    assert LanguageModelOptions(url=url, name="m", allow_remote=allow).url == url


def test_said_and_usage_that_is_odd_counts_nothing() -> None:
    odd = Sent(
        (said("x").body or b"").replace(b"100", b'"many"').replace(b'"completion_tokens": 10', b'"completion_tokens": -4')
    )
    with stub(first(odd)) as server:
        reply = Endpoint(options(server.url)).ask(HELLO, SCHEMA)
    assert reply == Reply(text="x", tokens_in=0, tokens_out=0)

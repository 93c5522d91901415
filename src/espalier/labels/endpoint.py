"""The way to a language model: one request at a time to an OpenAI-compatible address, and nowhere else.

Nothing here is logged, and no answer of the server is repeated in an error: it may hold words of the report.
"""

import json
import os
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from socket import SHUT_RDWR, socket
from threading import Event, Timer
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from espalier.errors import ResourceError, SettingsError
from espalier.labels.options import LanguageModelOptions, is_this_machine

Message = Mapping[str, str]
_LONGEST: Final = 8_000_000
_FORMS: Final = ("json_schema", "json_object", "none")
_AGAIN: Final = {408, 425, 429, 500, 502, 503, 504, 529}
_REFUSED: Final = {400, 413, 415, 422, 501}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the model said, and the tokens it cost as the server counts them; 0 where it does not say."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class NoReply:
    """Why there is no reply: `refused` is about this request, the others about the server or the way to it."""

    why: Literal["refused", "unreachable", "timed_out", "overloaded", "broken"]
    wait_s: float | None = None


class Endpoint:
    """A model behind an address.

    Parameters
    ----------
    options
        Where it is, and how often to try.

    Raises
    ------
    SettingsError
        Where the environment variable of the key is not there or holds no key.
    """

    def __init__(self, options: LanguageModelOptions) -> None:
        self._options = options
        self._url = urlsplit(options.url)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **_authorization(options)}
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        self._form = 0
        self._stopped = Event()

    def stop(self) -> None:
        """Try nothing again: whoever waits for another attempt gives up now."""
        self._stopped.set()

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Reply | NoReply:
        """Return what the model says to `messages`, held to `schema` where the server can.

        Raises
        ------
        SettingsError
            Where the server redirects, wants another key, or does not know the address or the model.
        ResourceError
            Where its certificate is not trusted, or the address leads off this machine.
        """
        answer: Reply | NoReply = NoReply("refused")
        for form in range(self._form, len(_FORMS)):
            answer = self._patiently(_body(self._options, messages, schema, _FORMS[form]))
            if answer != NoReply("refused"):
                # Only a form that brought an answer is kept: a report that is too long is refused in every form.
                self._form = form if isinstance(answer, Reply) else self._form
                return answer
        return answer

    def _patiently(self, body: bytes) -> Reply | NoReply:
        wait_s = self._options.wait_s
        for left in range(self._options.retries, -1, -1):
            answer = self._once(body)
            if isinstance(answer, Reply) or answer.why == "refused" or not left:
                return answer
            told_s = answer.wait_s if answer.wait_s is not None else wait_s
            if self._stopped.wait(min(told_s, self._options.longest_wait_s)):
                return answer
            wait_s *= 2
        raise AssertionError

    def _once(self, body: bytes) -> Reply | NoReply:
        """Send one request; the timer holds for the whole of it, since a socket's own limit starts anew with every byte."""
        connection, late = self._connection(), Event()
        timer: Timer | None = None
        try:
            connection.connect()
            self._check_peer(connection)
            timer = Timer(self._options.timeout_s, _cut, (connection.sock, late))
            timer.daemon = True
            timer.start()
            connection.request("POST", f"{self._url.path.rstrip('/')}/chat/completions", body, self._headers)
            with connection.getresponse() as response:
                answer = self._read(response.status, response)
            return NoReply("timed_out") if late.is_set() else answer
        except ssl.SSLCertVerificationError as error:
            do = "Set SSL_CERT_FILE to the certificates of your site."
            raise ResourceError(self._options.url, found="its certificate is not trusted", do=do) from error
        except TimeoutError:
            return NoReply("timed_out")
        except (OSError, HTTPException):
            return NoReply("timed_out" if late.is_set() else "unreachable")
        finally:
            if timer is not None:
                timer.cancel()
            connection.close()

    def _connection(self) -> HTTPConnection:
        host, port, timeout_s = self._url.hostname or "", self._url.port, self._options.timeout_s
        if self._tls is not None:
            return HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
        return HTTPConnection(host, port, timeout=timeout_s)

    def _check_peer(self, connection: HTTPConnection) -> None:
        """Refuse before a byte is sent where the name `localhost` leads to another machine."""
        host = self._url.hostname or ""
        if is_this_machine(host) and not ip_address(connection.sock.getpeername()[0]).is_loopback:
            raise ResourceError(self._options.url, found="it leads to another machine", do="Write http://127.0.0.1.")

    def _read(self, status: int, response: HTTPResponse) -> Reply | NoReply:
        if status == 200:
            return _reply(response)
        if status in _AGAIN:
            return NoReply("overloaded", wait_s=_retry_after(response.getheader("Retry-After")))
        if status in _REFUSED:
            return NoReply("refused")
        raise _hopeless(self._options, status)


def _hopeless(options: LanguageModelOptions, status: int) -> SettingsError:
    where = f"[labels.model] url = {options.url}"
    if 300 <= status < 400:
        found, do = f"the server redirects (status {status})", "Name the final address; redirects are not followed."
    elif status in {401, 403, 407}:
        found, do = f"the server wants another key (status {status})", "Correct the variable that api_key_env names."
    elif status in {404, 405}:
        found, do = f"the server does not know this (status {status})", "Correct url (up to /v1) or name, the model's."
    else:
        found, do = f"the server answers with status {status}", "Look at the server."
    return SettingsError(where, found=found, do=do)


def _authorization(options: LanguageModelOptions) -> dict[str, str]:
    if options.api_key_env is None:
        return {}
    key = os.environ.get(options.api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        found = "is not set" if not key else "holds signs that no key has"
        where = f"environment variable {options.api_key_env}"
        raise SettingsError(where, found=found, expected="the key of the server", do="Set it, or leave api_key_env out.")
    return {"Authorization": f"Bearer {key}"}


def _body(options: LanguageModelOptions, messages: Sequence[Message], schema: Mapping[str, Any], form: str) -> bytes:
    body: dict[str, Any] = {
        **options.extra,
        "model": options.name,
        "messages": list(messages),
        "temperature": 0,
        "seed": options.seed,
        "max_tokens": options.max_tokens,
        "stream": False,
    }
    if form == "json_schema":
        body["response_format"] = {"type": form, "json_schema": {"name": "findings", "strict": True, "schema": schema}}
    elif form == "json_object":
        body["response_format"] = {"type": form}
    return json.dumps(body).encode()


def _cut(way: socket, late: Event) -> None:
    late.set()
    with suppress(OSError):  # it may have ended in this moment
        way.shutdown(SHUT_RDWR)


def _reply(response: HTTPResponse) -> Reply | NoReply:
    raw = response.read(_LONGEST)  # what is longer is no whole JSON then
    try:
        told: Any = json.loads(raw)
        text = told["choices"][0]["message"].get("content")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return NoReply("broken")
    usage = told.get("usage")
    counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    return Reply(text=text if isinstance(text, str) else "", tokens_in=counts[0], tokens_out=counts[1])


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a server asks to wait, told as a number or as a date."""
    if value is None:
        return None
    seconds = value.strip()
    if seconds.isascii() and seconds.isdecimal():
        return float(seconds)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

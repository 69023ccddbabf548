"""What becomes of a call that brought no reply: the one rule of all API teachers.

Passing troubles are :class:`Busy`, with the time that the server asks for; what no further try can mend is a StepError; a prompt that is
too long for the model is a rejected reply, since other texts may fit. No message holds the key.

Sources: RFC 9110 (status codes, Retry-After); google.rpc.RetryInfo and QuotaFailure (googleapis/google/rpc/error_details.proto);
https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from runner.errors import StepError
from runner.teachers.interface import Busy, Reply, Request
from runner.teachers.providers import Connection
from runner.teachers.providers.transport import BadAnswer, answered

_PASSING = frozenset({408, 409, 425, 429})  # and everything from 500 on
_KEY = re.compile(r"API_KEY_INVALID|invalid_api_key")  # Google answers 400 to a wrong key
_SPENT = re.compile(r'"quotaId": *"[^"]*PerDay|insufficient_quota|billing_not_active|billing_hard_limit_reached|exceeded_current_quota')
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|exceeds the maximum number of tokens|context (length|window|size)"
)


@dataclass(frozen=True)
class Judge:
    """Makes calls for a teacher, and says what went wrong with them."""

    provider: str
    model: str
    connection: Connection
    models: str  # where served models are listed

    def reply(self, request: Request, call: Callable[[], Reply]) -> Reply:
        """What ``call`` returns. Errors: Busy, StepError; anything else is a bug."""
        answered.set(False)
        try:
            return call()
        except (Busy, StepError):
            raise
        except BadAnswer as answer:
            judged = self._answer(answer, request)
        except Exception as error:
            judged = self._failure(error)
        if isinstance(judged, Reply):
            return judged
        raise judged

    def _answer(self, answer: BadAnswer, request: Request) -> Reply | Exception:
        status, text = answer.status, answer.text
        said = f"HTTP {status}: {self._hidden(_message(answer))}"
        if 200 <= status < 300 and "html" in answer.headers.get("Content-Type", ""):
            return Busy(f"a web page came and no {self.provider} reply ({_kind(answer)}), as from a login page or a proxy on the way")
        if 200 <= status < 300:
            return Busy(f"the server answered {status} with something that is no {self.provider} reply ({_kind(answer)})")
        if 300 <= status < 400:
            to = re.match(r"(?:https?:)?//([^/?#@]+)", answer.headers.get("Location", ""))
            return StepError(
                f"the server sends {self.provider}'s calls elsewhere (HTTP {status} to {self._hidden(to[1]) if to else 'another path'})",
                remedy="name the server's own address in resources.endpoint; redirects are not followed, for the key's sake",
            )
        if status in (400, 413) and _TOO_LONG.search(text):
            return Reply("", "too-long", detail=said)
        if status in (400, 422, 500, 501) and "response_format" in text:  # llama-cpp-python's server says it by a 500
            return StepError(
                f"the server does not know how it is asked for the form of a reply ({said})",
                remedy="choose another teacher.response_format: json_object, or text",
            )
        if status == 402 or (status in (400, 403, 429) and _SPENT.search(text)):
            wait = _wait(answer)
            again = f"in {wait / 3600:.1f} hours" if wait and wait > 3600 else "when it is renewed"
            return StepError(
                f"the quota with {self.provider} is used up ({said})",
                remedy=f"what was answered is kept: run again {again}, or raise the quota with the provider",
            )
        if status in _PASSING or status >= 500:
            return Busy(said, _wait(answer))
        if status in (401, 403) or _KEY.search(text):
            if not self.connection.api_key:
                return StepError(f"the server wants an API key ({said})", remedy="name the variable that holds it in resources.api_key_env")
            return StepError(f"{self.provider} refuses the API key ({said})", remedy="check the variable that resources.api_key_env names")
        if status in (404, 410):
            path = ", and look at the path of resources.endpoint" if self.connection.endpoint else ""
            return StepError(
                f"{self.provider} has no model {self.model!r} ({said})",
                remedy=f"it may have been retired: name a served one{path}; see {self.models}",
            )
        return StepError(f"{self.provider} refuses the request {request.id} ({said})", remedy="mend the teacher's settings or the input")

    def _failure(self, error: Exception) -> Exception:
        """An error of the SDK or of its HTTP library."""
        import httpx2
        import requests
        from google.protobuf.json_format import ParseError

        chain = list(_chain(error))
        if any(isinstance(link, httpx2.TimeoutException | requests.Timeout) for link in chain):
            return Busy(f"no answer within {self.connection.timeout:g} s (resources.request_timeout)")
        for link in chain:
            if isinstance(link, ssl.SSLCertVerificationError):
                return StepError(
                    f"the certificate of {self.provider}'s server is not trusted ({link.verify_message})",
                    remedy="look at resources.endpoint, or name your own authority in SSL_CERT_FILE and REQUESTS_CA_BUNDLE",
                )
        if any(isinstance(link, httpx2.TransportError | requests.RequestException | ConnectionError) for link in chain):
            why = next((link.strerror for link in reversed(chain) if isinstance(link, OSError) and link.strerror), "")
            return Busy(f"the connection failed ({why or type(chain[-1]).__name__})")
        if answered.get() and isinstance(error, ParseError | ValueError | TypeError | AttributeError | LookupError):
            return Busy(f"the server answered 200 with something that is no {self.provider} reply ({type(error).__name__})")
        return error

    def _hidden(self, text: str) -> str:
        key = self.connection.api_key
        for form in dict.fromkeys((key, quote(key, safe=""))) if key else ():
            text = text.replace(form, "[API key]")
        return text[:300].encode("utf-8", "replace").decode()  # a lone surrogate could not be written anywhere


def _message(answer: BadAnswer) -> str:
    """The words of an error in Google's form, OpenAI's, or one of those that compatible servers have."""
    data = answer.data()
    error = data.get("error", data)
    inner = [error.get(name) for name in ("message", "detail", "error")] if isinstance(error, dict) else []
    for found in (error, *inner):
        if isinstance(found, str) and found.strip():
            return " ".join(found.split())
    return json.dumps(data) if data else _kind(answer)


def _kind(answer: BadAnswer) -> str:
    kind = answer.headers.get("Content-Type", "").split(";")[0] or "no content type"
    return f"{kind}, {len(answer.text)} characters"


def _wait(answer: BadAnswer) -> float | None:
    """Seconds that the server asks for: Retry-After (seconds or a date), retry-after-ms, or google.rpc.RetryInfo in the error."""
    header = answer.headers.get("Retry-After", "")
    found = re.search(r'"retryDelay": *"([0-9.]+)s"', answer.text)
    for text, scale in ((answer.headers.get("retry-after-ms", ""), 1000), (header, 1), (found[1] if found else "", 1)):
        try:
            seconds = float(text) / scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it arose from, down to the first cause."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


__all__ = ["Judge"]

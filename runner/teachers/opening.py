"""From the settings of a recipe to a :class:`runner.teachers.calls.Caller`: what every step kind that asks a teacher needs.

A step kind holds ``teacher: settings.Teacher`` in its Params and ``settings.Calls`` as its Resources, hands on :func:`sources`,
:func:`hub` and :func:`network`, and asks within :func:`open_caller`. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.contract import Context, HubUse
from runner.errors import StepError
from runner.teachers.settings import Calls, Gemini, GoogleGenerativeAI, Local, OpenAI, Replay, Teacher

if TYPE_CHECKING:
    from runner.teachers.calls import Caller
    from runner.teachers.interface import Teacher as Provider

_REMOTE = {GoogleGenerativeAI: "GOOGLE_API_KEY", Gemini: "GOOGLE_API_KEY", OpenAI: "OPENAI_API_KEY"}
_WORDS = {GoogleGenerativeAI: "Gemini API", Gemini: "Gemini API", OpenAI: "OpenAI-compatible API"}


def sources(teacher: Teacher, field: str = "teacher") -> Mapping[str, Sequence[str]]:
    """The input files of a teacher, for the kind's own ``sources``; ``field`` is where it stands in the Params."""
    path = teacher.path if isinstance(teacher, Local | Replay) else None
    return {f"{field}.path": [path]} if path else {}


def hub(teacher: Teacher, field: str = "teacher") -> Iterable[HubUse]:
    """The model that a local teacher takes from a hub."""
    if isinstance(teacher, Local) and teacher.id:
        yield HubUse(f"{field}.id", "model", teacher.id, teacher.revision)


def network(teacher: Teacher) -> Iterable[str]:
    """What a teacher talks to, in words."""
    if type(teacher) in _WORDS:
        yield _WORDS[type(teacher)]


@contextmanager
def open_caller(teacher: Teacher, ctx: Context, *, replies: Path | None = None) -> Iterator[Caller]:
    """A caller of this teacher under ``ctx.resources`` (:class:`runner.teachers.settings.Calls`), with the store-wide record of answers.

    ``replies`` is a file (``out / "provenance" / "replies.jsonl"``) that gets every reply that is used, for the provider ``replay``.
    Facts and warnings are given at the end, after a failure too: what was paid for is said. In a preview the record is only read.

    Errors: StepError for an unset key, a budget in money without prices, and what the provider's own opening finds wrong.
    """
    from runner.teachers.cache import AnswerCache
    from runner.teachers.calls import Caller
    from runner.teachers.providers import Connection, open_teacher
    from runner.teachers.spending import Purse

    calls: Calls = ctx.resources
    purse = Purse(
        price_input=calls.price_input, price_output=calls.price_output, budget_tokens=calls.budget_tokens, budget_money=calls.budget_money
    )
    key = _key(teacher, calls, ctx)
    settings = {name: getattr(teacher, name) for name in teacher.__struct_fields__}
    if settings.get("path"):
        settings["path"] = str(ctx.root / settings["path"])
    connection = Connection(key, calls.endpoint, calls.request_timeout, calls.device, calls.threads, ctx.check_cancelled)
    provider = open_teacher(str(teacher.__struct_config__.tag), connection, **settings)
    cache = None
    if provider.recorded:
        cache = AnswerCache(ctx.cache("teacher") / _folder(provider), write=ctx.preview is None)
    caller = Caller(
        provider,
        cache,
        concurrency=calls.concurrency,
        retries=calls.retries,
        backoff=calls.backoff,
        requests_per_minute=calls.requests_per_minute,
        tokens_per_minute=calls.tokens_per_minute,
        purse=purse,
        secrets=(key,),
        between=ctx.check_cancelled,
        log=ctx.log,
        replies=replies if provider.recorded else None,
    )
    try:
        yield caller
    finally:
        try:
            _report(caller, isinstance(teacher, Replay), ctx)
        finally:
            caller.close()


def _key(teacher: Teacher, calls: Calls, ctx: Context) -> str:
    """The key to send. The usual variables are for the provider's own address: no other server gets a key that was not named for it."""
    usual = _REMOTE.get(type(teacher))
    if usual is None:
        return ""
    if calls.api_key_env or not calls.endpoint:
        return ctx.secret(calls.api_key_env or usual)
    if isinstance(teacher, OpenAI):
        return ""  # servers of one's own want none
    raise StepError(
        f"resources.endpoint names another address than Google's, and no key is named for it; {usual} is for Google's own",
        remedy="name the variable with the key for that server in resources.api_key_env",
    )


def _folder(provider: Provider) -> str:
    """The folder of a model's record. Two models in one folder do no harm: the key of an answer tells them apart."""
    return re.sub(r"[^\w.:@+-]", "-", f"{provider.provider}--{provider.model}")[:120]


def _report(caller: Caller, replayed: bool, ctx: Context) -> None:
    from runner.teachers.models import other_versions

    tally, teacher = caller.tally, caller.teacher
    name = " ".join(dict.fromkeys((teacher.provider, teacher.model)))
    ctx.fact("teacher", f"{name}, replayed" if replayed else name)
    for name, unit in (("calls", "calls"), ("cached", "calls"), ("retried", "calls"), ("tokens_in", "tokens"), ("tokens_out", "tokens")):
        ctx.fact(name, getattr(tally, name), unit)
    ctx.fact("lost_in_flight", tally.lost, "calls")
    if tally.money is not None:
        ctx.fact("money", tally.money, "money")
    if tally.calls and teacher.recorded:
        ctx.fact("latency_p50", tally.latency(50), "seconds")
        ctx.fact("latency_p95", tally.latency(95), "seconds")
        ctx.fact("usage", {model: dict(used) for model, used in sorted(tally.usage.items())})
    ctx.fact("repaired", tally.repaired, "replies")
    ctx.fact("rejected", dict(sorted(tally.rejected.items())))
    ctx.fact("reported_models", dict(sorted(tally.models.items())))
    if tally.lost:
        ctx.warn(f"{tally.lost} calls were in flight when an earlier run was killed; they were asked again, and may be paid for twice")
    if tally.uncounted:
        ctx.warn(f"{tally.uncounted} replies came without a count of their tokens; they are estimated at 4 characters a token")
    for model, replies in other_versions(teacher.model, tally.models):
        ctx.warn(f"{replies} replies come from {model}, not from {teacher.model} as asked: the provider routes it elsewhere")
    if caller.cache is not None and caller.cache.damaged:
        ctx.warn(f"{caller.cache.damaged} lines of the teacher's answer record are damaged and were passed over")


__all__ = ["hub", "network", "open_caller", "sources"]

"""Why an instance runs again, in words: the parts of its key now against those of its newest earlier artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from runner.engine import manifest as manifests
from runner.engine.canonical import canonical, plain
from runner.engine.history import History
from runner.engine.keys import Parts
from runner.engine.manifest import Manifest
from runner.engine.store import Store
from runner.errors import ArtifactDamaged

_LONGEST = 60  # characters of a value before it is shortened


def explain(history: History, store: Store, instance: str, now: Mapping[str, Any], parts: Parts, key: str | None) -> list[str]:
    """The reasons. ``now`` may lack ``inputs`` (they are not there yet): then only the instance's own changes are told,
    and there may be none. With a ``key`` there is always at least one reason."""
    last = history.last(instance)
    if last is None:
        return ["not run before"] if key else []
    run, record = last
    if key and record.get("key") == key:
        return [f"its artifact of {run} is gone, or something that it refers to"]
    try:
        before = manifests.read(store.folder(record["key"]), record["key"])
    except ArtifactDamaged:
        before = None
    if before is None:
        return [f"its artifact of {run} is gone, so what has changed since is not known"] if key else []
    return list(_differences(before, now, parts)) or (["changed"] if key else [])


def _differences(before: Manifest, now: Mapping[str, Any], parts: Parts) -> Iterator[str]:
    was = before.parts
    if was["kind"] != now["kind"]:
        yield f"uses {was['kind']} -> {now['kind']}"
        return
    if was["version"] != now["version"]:
        yield f"VERSION {was['version']} -> {now['version']}"
    yield from _values(_flat(before.params), _flat(plain(parts.params)))
    yield from _values(_flat(was["axes"]), _flat(now["axes"]))
    for field in sorted(was["sources"].keys() | now["sources"].keys()):
        yield from _files("source file", was["sources"].get(field, {}), now["sources"].get(field, {}))
    for file in sorted(was["prompts"].keys() & now["prompts"].keys()):
        yield from _prompt(file, was["prompts"][file], now["prompts"][file])
    for hub in sorted(was["revisions"].keys() & now["revisions"].keys()):
        if was["revisions"][hub] != now["revisions"][hub]:
            yield f"revision of {hub} {_say(was['revisions'][hub])} -> {_say(now['revisions'][hub])}"
    if "inputs" in now:
        yield from _inputs(was["inputs"], now["inputs"])
        if was["missing"] != now["missing"]:
            yield f"missing arms {_say(was['missing'])} -> {_say(now['missing'])}"


def _prompt(file: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if was["digest"] != now["digest"]:
        changed = [name for name in sorted(was["files"].keys() | now["files"].keys()) if was["files"].get(name) != now["files"].get(name)]
        inner = [name for name in changed if name != file]
        yield f"prompt {file} changed" + (f" (in {', '.join(inner)})" if inner else "")


def _files(what: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for verb, names in (
        ("changed", [name for name in was if name in now and was[name] != now[name]]),
        ("added", [name for name in now if name not in was]),
        ("removed", [name for name in was if name not in now]),
    ):
        if len(names) > 3:
            yield f"{len(names)} {what}s {verb} ({', '.join(sorted(names)[:2])}, ...)"
        else:
            yield from (f"{what} {name} {verb}" for name in sorted(names))


def _inputs(was: Mapping[str, Sequence[Any]], now: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    old, new = _told_apart(was), _told_apart(now)
    yield from (f"input {_name(new[seen])} added" for seen in new if seen not in old)
    yield from (f"input {_name(old[seen])} removed" for seen in old if seen not in new)
    yield from (f"input {_name(new[seen])} changed" for seen in new if seen in old and new[seen] != old[seen])
    if old == new and was != now:
        yield "inputs in another order or on another port"


def _told_apart(inputs: Mapping[str, Sequence[Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Inputs by step, axes and output; axes have no order here, for a manifest does not keep that of the recipe."""
    return {(i["step"], frozenset(i["axes"].items()), i["output"]): i for items in inputs.values() for i in items}


def _name(seen: Mapping[str, Any]) -> str:
    """The name that a recipe gives an input: ``splits.train``, ``lora[rank=8]``."""
    axes = ",".join(f"{axis}={label}" for axis, label in seen["axes"].items())
    output = "" if seen["output"] == "main" else f".{seen['output']}"
    return f"{seen['step']}{f'[{axes}]' if axes else ''}{output}"


def _values(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*now, *was]):
        if name not in was:
            yield f"{name} {_say(now[name])} added"
        elif name not in now:
            yield f"{name} {_say(was[name])} removed"
        elif canonical(was[name]) != canonical(now[name]):
            yield f"{name} {_say(was[name])} -> {_say(now[name])}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat.update(_flat(item, f"{prefix}{name}."))
        else:
            flat[prefix + name] = item
    return flat


def _say(value: Any) -> str:
    """A value as a recipe would write it: ``2e-4``, ``none``, ``[a, b]``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        text = f"[{', '.join(map(_say, value))}]"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {_say(item)}" for name, item in value.items()) + "}"
    else:
        text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    mantissa = "".join(map(str, digits))
    point = f"{mantissa[0]}.{mantissa[1:]}" if len(mantissa) > 1 else mantissa
    return f"{'-' if sign else ''}{point}e{int(exponent) + len(mantissa) - 1}"

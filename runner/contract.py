"""What a step kind is: the contract between the language, the engine and the modules in ``runner/steps``.

A step kind is a module. It holds ``Params`` (the only source of its schema), ``PORTS``, ``VERSION``,
``outputs(params)`` and ``run(params, inputs, out, ctx)``, and may hold the optional parts listed in :class:`StepKind`.
Importing it imports nothing heavy. This module imports nothing of the project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    # A type checker wants `frozen` repeated on every subclass of a frozen class; msgspec inherits it.
    class Struct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True): ...
else:

    class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
        """Base of all Params and of the maps inside them: immutable, strict, no unknown keys.

        Unions of maps are tagged: ``class Lora(Struct, tag_field="kind", tag="lora")``.
        """


def doc(description: str, *, unit: str = "", **constraints: Any) -> msgspec.Meta:
    """Describe a field: ``r: Annotated[int, doc("rank", ge=1)] = 16``. ``constraints`` are msgspec.Meta's own."""
    extra = dict(constraints.pop("extra_json_schema", None) or {})
    if unit:
        extra["x-unit"] = unit
    return msgspec.Meta(description=description, extra_json_schema=extra or None, **constraints)


class Resources(Struct):
    """What does not change a result, and is therefore no part of the cache key. Step kinds may extend it."""

    device: Annotated[Literal["auto", "cpu", "cuda"], doc("where tensors live; auto: a GPU when there is one")] = "auto"
    threads: Annotated[int, doc("CPU threads of numerical libraries; 0: every core that the process may use", ge=0)] = 0
    timeout: Annotated[float, doc("time until the step is stopped; 0: no limit", unit="seconds", ge=0)] = 0


@dataclass(frozen=True)
class Port:
    """An input of a step kind. The first port of ``PORTS`` is the main one, bound by ``from: x``.

    ``one`` takes one artifact, ``many`` a list of references (still per arm), ``gather`` every arm of the steps named.
    ``forms`` lists the forms a model may have there (full, adapter, gguf); empty means that the type has no forms.
    ``about`` says what the step does with it, where that is not plain.
    """

    name: str
    type: str
    arity: Literal["one", "many", "gather"] = "one"
    forms: tuple[str, ...] = ()
    required: bool = True
    about: str = ""


@dataclass(frozen=True)
class Output:
    """An output of a step: artifact type and, for models, the form. Its payload is the folder ``out / name``."""

    type: str
    form: str = ""


#: Name of the only output of a kind that has just one; referred to by the bare step name.
MAIN = "main"


@dataclass(frozen=True)
class Artifact:
    """A committed output, as a step sees it. ``path`` is a read-only folder; ``ref`` is ``<key>/<output>``."""

    ref: str
    type: str
    form: str
    path: Path
    digest: str  # SHA-256 over the payload's names and bytes
    step: str
    axes: Mapping[str, str] = field(default_factory=dict)


#: Inputs by port: an artifact for ``one``, a list for ``many`` and ``gather``, None for an empty optional port.
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Upstream:
    """What ``check`` may know of a producer: its step, kind, params, the output that is read and its name, the arm, and by port what it
    reads itself."""

    step: str
    kind: str
    params: Any
    output: Output
    axes: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, Sequence[Upstream]] = field(default_factory=dict)
    name: str = MAIN


@dataclass(frozen=True)
class Memory:
    """An estimate of the GPU memory that a step takes at its peak, in bytes.

    ``paged``: as much of ``total`` may be moved to main memory meanwhile. ``bfloat16``: it computes in bfloat16, which GPUs of a compute
    capability below 8.0 do not.
    """

    total: int
    paged: int = 0
    bfloat16: bool = False


@dataclass(frozen=True)
class Fault:
    """A cross-field error found by ``check``: ``path`` is relative to ``with`` (``method.target_modules[1]``)."""

    path: str
    found: str
    expected: str = ""


@dataclass(frozen=True)
class PromptUse:
    """A prompt template that a step renders, the field that names it, and the variables that the step provides."""

    field: str
    file: str
    variables: frozenset[str]


@dataclass(frozen=True)
class HubUse:
    """A model or data set that is fetched from a hub, and the field that names it."""

    field: str
    kind: Literal["model", "dataset"]
    id: str
    revision: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit: a branch or a tag may be moved."""
        return self.revision is not None and re.fullmatch("[0-9a-f]{40}", self.revision) is not None


class Template(Protocol):
    """A loaded prompt. ``digest`` covers its source and everything it includes."""

    digest: str

    def render(self, **variables: Any) -> str: ...


class Context(Protocol):
    """How a running step speaks with the engine. All paths are absolute."""

    root: Path  # the project's root
    resources: Any  # the kind's Resources
    sources: Mapping[str, Sequence[Path]]  # per field of ``sources(params)``: the files, as hashed into the key
    journal: Path  # a folder that outlives a killed attempt at this very key: checkpoints, partial results
    offline: bool
    preview: int | None  # None in a run; in a preview, how many to do of the items that the kind's PREVIEW names

    def prompt(self, file: str) -> Template: ...

    def cache(self, name: str) -> Path:
        """A store-wide folder shared by all recipes and runs. Add files of your own there (unfinished ones as ``NAME.part``), and never
        change one that you find: in a preview these are the store's, while what is added goes nowhere."""
        ...

    def artifact(self, ref: str) -> Artifact:
        """Open an artifact that an input refers to (an adapter's base)."""
        ...

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None: ...

    def metrics(self, step: int, **values: float) -> None:
        """A point of a live curve, such as the loss."""
        ...

    def fact(self, name: str, value: Any, unit: str = "") -> None:
        """A measured thing about this execution (``peak_memory``, ``tokens_per_second``): provenance, not payload."""
        ...

    def log(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        """Something that the report must show."""
        ...

    def secret(self, variable: str) -> str:
        """The value of an environment variable; StepError when it is unset. Never write it anywhere."""
        ...

    def check_cancelled(self) -> None:
        """Raise Cancelled if the run is being interrupted; call it between items."""
        ...


class StepKind(Protocol):
    """The shape of a module in ``runner/steps``. What is marked optional may be missing there."""

    __doc__: str  # the first line says what the kind does; shown by `recipe explain`
    VERSION: int  # bumped when the same Params and inputs would give another result
    Params: type[Struct]
    PORTS: tuple[Port, ...]

    def outputs(self, params: Any) -> Mapping[str, Output]:
        """Outputs by name; ``{MAIN: Output(...)}`` for a kind with just one. Where they depend on the parameters, the docstring
        says how, in a line for `recipe explain`."""
        ...

    def run(self, params: Any, inputs: Inputs, out: Path, ctx: Context) -> None:
        """Read the inputs, write every output's files under ``out / output_name``.

        Files under ``out / "provenance"`` are kept with the artifact but are no part of its digest: put there what
        differs from one execution to the next (times, rates), so that the payload is bit-equal where it can be.
        """
        ...

    # optional: Resources: type[Resources]
    # optional: PRELOAD: tuple[str, ...], heavy modules that the forkserver imports ahead
    # optional: PREVIEW: str, the items that `ctx.preview` counts ("documents"); a kind without it cannot be previewed. A kind that
    #   must see all of its input (a mix) takes it all, and only as many rows are shown.
    # optional: check(params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]
    # optional: sources(params) -> Mapping[str, Sequence[str]], input files: field -> paths and globs
    # optional: prompts(params) -> Iterable[PromptUse]
    # optional: hub(params) -> Iterable[HubUse]
    # optional: measures(params) -> Iterable[str], the metrics that claims and checks may name
    # optional: memory(params, upstream, root) -> Memory | None, what it takes of a GPU, where the recipe tells; shown by `recipe plan`
    # optional: network(params) -> Iterable[str], what the step talks to, in words ("Gemini API"); refused by --offline


@dataclass(frozen=True)
class Kind:
    """A step kind as the upper floors use it: the module's parts, with defaults for the optional ones."""

    name: str
    module: Any

    @property
    def version(self) -> int:
        return int(self.module.VERSION)

    @property
    def params(self) -> type[Struct]:
        return self.module.Params

    @property
    def resources(self) -> type[Resources]:
        return getattr(self.module, "Resources", Resources)

    @property
    def ports(self) -> tuple[Port, ...]:
        return self.module.PORTS

    @property
    def preload(self) -> tuple[str, ...]:
        return getattr(self.module, "PRELOAD", ())

    @property
    def preview(self) -> str:
        return getattr(self.module, "PREVIEW", "")

    def port(self, name: str) -> Port | None:
        return next((port for port in self.ports if port.name == name), None)

    def outputs(self, params: Any) -> Mapping[str, Output]:
        return self.module.outputs(params)

    def check(self, params: Any, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
        return self._optional("check", (), params, upstream)

    def sources(self, params: Any) -> Mapping[str, Sequence[str]]:
        return self._optional("sources", {}, params)

    def prompts(self, params: Any) -> Iterable[PromptUse]:
        return self._optional("prompts", (), params)

    def hub(self, params: Any) -> Iterable[HubUse]:
        return self._optional("hub", (), params)

    def measures(self, params: Any) -> Iterable[str]:
        return self._optional("measures", (), params)

    def memory(self, params: Any, upstream: Mapping[str, Sequence[Upstream]], root: Path) -> Memory | None:
        found: Memory | None = self._optional("memory", None, params, upstream, root)
        return found

    def network(self, params: Any) -> Iterable[str]:
        return self._optional("network", (), params)

    def _optional(self, name: str, default: Any, *arguments: Any) -> Any:
        function = getattr(self.module, name, None)
        return default if function is None else function(*arguments)

"""What a step kind knows about its own parameters: rules across fields, prompts, files; and secrets, which are refused everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import runner.steps
from runner.contract import Kind, PromptUse, Struct, Template, Upstream
from runner.errors import StepError
from runner.recipe.nodes import Node, dotted, follow, locate, undotted
from runner.recipe.overlay import suggest
from runner.recipe.problems import KEY, Findings

#: Keys under which nobody writes anything but a secret.
_SECRET_KEYS = re.compile(r"(?i)(?:.*_)?(?:api_?key|access_token|auth_token|hf_token|password|passwd|client_secret|secret|private_key)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GLOB = re.compile(r"[*?\[]")


def find_secrets(trees: Iterable[Node], findings: Findings) -> None:
    """Refuse literal keys. What is found is never printed."""
    for tree in trees:
        found: list[tuple[Any, Node, str]] = []
        for path, node in tree.walk():
            name = path[-1] if path and isinstance(path[-1], str) else ""
            if not isinstance(node.value, str) or "${" in node.value:
                continue
            named = bool(_SECRET_KEYS.fullmatch(name)) and node.value
            misused = name.endswith("_env") and not _VARIABLE.fullmatch(node.value)
            if KEY.search(node.value) or named or misused:
                found.append((path, node, "no name of an environment variable" if misused else "a secret as a value"))
                findings.secrets.add(node.value)
        for path, node, what in found:
            findings.add(node.where, dotted(path), what, "the name of an environment variable, as in `api_key_env: NAME`")


def unknown_kind(name: str, step: Node, document: Node, findings: Findings) -> None:
    """Say why a step has no kind: it names none, or one that does not exist."""
    if not step.is_map:
        return  # its type is reported with all others
    uses = step.get("uses")
    if uses is None:
        if step.get("like") is None:
            where = locate(document, ("steps", name), key=True)
            others = [other for other, node in (document.get("steps") or step).items() if node.get("uses") or node.get("like")]
            hint = suggest(name, others).replace("mean", "mean the step") or "the step kind; or `like`: another step to start from"
            findings.add(where, f"steps.{name}.uses", "missing key `uses`", hint=hint)
    elif isinstance(uses.value, str):
        hint = suggest(uses.value, runner.steps.KINDS) or f"step kinds: {', '.join(runner.steps.KINDS)}"
        findings.add(uses.where, f"steps.{name}.uses", f"there is no step kind `{uses.value}`", hint=hint)


class Checks:
    """The checks of one file; prompts are read once for all arms and profiles."""

    def __init__(self, root: Path, findings: Findings) -> None:
        self.root, self.findings = root, findings
        self._prompts: dict[str, Template | StepError] = {}

    def kind(
        self,
        step: str,
        kind: Kind,
        params: Struct,
        node: Node,
        upstream: Mapping[str, Sequence[Upstream]] | None,
        at: str,
    ) -> None:
        """Check one instance. ``node`` is its ``with``, ``at`` the arm in words where that reads the matrix; ``upstream`` is None
        while its inputs are not sound."""
        for use in kind.prompts(params):
            self._prompt(step, use, node)
        for field, patterns in kind.sources(params).items():
            for pattern in patterns:
                self._source(step, field, pattern, node)
        if upstream is None:
            return
        for fault in kind.check(params, upstream):
            inner = undotted(fault.path)
            path = dotted(("steps", step, "with", *inner))
            self.findings.add(locate(node, inner), path, fault.found, fault.expected, at)

    def _prompt(self, step: str, use: PromptUse, node: Node) -> None:
        inner = undotted(use.field)
        where, path = locate(node, inner), dotted(("steps", step, "with", *inner))
        found = follow(node, inner)
        if not self._within(use.file, found, where, path):
            return
        template = self._template(use.file)
        if isinstance(template, StepError):
            place = f"{template.where}: " if template.where and template.where != use.file else ""
            self.findings.add(where, path, f"{place}{template.message}", hint=template.remedy)
            return
        for name in sorted(getattr(template, "variables", frozenset()) - use.variables):
            hint = suggest(name, use.variables) or f"it provides {', '.join(sorted(use.variables)) or 'none'}"
            self.findings.add(where, path, f"the prompt {use.file} uses `{name}`, which this step does not provide", hint=hint)

    def _template(self, file: str) -> Template | StepError:
        if file not in self._prompts:
            from runner.prompts import load

            try:
                self._prompts[file] = load(self.root, file)
            except StepError as error:
                self._prompts[file] = error
        return self._prompts[file]

    def _source(self, step: str, field: str, pattern: str, node: Node) -> None:
        inner = undotted(field)
        found = follow(node, inner)
        if found is not None and found.is_list:
            for index, element in enumerate(found.elements()):
                if element.value == pattern:
                    inner, found = (*inner, index), element
        where, path = locate(node, inner), dotted(("steps", step, "with", *inner))
        if not self._within(pattern, found, where, path):
            return
        fixed = Path(pattern)
        while _GLOB.search(str(fixed)):
            fixed = fixed.parent
        try:
            there = (self.root / fixed).exists()
        except OSError as error:
            self.findings.add(where, path, f"`{fixed.as_posix()[:60]}` cannot be read: {error.strerror}")
            return
        if not there and (self.root / fixed).is_symlink():
            self.findings.add(where, path, f"`{fixed.as_posix()}` is a link that leads nowhere")
        elif not there:
            what = "file" if str(fixed) == pattern else "folder"
            near = self.root / fixed.parent
            names = [entry.name for entry in near.iterdir()] if near.is_dir() else []
            self.findings.add(where, path, f"there is no {what} `{fixed.as_posix()}`", hint=suggest(fixed.name, names))

    def _within(self, file: str, node: Node | None, where: Any, path: str) -> bool:
        """Whether a path of the recipe stays inside the project, as all must that are not from the command line."""
        if "\0" in file:
            self.findings.add(where, path, "a path with a NUL character")
            return False
        if node is not None and node.outside:
            return True
        depth = 0
        for part in Path(file).parts:
            depth += -1 if part == ".." else 0 if part == "." else 1
            if depth < 0 or Path(file).is_absolute():
                hint = "only the command line names files outside, as in --set vars.corpus=PATH"
                self.findings.add(where, path, f"`{file}` leaves the project", "a path below its root", hint)
                return False
        return True

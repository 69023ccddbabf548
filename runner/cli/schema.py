from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.options import project_root
from runner.errors import DONE, STEP_FAILED, UsageError


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this schema, e.g. recipe.schema.json.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write all schemas to the project's folder `schemas`.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if the schemas on disk are not those of the code.")] = False,
) -> int:
    """Print, write or check the JSON Schemas of the language.

    Without a name or an option, list them.
    """
    from runner.recipe import schemas, write_schemas

    folder = project_root() / "schemas"
    if write:
        write_schemas(folder)
        print(f"written to {folder}")
        return DONE
    found = schemas()
    if check:
        return _check(folder, found)
    if name is None:
        print("\n".join(found))
        return DONE
    if name not in found:
        raise UsageError(f"there is no schema `{name}`", remedy="`recipe schema` lists them")
    print(json.dumps(found[name], ensure_ascii=False, indent=2))
    return DONE


def _check(folder: Path, wanted: dict[str, dict[str, object]]) -> int:
    stale = [name for name, schema in wanted.items() if not _same(folder / name, schema)]
    stale += [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.json")) if path.relative_to(folder).as_posix() not in wanted]
    if stale:
        print(f"not those of the code: {', '.join(stale)}\n  `recipe schema --write` renews them")
        return STEP_FAILED
    print(f"{len(wanted)} schemas are those of the code")
    return DONE


def _same(path: Path, schema: dict[str, object]) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == schema)
    except (OSError, ValueError):
        return False

from __future__ import annotations

from runner.cli.options import RecipeFiles
from runner.cli.output import short


def command(recipes: RecipeFiles) -> None:
    """Write the hub revisions of models and data to a lock file.

    Asks the hub, so it needs the network.
    """
    from runner.recipe import pin

    for file in recipes:
        lock, pins = pin(file)
        print(f"{short(lock)}: {'' if pins else 'nothing is fetched from a hub'}".rstrip())
        width = max(map(len, pins), default=0)
        for id_, revision in pins.items():
            print(f"  {id_:<{width}}  {revision}")

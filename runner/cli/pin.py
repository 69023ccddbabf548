from __future__ import annotations

from runner.cli.options import RecipeFiles


def command(recipes: RecipeFiles) -> None:
    """Write the hub revisions of models and data to a lock file.

    Asks the hub, so it needs the network.
    """
    from runner.recipe import pin

    for file in recipes:
        print(pin(file))

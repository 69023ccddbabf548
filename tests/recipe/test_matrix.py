from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from runner.errors import RecipeError
from runner.recipe import Recipe, load

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]

BELOW = """
steps:
  f: {uses: read}
  c: {uses: cut, from: f, with: {size: 9}}
  i: {uses: search, from: c, with: {engine: {kind: flat}}}
  q: {uses: ask, from: c}
  base: {uses: model}
"""


@pytest.fixture
def made(write: Write) -> Callable[[str, str], Recipe]:
    def _made(steps: str, matrix: str) -> Recipe:
        return load(write(BELOW + indent(dedent(steps), "  ") + dedent(matrix)))

    return _made


Made = Callable[[str, str], Recipe]


def ids(recipe: Recipe, step: str) -> list[str]:
    return [instance.id for instance in recipe.instances.values() if instance.step == step]


def reads(recipe: Recipe, instance: str) -> list[str]:
    return [ref.instance for refs in recipe.instances[instance].inputs.values() for ref in refs]


RANKS = """
tuned: {uses: tune, from: {model: base, examples: q}, with: {method: {kind: lora, r: "${matrix.rank}"}}}
packed: {uses: pack, from: tuned}
said: {uses: reply, from: {model: "${matrix.system}", questions: q, index: "${matrix.rag}"}}
judged: {uses: judge, from: said}
"""


def test_arms_are_ragged(made: Made) -> None:
    recipe = made(RANKS, "\nmatrix: {system: [base, tuned, packed], rank: [8, 16], rag: [none, i]}\n")
    assert ids(recipe, "base") == ["base"]
    assert ids(recipe, "tuned") == ["tuned[rank=8]", "tuned[rank=16]"]
    assert reads(recipe, "packed[rank=16]") == ["tuned[rank=16]"]
    said = ids(recipe, "said")
    assert said[:2] == ["said[system=base,rag=none]", "said[system=base,rag=i]"]
    assert set(said[2:]) == {f"said[system={s},rank={r},rag={g}]" for s in ("tuned", "packed") for r in (8, 16) for g in ("none", "i")}
    assert recipe.instances["said[system=base,rag=none]"].inputs.keys() == {"model", "questions"}
    assert reads(recipe, "said[system=packed,rank=8,rag=i]") == ["packed[rank=8]", "q", "i"]
    assert reads(recipe, "judged") == said
    assert recipe.axes == {"system": ["base", "tuned", "packed"], "rank": ["8", "16"], "rag": ["none", "i"]}


def test_exclude_drops_arms(made: Made) -> None:
    matrix = """
    matrix:
      system: [base, tuned, packed]
      rank: [8, 16]
      rag: [none, i]
      exclude: [{system: base, rag: i}, {rank: 16, rag: i}, {system: packed, rank: 8}]
    """
    recipe = made(RANKS, matrix)
    assert ids(recipe, "said") == [
        "said[system=base,rag=none]",
        "said[system=tuned,rank=8,rag=none]",
        "said[system=tuned,rank=8,rag=i]",
        "said[system=tuned,rank=16,rag=none]",
        "said[system=packed,rank=16,rag=none]",
    ]
    assert ids(recipe, "tuned") == ["tuned[rank=8]", "tuned[rank=16]"]
    assert ids(recipe, "packed") == ["packed[rank=16]"], "what only excluded arms would have read is not made"


def test_exclude_drops_what_only_excluded_arms_would_have_read_up_to_its_root(made: Made) -> None:
    steps = """
    one: {uses: ask, from: c, with: {count: "${matrix.n}"}}
    tuned: {uses: tune, from: {model: base, examples: one}, with: {seed: "${matrix.seed}"}}
    said: {uses: reply, from: {model: "${matrix.system}", questions: q}}
    """
    axes = "n: [1, 2], seed: [3, 4], system: [base, tuned]"
    recipe = made(steps, f"\nmatrix: {{{axes}, exclude: [{{system: tuned, n: 2}}]}}\n")
    assert ids(recipe, "tuned") == ["tuned[n=1,seed=3]", "tuned[n=1,seed=4]"]
    assert ids(recipe, "one") == ["one[n=1]"]
    assert len(ids(made(steps, f"\nmatrix: {{{axes}}}\n"), "one")) == 2


def test_a_step_that_only_excluded_arms_would_have_read_is_not_made(made: Made) -> None:
    recipe = made(
        RANKS, "\nmatrix: {system: [base, tuned, packed], rank: [8, 16], rag: [none], exclude: [{system: packed}, {system: tuned}]}\n"
    )
    assert ids(recipe, "packed") == ids(recipe, "tuned") == []
    assert ids(recipe, "said") == ["said[system=base,rag=none]"]


def test_a_step_that_nobody_reads_keeps_all_its_arms(made: Made) -> None:
    recipe = made(
        RANKS.replace("judged: {uses: judge, from: said}", ""),
        "\nmatrix: {system: [base, tuned], rank: [8, 16], rag: [none], exclude: [{system: base}]}\n",
    )
    assert len(ids(recipe, "said")) == 2


def test_include_adds_whole_arms(made: Made) -> None:
    matrix = """
    matrix:
      system: [base, tuned]
      rank: [8]
      rag: [none]
      include:
        - {system: tuned, rank: 64, rag: i}
    """
    recipe = made(RANKS, matrix)
    assert ids(recipe, "tuned") == ["tuned[rank=8]", "tuned[rank=64]"]
    assert set(ids(recipe, "said")) == {
        "said[system=base,rag=none]",
        "said[system=tuned,rank=8,rag=none]",
        "said[system=tuned,rank=64,rag=i]",
    }


def test_include_lifts_an_exclusion(made: Made) -> None:
    include = "include: [{system: tuned, rank: 9, rag: none}]"
    recipe = made(RANKS, f"\nmatrix: {{system: [tuned], rank: [8, 9], rag: [none], exclude: [{{system: tuned}}], {include}}}\n")
    assert ids(recipe, "said") == ["said[system=tuned,rank=9,rag=none]"]


def test_inputs_agree_on_the_axes_that_they_share(made: Made) -> None:
    steps = """
    one: {uses: ask, from: c, with: {count: "${matrix.n}"}}
    two: {uses: ask, from: c, with: {count: "${matrix.n}", prompt: null}}
    both: {uses: join, from: [one, two, q]}
    """
    recipe = made(steps, "\nmatrix: {n: [1, 2]}\n")
    assert reads(recipe, "both[n=2]") == ["one[n=2]", "two[n=2]", "q"]
    assert ids(recipe, "both") == ["both[n=1]", "both[n=2]"]


def test_unrelated_axes_multiply(made: Made) -> None:
    steps = """
    one: {uses: ask, from: c, with: {count: "${matrix.n}"}}
    tuned: {uses: tune, from: {model: base, examples: one}, with: {seed: "${matrix.seed}"}}
    """
    recipe = made(steps, "\nmatrix: {seed: [1, 2], n: [1, 2]}\n")
    assert ids(recipe, "tuned") == [f"tuned[seed={s},n={n}]" for s in (1, 2) for n in (1, 2)]


def test_each_makes_one_group_per_value(made: Made) -> None:
    steps = RANKS + "by_rag: {uses: judge, from: said, each: [rag]}\nby_both: {uses: judge, from: said, each: [rag, rank]}\n"
    recipe = made(steps, "\nmatrix: {system: [base, tuned], rank: [8, 16], rag: [none, i]}\n")
    assert ids(recipe, "by_rag") == ["by_rag[rag=none]", "by_rag[rag=i]"]
    assert reads(recipe, "by_rag[rag=i]") == [
        "said[system=base,rag=i]",
        "said[system=tuned,rank=8,rag=i]",
        "said[system=tuned,rank=16,rag=i]",
    ]
    assert ids(recipe, "by_both") == [f"by_both[rank={r},rag={g}]" for r in (8, 16) for g in ("none", "i")]
    # an arm without the axis agrees with every group
    assert reads(recipe, "by_both[rank=8,rag=i]") == ["said[system=base,rag=i]", "said[system=tuned,rank=8,rag=i]"]


def test_gathering_several_steps(made: Made) -> None:
    steps = """
    one: {uses: reply, from: {model: base, questions: q}}
    two: {uses: reply, from: {model: base, questions: q, index: i}, with: {top_k: "${matrix.k}"}}
    all: {uses: judge, from: [one, two]}
    """
    recipe = made(steps, "\nmatrix: {k: [1, 2]}\n")
    assert reads(recipe, "all") == ["one", "two[k=1]", "two[k=2]"]


def test_an_output_chosen_by_the_matrix(made: Made) -> None:
    steps = """
    parts: {uses: parts, from: q}
    tuned: {uses: tune, from: {model: base, examples: "parts.${matrix.part}"}}
    """
    recipe = made(steps, "\nmatrix: {part: [train, test]}\n")
    assert [ref.output for ref in recipe.instances["tuned[part=test]"].inputs["examples"]] == ["test"]


def test_labels_of_all_kinds_of_scalars(made: Made) -> None:
    steps = 'tuned: {uses: tune, from: {model: base, examples: q}, with: {learning_rate: "${matrix.rate}"}}\n'
    recipe = made(steps, "\nmatrix: {rate: [1e-4, 0.5, 2]}\n")
    assert ids(recipe, "tuned") == ["tuned[rate=0.0001]", "tuned[rate=0.5]", "tuned[rate=2]"]
    assert recipe.instances["tuned[rate=0.0001]"].params.learning_rate == 1e-4  # type: ignore[attr-defined]


def test_instances_stand_in_an_order_in_which_they_can_run(write: Write) -> None:
    recipe = load(write("steps:\n  p: {uses: pack, from: b}\n  b: {uses: model, from: f}\n  f: {uses: read}\n"))
    assert list(recipe.instances) == ["f", "b", "p"]
    assert recipe.steps() == ["f", "b", "p"]


def test_too_many_instances_are_refused(made: Made) -> None:
    labels = ", ".join(map(str, range(1, 60)))
    with pytest.raises(RecipeError, match="more than 2000 step instances"):
        made(
            'a: {uses: model, with: {width: "${matrix.x}", pretrained: {id: "${matrix.y}"}}}\n',
            f"\nmatrix: {{x: [{labels}], y: [{labels}]}}\n",
        )

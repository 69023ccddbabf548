"""The public data sets of docs/data.md, read by the very recipe that stands there."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.cli import call

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
RECIPE = re.search(r"^## Six public sets$.*?^```yaml\n(.*?)^```$", (ROOT / "docs/data.md").read_text(), re.M | re.S)

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")]

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("project")
    (root / "recipes").mkdir()
    assert RECIPE is not None
    (root / "recipes/sets.yaml").write_text(RECIPE[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


def made(folder: Path) -> dict[str, tuple[Rows, dict[str, Any]]]:
    """Examples and counts of every step of the newest run."""
    (run,) = (folder / "runs").glob("*/latest")
    found = {}
    for manifest in (folder / "objects").glob("*/*/manifest.json"):
        step = json.loads(manifest.read_text())["step"]
        main = manifest.parent / "main"
        rows = [json.loads(line) for line in (main / "examples.jsonl").read_text().splitlines()]
        found[step] = (rows, json.loads((main / "dataset.json").read_text()))
    assert run.exists()
    return found


@pytest.fixture(scope="module")
def sets(project: Path) -> dict[str, tuple[Rows, dict[str, Any]]]:
    assert call(["run", "recipes/sets.yaml", "--set", f"vars.data={SHARED}"]) == 0
    return made(project / "artifacts")


COUNTS = {  # read, left out, taken
    "qasa": (228, 0, 228), "squad": (10_570, 0, 10_570), "sst2": (872, 0, 872), "alpaca_eval": (805, 0, 805), "gsm8k": (300, 0, 300),
    "pubmedqa": (1000, 500, 500),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_rows_are_counted(sets: dict[str, tuple[Rows, dict[str, Any]]], name: str) -> None:
    rows, counts = sets[name]
    assert (counts["read"], counts["left_out"], counts["taken"]) == COUNTS[name]
    assert counts["bad"] == 0
    assert len({row["id"] for row in rows}) == len(rows) == counts["taken"]


def test_qasa(sets: dict[str, tuple[Rows, dict[str, Any]]]) -> None:
    rows, _ = sets["qasa"]
    assert Counter(row["type"] for row in rows) == {"shallow": 93, "deep": 69, "testing": 66}
    assert len({row["documents"][0] for row in rows}) == 65
    assert rows[0]["id"] == "9"
    assert rows[0]["answer"].startswith("Authors best practices were to combine effects")
    assert rows[0]["context"].startswith("If the above regularization methods are applied individually")
    assert max(len(row["extra"]["rationales"]) for row in rows) == 15


def test_squad_scores_as_its_official_script_does(sets: dict[str, tuple[Rows, dict[str, Any]]]) -> None:
    rows, _ = sets["squad"]
    predictions = json.loads((SHARED / "squad/predictions_BERT.json").read_text())
    assert rows[0]["documents"] == ["Super_Bowl_50"]
    assert rows[0]["context"].startswith("Super Bowl 50 was an American football game")

    def folded(text: str) -> str:
        letters = "".join(letter for letter in text.lower() if letter not in set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())

    right = sum(folded(predictions[row["id"]]) in {folded(answer) for answer in row["answers"]} for row in rows)
    assert 100 * right / len(rows) == pytest.approx(86.20624408703878)


def test_sst2_gsm8k_alpaca_eval_and_pubmedqa(sets: dict[str, tuple[Rows, dict[str, Any]]]) -> None:
    assert Counter(row["answer"] for row in sets["sst2"][0]) == {"positive": 444, "negative": 428}
    assert sets["sst2"][0][0]["question"].endswith("negative?\none long string of cliches .")
    assert [row["extra"]["final"] for row in sets["gsm8k"][0]][:3] == ["18", "3", "70000"]
    assert sets["gsm8k"][0][0]["answer"].endswith("#### 18")
    alpaca = sets["alpaca_eval"][0]
    assert Counter(row["type"] for row in alpaca) == {"selfinstruct": 252, "oasst": 188, "koala": 156, "helpful_base": 129, "vicuna": 80}
    assert [number for number, row in enumerate(alpaca) if not row["answer"]] == [247, 504]
    truth = json.loads((SHARED / "pubmedqa/test_ground_truth.json").read_text())
    assert {row["id"]: row["answer"] for row in sets["pubmedqa"][0]} == truth
    assert sets["pubmedqa"][0][0]["extra"]["year"] == "2011"


#: File -> what is broken in it (the text before, the text after), and what the error says.
BROKEN = {
    "qasa/qasa_answerable_228_from_spiqa_testB.json": (
        '"question_type": "Deep/complex question"',
        '"question_type": null',
        "row 19, 168: the template of `fields.type` fails: 'None' has no attribute 'split'",
    ),
    "squad/dev-v1.1.json": (
        '"question": "Which NFL team represented the NFC at Super Bowl 50?"',
        '"question": ""',
        "row 2, data[0].paragraphs[0].qas[1]: `question` is empty",
    ),
    "sst2/dev.tsv": ("\n0\tone long", "\n2\tone long", "line 2: `2` is no value of answer that `values` names: `0`, `1`"),
    "alpaca_eval/text_davinci_003/model_outputs.json": (
        '"instruction":"How did US states get their names?"',
        '"instrution":"How did US states get their names?"',
        "row 2: there is no `instruction`; the columns are `dataset`, `instrution`, `output`, `generator`",
    ),
    "gsm8k/test_first300.jsonl": (
        "#### 18",
        "## 18",
        "line 1: the template of `fields.extra.final` fails: list object has no element 1",
    ),
    "pubmedqa/ori_pqal.json": ('"final_decision": "yes"', '"final_decision": []', "row 1, 21645374: `final_decision` is a list"),
}


def test_a_broken_row_is_named(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = project / "data"
    shutil.copytree(SHARED / "pubmedqa", data / "pubmedqa")
    for file, (right, wrong, _) in BROKEN.items():
        text = (SHARED / file).read_text(encoding="utf-8")
        assert right in text
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    assert call(["run", "recipes/sets.yaml", "--artifacts", "broken"]) == 1
    said = capfd.readouterr()
    for file, (_, _, found) in BROKEN.items():
        assert f"data/{file}: 1 row cannot be used\n" in said.out + said.err
        assert found in said.out + said.err
    assert "Traceback" not in said.out + said.err


def test_a_workbook_of_ratings(project: Path) -> None:
    shutil.copytree(SHARED / "qlora_sub10b/Benchmarks/Benchmark Data", project / "data/ratings")
    (project / "recipes/ratings.yaml").write_text(
        """
recipe: 1
name: ratings
steps:
  ratings:
    uses: dataset
    with:
      path: data/ratings/*.xlsx
      fields:
        question: "{{ row['File Name'] }}, question {{ row['Question Number'] }}"
        answer: Correct Answer
        extra: {reasoning: Correct Reasoning, helpfulness: Helpfulness}
"""
    )
    assert call(["run", "recipes/ratings.yaml", "--artifacts", "rated"]) == 0
    rows, counts = made(project / "rated")["ratings"]
    assert (counts["taken"], len(counts["files"])) == (420, 8)
    assert Counter(row["origin"] for row in rows)["Llama-math"] == 90
    assert len({row["question"].split(",")[0] for row in rows}) == 42
    assert all(isinstance(row["extra"]["helpfulness"], int) and 0 <= row["extra"]["helpfulness"] <= 5 for row in rows)

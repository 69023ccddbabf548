from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError, StepError
from runner.prompts import Template, load

Write = Callable[..., Template]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes ``prompts/t.j2`` and other files below ``prompts/``, and loads the first."""

    def _write(text: str, **others: str) -> Template:
        folder = tmp_path / "prompts"
        folder.mkdir(exist_ok=True)
        (folder / "t.j2").write_text(text, encoding="utf-8")
        for name, other in others.items():
            path = folder / name.replace("__", "/")
            path = path.with_name(path.name + ".j2")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(other, encoding="utf-8")
        return load(tmp_path, "prompts/t.j2")

    return _write


def test_render(write: Write) -> None:
    template = write("Q: {{ question }}{% for p in passages %}\n{{ loop.index }}. {{ p.text | trim }}{% endfor %}")
    assert template.render(question="a & <b>?", passages=[{"text": " x "}, {"text": "y"}]) == "Q: a & <b>?\n1. x\n2. y"
    assert template.variables == {"question", "passages"}


def test_text_that_is_passed_in_is_never_rendered(write: Write) -> None:
    hostile = "{{ 7*7 }} {% include '/etc/passwd' %} {# x #} ${vars.x} {{ question }}"
    included = write("{% set t = text %}{{ t }}|{% include './part.j2' %}|{{ [text] | join }}", part="{{ text | upper | lower }}")
    assert included.render(text=hostile) == f"{hostile}|{hostile.lower()}|{hostile}"


def test_closure(write: Write, tmp_path: Path) -> None:
    files = {
        "sub__a": "{% import 'prompts/sub/m.j2' as m %}{{ m.shout(x) }}",
        "sub__m": "{% macro shout(t) %}{{ t | upper }}!{% endmacro %}",
        "parent": "<{% block b %}{% endblock %}>",
    }
    main = "{% extends './parent.j2' %}{% block b %}{% include './sub/a.j2' %}{% endblock %}"
    template = write(main, **files)
    assert template.files == ["prompts/parent.j2", "prompts/sub/a.j2", "prompts/sub/m.j2", "prompts/t.j2"]
    assert template.render(x="hey") == "<HEY!>"
    digests = {template.digest, write(main, **files).digest}
    assert len(digests) == 1
    for name in files:
        digests.add(write(main, **{**files, name: files[name] + " "}).digest)
    digests.add(write(main + "\n", **files).digest)
    assert len(digests) == 5


def test_the_digest_covers_what_is_rendered(write: Write, tmp_path: Path) -> None:
    template = write("{% include './a.j2' %}", a="one")
    (tmp_path / "prompts" / "a.j2").write_text("two", encoding="utf-8")
    assert template.render() == "one"
    assert load(tmp_path, "prompts/t.j2").digest != template.digest


def test_variables(write: Write) -> None:
    text = """{% set own = 1 %}{% macro f(arg) %}{{ arg }}{{ outer }}{% endmacro %}{{ f(own) }}
    {% for i in items %}{% include './p.j2' %}{% endfor %}
    {% if maybe is defined %}{{ maybe }}{% endif %}{{ range(3) | list }}{% set ns = namespace(a=1) %}{{ ns.a }}"""
    assert write(text, p="{{ i }}{{ deep }}{{ own }}").variables == {"outer", "items", "deep", "maybe"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{ question", "prompts/t.j2:2: unexpected end of template, expected 'end of print statement'."),
        ("{% include name %}", "prompts/t.j2:1: an include whose file is only known when it is rendered\n  name the file literally"),
        (
            "{% include ['a.j2', 'b.j2'] %}",
            "prompts/t.j2:1: an include whose file is only known when it is rendered\n  name the file literally",
        ),
        ("{% extends x ~ '.j2' %}", "prompts/t.j2:1: an include whose file is only known when it is rendered\n  name the file literally"),
        ("{% from y import z %}", "prompts/t.j2:1: an include whose file is only known when it is rendered\n  name the file literally"),
        ("{% include 'x.j2' ignore missing %}", "prompts/t.j2:1: `ignore missing`\n  an included file is there, or it is not included"),
        ("\n{% include '../../x.j2' %}", "prompts/t.j2:2: `../x.j2` leaves the project\n  a path below the project's root"),
        ("{% include '/etc/passwd' %}", "prompts/t.j2:1: `/etc/passwd` leaves the project\n  a path below the project's root"),
        ("{% include './prt.j2' %}", "prompts/t.j2: there is no prompt `prompts/prt.j2`\n  did you mean `prompts/part.j2`?"),
        ("{% include './t.j2' %}", "prompts/t.j2: the prompt includes itself: prompts/t.j2 -> prompts/t.j2"),
        ("{% include './loop.j2' %}", "prompts/loop.j2: the prompt includes itself: prompts/t.j2 -> prompts/loop.j2 -> prompts/t.j2"),
        ("{% for x in y recursive %}{{ loop(x) }}{% endfor %}", "prompts/t.j2:1: a recursive loop\n  loops nest by being written out"),
        ("{{ x | random }}", "prompts/t.j2:1: no filter `random` for prompts"),
        ("{{ x | urlize }}", "prompts/t.j2:1: no filter `urlize` for prompts"),
        ("{% if x is defind %}{% endif %}", "prompts/t.j2:1: no test `defind` for prompts\n  did you mean `defined`?"),
        ("{% do x.append(1) %}", "prompts/t.j2:1: Encountered unknown tag 'do'."),
    ],
)
def test_refused_when_loaded(write: Write, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        write(text, part="x", loop="{% include './t.j2' %}")
    assert str(caught.value) == message


def test_links_out_of_the_project_are_refused(write: Write, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.j2"
    outside.write_text("secret", encoding="utf-8")
    write("x")
    (tmp_path / "prompts" / "link.j2").symlink_to(outside)
    (tmp_path / "prompts" / "loop.j2").symlink_to("loop.j2")
    with pytest.raises(InputError, match="a link out of the project"):
        load(tmp_path, "prompts/link.j2")
    with pytest.raises(InputError, match=r"there is no prompt|cannot be read"):
        load(tmp_path, "prompts/loop.j2")
    with pytest.raises(InputError, match="leaves the project"):
        load(tmp_path, "../x.j2")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (300 << 10)])
def test_files_that_are_no_prompts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.j2").write_bytes(content)
    with pytest.raises(InputError, match=r"is not UTF-8|is larger than"):
        load(tmp_path, "t.j2")


BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ 9 ** 99999 }}",
    "{% set ns = namespace(x=9) %}{% for i in range(9999) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{{ '%01000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ 'x'.join(range(9)) }}",
    "{{ 'x'.encode() }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x' | indent(1000000000) | length }}{{ 'x\\n' * 100000 | indent('y' * 1000000) }}",
    "{{ 'x' | format }}",
    "{{ [1] | batch(10**9, 'x') }}",
    "{{ range(10**9) | list }}",
    "{{ (1.5) | round(10**9, 'ceil') }}",
    "{{ ('a' * 9999) | replace('a', 'a' * 9999) }}",
    "{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s=['aaaa']) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s=['aaaa']) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
    "{% set ns = namespace(s=['aaaa']) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | string }}",
    "{% set ns = namespace(s=['aaaa']) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s ~ 'x' }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in [1,2,3,4,5,6,7,8,9] %}" * 12 + "{% endfor %}" * 12,
    "{% for a in range(9999) %}{% for b in range(99) %}" + "x" * 1000 + "{% endfor %}{% endfor %}",
    "{% set t %}{% for a in range(9999) %}{% for b in range(99) %}" + "x" * 1000 + "{% endfor %}{% endfor %}{% endset %}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "{% macro f(n) %}" + "x" * 9999 + "{% if n %}{% set a = f(n - 1) %}{% set b = f(n - 1) %}{% endif %}{% endmacro %}{{ f(17) | length }}",
    "{% block b %}{{ self.b() }}{% endblock %}",
    "{{ [[1], [2]] | sum(start=[]) }}",
    "{{ big ~ big }}",
]
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ question | attr('__class__') }}",
    "{{ (question | map(attribute='__class__') | list)[0].x }}",
    "{{ self.__init__.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ namespace.__init__ }}",
    "{{ items.append(1) }}",
    "{{ items.clear() }}",
    "{{ undefined_name }}",
    "{{ question.nothing }}",
    "{{ lipsum() }}",
    "{{ cycler(1) }}",
    "{{ joiner() }}",
    "{{ config }}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{{ [][3] }}",
]


@pytest.mark.parametrize("text", BOMBS + ESCAPES)
def test_refused_when_rendered(write: Write, text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(StepError):
        write(text).render(question="x", items=[1], big="x" * 8_000_000)
    assert time.perf_counter() - started < 10


def test_memory_stays_small() -> None:
    """All bombs in a process of its own that may have no more than 1 GB."""
    import subprocess
    import sys

    code = (
        "import resource, tempfile, pathlib; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from tests.prompts.test_template import BOMBS\nfrom runner.prompts import load\nfrom runner.errors import StepError\n"
        "root = pathlib.Path(tempfile.mkdtemp())\n"
        "for text in BOMBS:\n"
        "    (root / 't.j2').write_text(text)\n"
        "    try:\n        load(root, 't.j2').render(big='x' * 8_000_000)\n"
        "    except StepError:\n        continue\n"
        "    raise SystemExit(text)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=60)


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        (
            "a\n{{ question }}",
            {"text": "x", "b": 1},
            "prompts/t.j2:2: the prompt cannot be rendered: 'question' is undefined\n  it is given b, text",
        ),
        ("{% include './p.j2' %}", {}, "prompts/p.j2:2: the prompt cannot be rendered: 'x' is undefined\n  it is given no variables"),
        ("{{ 'a' * 10**9 }}", {}, "prompts/t.j2:1: the prompt is refused: a value 1000000000 long"),
        ("{{ ''['__class__'] }}", {}, "prompts/t.j2:1: the prompt is refused: access to attribute '__class__' of 'str' object is unsafe."),
        (" \n", {}, "prompts/t.j2: the prompt is empty"),
        ("{{ ''.__class__ }}", {}, "prompts/t.j2:1: `__class__` is out of reach of prompts"),
    ],
)
def test_messages_name_file_and_line(write: Write, text: str, variables: Any, message: str) -> None:
    with pytest.raises(StepError) as caught:
        write(text, p="\n{{ x }}").render(**variables)
    assert str(caught.value) == message


def test_long_documents_fit(write: Write) -> None:
    text = "word " * 400_000
    assert (
        write("Read:\n{{ text }}\n{% for p in passages %}{{ p }}{% endfor %}").render(text=text, passages=[text, text]).count("word")
        == 1_200_000
    )


def test_ordinary_things_work(write: Write) -> None:
    template = write(
        "{% set kinds = {'a': 'x', 'b': 'y'} %}{% for k, v in kinds.items() %}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %} "
        "{{ items | map(attribute='n') | join('-') }} {{ items | sum(attribute='n') }} {{ 'a b'.split() | last }} {{ 7 // 2 }} "
        "{{ (items | selectattr('n', 'gt', 1) | list | length) }} {{ text | replace('x', 'y') | upper }} {{ 'z' * 3 }} "
        "{{ 1.256 | round(1) }} "
        "{{ items[0] | tojson }} {{ 'a\nb' | indent(2) }} {{ none is none }} {{ 3 % 2 }} {{ text[:1] }}"
    )
    rendered = template.render(items=[{"n": 1}, {"n": 2}], text="xé")
    assert rendered == 'a=x, b=y 1-2 3 b 3 1 YÉ zzz 1.3 {"n": 1} a\n  b True 1 x'
    assert template.render(items=[{"n": 1}, {"n": 2}], text="xé") == rendered

"""Taking a plain English sentence apart: subject, finite verb, rest. By word lists and order alone, and silent where unsure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BASES = _words(
    """
    accept achieve add adopt aggregate allow apply assign attend average avoid balance begin belong benefit bound bring build
    cache calculate call capture cause change check choose collect combine compare compress compute connect consist consume
    contain control convert copy correct correspond cost count cover create cut decide decrease define deliver demonstrate
    depend deploy derive describe detect determine differ disable distribute divide double drop eliminate employ enable encode
    enforce ensure estimate evaluate exceed execute exhibit exploit explore expose extend extract favor feature fetch find fix
    focus follow force form freeze generate give group grow guarantee handle have help hide hold hurt identify ignore implement
    improve include incorporate encounter increase indicate inherit initialize insert integrate introduce involve issue keep
    lack lead learn leave let leverage limit list load lose lower maintain make manage map mask match maximize mean measure
    merge minimize mix modify multiply need normalize occupy offer operate optimize outperform overlap own perform permit pick
    place predict prefer present preserve prevent process produce project promote propose protect prove provide punish push
    quantize raise rank reach read receive record reduce refer refuse register rely remain remember remove repeat replace
    represent require reserve respond restore result retain return reuse reveal reward round run sample save scale schedule
    score search select send separate serve set share show shrink simplify skip slow solve sort specify spend split start stay
    stop store stream subtract suffer suggest sum supply support surpass swap take tell tie track trade train transfer transform
    adapt address adjust alternate append attach attain block boost branch broadcast bypass cluster comprise conduct confirm
    constitute construct contribute coordinate dominate emit emphasize enhance enter equal establish evict examine exclude exit
    expand explain express fail filter finish flush forward fuse gain gather guide highlight host illustrate impose induce inspect
    invoke isolate join jump label launch lock match monitor move necessitate notify observe obtain pad pass patch persist point
    pose postpone preload prioritize propagate query recover recompute redirect reflect refine reject release reorder reply report see
    resemble resolve resume retrieve rotate route satisfy saturate shard shift simulate span specialize speed stabilize submit
    substitute switch synchronize target terminate test tolerate transmit traverse trigger truncate tune unify unroll wrap
    beat become blur cancel fit harm leak spoil stretch teach
    translate treat turn update use utilize validate vary verify wait waste weigh work write yield
    """
)
#: Third-person forms that are as likely a plural noun: "results", "steps".
_NOUNLIKE = _words(
    """
    accepts averages balances benefits bounds builds caches calls causes changes checks controls copies costs counts covers cuts
    decreases drops estimates features fixes focuses forces forms groups helps increases issues leads learns limits lists loads
    maps masks matches means measures mixes needs offers overlaps places processes projects ranks records repeats results
    returns rewards rounds runs samples scales schedules scores searches sets shares splits starts stays stops stores streams
    attaches blocks branches clusters contributes exits filters gains guides hosts joins labels locks monitors moves passes patches
    fits harms leaks points queries reports shards shifts speeds switches targets tests triggers
    sums supplies supports swaps tracks trades trains transfers turns updates uses works yields
    """
)
_BASES |= {base[:-3] + "ise" for base in _BASES if base.endswith("ize")}
#: What follows a plural noun sooner than a verb ("updates to", "changes in"), but for these verbs.
_AFTER_NOUNS = _words("to in of on from for with as by over into")
_AFTER_VERBS = frozenset(
    {
        ("leads", "to"),
        ("results", "in"),
        ("focuses", "on"),
        ("starts", "to"),
        ("starts", "from"),
        ("maps", "to"),
        ("works", "with"),
        ("points", "to"),
    }
)
_IRREGULAR_THIRD = {"have": "has"}
_PAST = {
    "achieved": "achieve", "adopted": "adopt", "demonstrated": "demonstrate", "employed": "employ", "exceeded": "exceed",
    "exhibited": "exhibit", "found": "find", "improved": "improve", "increased": "increase", "introduced": "introduce",
    "outperformed": "outperform", "proposed": "propose", "reached": "reach", "reduced": "reduce", "required": "require", "showed":
    "show", "surpassed": "surpass", "took": "take",
}  # fmt: skip
_BE = {"is": False, "was": False, "are": True, "were": True}
_MODALS = _words("can cannot could must should will would may might")
_ADVERBS = _words(
    """
    also always already automatically currently directly effectively essentially explicitly first further generally hence
    largely mainly mostly naturally never not now often only primarily simply sometimes still then therefore thus typically
    usually
    """
)
_DETERMINERS = _words(
    """
    the a an each every both all most some many several any one two three four five six seven eight nine ten
    """
)
_NOT_A_SUBJECT = _words(
    """
    it this these those that they we he she there here you i its their our his her your my such if when while although though
    because since as for in on at by with to from of however thus therefore moreover furthermore additionally finally also then
    once after before during under through without unlike given instead next second third note let consider see assume suppose
    what why how where which who whose another other others either neither nor but and or so yet not no only even just than
    following above below latter former previous aforementioned same based compared according due despite whereas whether unless
    until within across over via per please whoever whatever
    """
)
_INSIDE_BREAKS = _words(
    """
    that which who whose how what why if when while although because whereas where so but than it they we you there this these
    those until unless whether
    """
)
_TRAILING_BREAKS = _words("of in on at by with to from for the a an and or as into through per each its their")
_LEADS = re.compile(
    r"^(However|Therefore|Thus|Moreover|Additionally|Furthermore|Finally|Consequently|Specifically|Notably|Hence|Instead|Accordingly|"
    r"In addition|As a result|For example|For instance|In contrast|In practice|In general|In particular|In fact|Meanwhile|"
    r"By default|Conceptually),?\s+"
)
_TOKEN = re.compile(r"[^\s]+")
_PLAIN = _words(
    "better common deep different early fast good high large late light long low many modern multiple new old open random recent short "
    "simple slow small strong typical various weak wide"
)
#: Of words that are seldom names: nouns made of others, participles, plurals of what does something.
_PLAIN_ENDINGS = ("ing", "tion", "tions", "ment", "ments", "ness", "ance", "ence", "encies", "ency", "pped", "ged", "ters", "sers")


@dataclass(frozen=True)
class Clause:
    """``subject`` as it reads inside a question; ``subject_text`` and ``rest`` as in the sentence (``rest`` without the full stop)."""

    subject: str
    subject_text: str
    plural: bool
    kind: Literal["be", "modal", "verb"]
    verb: str  # as it stands
    base: str  # infinitive of a lexical verb
    past: bool
    rest: str

    @property
    def do(self) -> str:
        return "did" if self.past else "do" if self.plural else "does"


def clause(sentence: str, plain: frozenset[str] = frozenset()) -> Clause | None:
    """The main clause of a sentence that begins with its subject, or None. ``plain``: see :func:`in_question`."""
    body = _LEADS.sub("", sentence)
    body = body[:1].upper() + body[1:]
    tokens = list(_TOKEN.finditer(body))
    words = [token[0] for token in tokens]
    lower = [word.lower() for word in words]
    if not words or lower[0] in _NOT_A_SUBJECT:
        return None
    for at in range(1, min(12, len(words))):
        before = lower[at - 1]
        if before in _INSIDE_BREAKS or lower[at] in ("do", "does", "did"):
            return None
        if re.search(r"[,;:]$", words[at - 1]):
            return None
        form = _finite(lower, words, at)
        if form is None:
            continue
        kind, base, plural, past = form
        end = at
        while end > 1 and lower[end - 1] in _ADVERBS:
            end -= 1
        subject_text = " ".join(words[:end])
        rest = body[tokens[at].end() :].strip()
        while (first := rest.split(" ", 1)[0].lower()) in _ADVERBS - {"not"} and " " in rest:
            rest = rest.split(" ", 1)[1]
        if first == "not" or not _is_subject(words[:end], lower[:end]):
            return None
        rest = rest.rstrip(".!?")
        if not rest:
            return None
        return Clause(in_question(subject_text, plain), subject_text, plural, kind, words[at], base, past, rest)
    return None


def _finite(lower: list[str], words: list[str], at: int) -> tuple[Literal["be", "modal", "verb"], str, bool, bool] | None:
    """Kind, base form, plural and past of a finite verb at that place."""
    word, before, following = lower[at], lower[at - 1], lower[at + 1] if at + 1 < len(lower) else ""
    if before in _DETERMINERS or before in _TRAILING_BREAKS or before == "not":
        return None
    plural_subject = (before.rstrip(")").endswith("s") and not before.endswith(("ss", "us", "is"))) or before in ("data", "people")
    if word in ("has", "have", "had") and (following.endswith("ed") or following == "been"):
        return "modal", word, plural_subject, False  # the perfect inverts like a modal: "Why has the team removed ...?"
    if word in _BE:
        return "be", "be", _BE[word], word in ("was", "were")
    if word in _MODALS:
        return "modal", word, plural_subject, False
    if word in _PAST:
        if before.endswith(("ing", "ly", "ed")) or following in ("in", "by", "for", "to", "on", "as", "with", "from", "at", ""):
            return None  # a participle: "the model introduced in ..."
        return "verb", _PAST[word], plural_subject, True
    if word in _THIRD:
        if word in _NOUNLIKE and (
            not _begins_object(lower, words, at + 1) or (following in _AFTER_NOUNS and (word, following) not in _AFTER_VERBS)
        ):
            return None
        return "verb", _THIRD[word], False, False
    if word in _BASES and plural_subject and _begins_object(lower, words, at + 1):
        return "verb", word, True, False
    return None


def _begins_object(lower: list[str], words: list[str], at: int) -> bool:
    if at >= len(lower):
        return False
    if any(word in _BE or word in _MODALS or (word in _THIRD and word not in _NOUNLIKE) for word in lower[at : at + 3]):
        return False
    word = words[at]
    return (
        lower[at] in _DETERMINERS
        or lower[at]
        in (
            "that",
            "to",
            "on",
            "of",
            "into",
            "over",
            "by",
            "its",
            "their",
            "only",
            "no",
            "more",
            "less",
            "better",
            "worse",
            "faster",
            "slower",
            "from",
            "in",
            "as",
            "with",
            "both",
            "what",
        )
        or word[:1].isupper()
        or word[:1].isdigit()
        or word[:1] == "`"
        or lower[at].endswith(("s", "ing", "al", "ed", "ic", "ive", "ble", "ous"))
    )


def _is_subject(words: list[str], lower: list[str]) -> bool:
    if lower[0] in _BASES and not lower[0].endswith("ing"):
        return False  # an imperative
    if not (words[0][:1].isupper() or words[0][:1].isdigit() or words[0][:1] == "`"):
        return False
    if lower[-1] in _TRAILING_BREAKS or (len(words) > 1 and lower[-1].endswith("ly") and lower[-2] in _TRAILING_BREAKS):
        return False  # "starts from bytes and repeatedly", before a second verb
    if len(words) == 1 and lower[0] in _DETERMINERS:
        return False
    if len(words) > 1 and lower[1] in _NOT_A_SUBJECT - {"of", "second", "third", "for", "in", "and", "or", "on", "to", "with"}:
        return False
    if any(word in _INSIDE_BREAKS for word in lower):
        return False
    text = " ".join(words)
    if re.search(r"[,;:!?\[\]{}=$\\\"“”]|--|—", text):
        return False
    return text.count("(") == text.count(")") and len(text) <= 80


def is_infinitive(word: str) -> bool:
    """Whether a word is the base form of a verb that is known here."""
    return word in _BASES


def has_verb(text: str) -> bool:
    """Whether a text holds a finite verb that is known here; titles, captions and references mostly do not."""
    words = text.lower().rstrip(".!?").split()
    return any(
        word in _BE or word in _MODALS or word in ("has", "have") or (word in _THIRD and word not in _NOUNLIKE) for word in words[1:]
    )


def lead(sentence: str) -> int:
    """Where a sentence begins after its connecting words: "However, the router ..."."""
    found = _LEADS.match(sentence)
    return found.end() if found else 0


def has_second_verb(rest: str) -> bool:
    """Whether what follows a verb goes on with another: "holds keys and evicts values", "reads one, and the others wait"."""
    joined = re.search(r"[,;:]|\b(?:and|but|or|so)\b", rest.lower())
    if joined is None:
        return False
    words = re.findall(r"[\w`'’-]+", rest.lower()[joined.end() :])
    sure = joined[0] in ",;:"  # after a comma a word that may be a noun or a verb is taken for a verb: silence is the lesser harm
    return any(
        word in _BE
        or word in _MODALS
        or word in ("has", "have", "become")
        or (word in _THIRD and (sure or at == 0 or word not in _NOUNLIKE))
        for at, word in enumerate(words)
    )


def is_condition(text: str) -> bool:
    """Whether "If ..." or "When ..." goes on with a whole clause, and not with "set to 1" or "smaller than 0"."""
    words = text.lower().split()[1:]
    if len(words) < 3 or words[0] in _BASES or words[0].endswith(("er", "ed")):
        return False
    return has_verb(text) or not (words[-1].endswith("ed") or "than" in words)


def in_question(text: str, plain: frozenset[str] = frozenset()) -> str:
    """A sentence's beginning as it reads in mid-sentence: "The cache" becomes "the cache", "CRAQ" stays.

    ``plain`` holds words that the source also writes in lower case; words not known to be plain are taken for names.
    """
    first, _, others = text.partition(" ")
    word = first.lower()
    if sum(character.isupper() for character in first) > 1:
        return text  # NVSHMEM is a name, even where a path writes it small
    known = word in _PLAIN or word in plain or word + "s" in plain or word.removesuffix("s") in plain or word.endswith(_PLAIN_ENDINGS)
    if known or word in _DETERMINERS or word in ("if", "when", "to"):
        return f"{word} {others}".strip()
    return text


def plain_words(text: str) -> frozenset[str]:
    """Words that a text also writes in lower case, and that are therefore no names."""
    return frozenset(re.findall(r"(?<![\w-])[a-z][a-z-]+(?![\w-])", text))


def _third(base: str) -> str:
    if base in _IRREGULAR_THIRD:
        return _IRREGULAR_THIRD[base]
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ies"
    return base + ("es" if base.endswith(("s", "x", "ch", "sh", "o", "z")) else "s")


_THIRD = {_third(base): base for base in _BASES}

"""How a data set is read and which of its rows are wanted, as plain data. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from runner.contract import Struct, doc

Scalar = str | int | float | bool


class Table(Struct):
    """How a table lies in its file."""

    sheet: Annotated[str | None, doc(".xlsx: name of the sheet; null: the only one")] = None
    header: Annotated[int, doc("the row that names the columns; what stands above it is left out", ge=1)] = 1
    columns: Annotated[
        Annotated[list[str], Meta(min_length=1)] | None, doc("names of the columns, for a table that has no row of names")
    ] = None
    delimiter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1)] | None,
        doc(".csv and .tsv: what stands between two cells; null: a comma in .csv, a tab in .tsv"),
    ] = None
    quoting: Annotated[
        bool, doc('.csv and .tsv: a cell may stand in double quotes, as in RFC 4180; false: `"` is a character like any other')
    ] = True


class Turns(Struct):
    """How the turns of a conversation lie in their list."""

    role: Annotated[str, doc("where a turn tells who speaks: a key, or a path into the turn", min_length=1)] = "role"
    content: Annotated[str, doc("where a turn has its text; `content.0.text` where it is a list of parts", min_length=1)] = "content"
    roles: Annotated[
        dict[str, Literal["user", "assistant", "system"]],
        doc("what other words for who speaks mean, such as `{human: user, gpt: assistant}`; user, assistant and system mean themselves"),
    ] = {}
    drop_system: Annotated[
        bool, doc("leave out a system's turns, and count them: the system prompt is the model's; false: such a turn makes a row bad")
    ] = False


class IdFile(Struct):
    """A file of values, such as the ids of a test set."""

    path: Annotated[str, doc("a local file", min_length=1)]
    column: Annotated[
        str | None,
        doc("the column that holds the values; null: the keys of a JSON map, the items of a JSON list, the lines of a .txt file"),
    ] = None


class Condition(Struct):
    """Tests of one column; all that are given must hold. Values are compared as text, so that 1 is "1"; a list passes when one of its
    values does."""

    column: Annotated[str, doc("a column, or a path into it", min_length=1)]
    one_of: Annotated[Annotated[list[Scalar], Meta(min_length=1)] | None, doc("the value is one of these")] = None
    none_of: Annotated[Annotated[list[Scalar], Meta(min_length=1)] | None, doc("the value is none of these")] = None
    at_least: Annotated[float | None, doc("the value is a number, and not below this one")] = None
    at_most: Annotated[float | None, doc("the value is a number, and not above this one")] = None
    matches: Annotated[str | None, doc("the value holds a match of this regular expression (Python's `re.search`)")] = None
    present: Annotated[bool | None, doc("true: there is a value; false: the column is missing, null, blank or an empty list")] = None
    in_file: Annotated[IdFile | None, doc("the value stands in that file")] = None


class Fields(Struct):
    """Where each field of an example is."""

    question: Annotated[str | None, doc("where the question is")] = None
    answer: Annotated[str | None, doc("where the reference answer is; null: the first of `answers`, where that is named")] = None
    answers: Annotated[str | None, doc("where the list of all right answers is; scores take the best of them")] = None
    context: Annotated[str | None, doc("where the text that the question is about is")] = None
    conversation: Annotated[
        str | None,
        doc("where a conversation is, a list of turns: its last question and answer become the example's, the turns before its history"),
    ] = None
    history: Annotated[str | None, doc("where the turns before `question` are, as a list")] = None
    document: Annotated[str | None, doc("where the document's id is, or a list of ids; by default also in `documents`")] = None
    type: Annotated[str | None, doc("where the kind of question is")] = None
    id: Annotated[str | None, doc("where the example's own name is; without one it is made from the text")] = None
    extra: Annotated[dict[str, str], doc("what else is to be kept of a row, by name; a column keeps its type, a template gives text")] = {}


class Hub(Struct):
    """A data set on the hub."""

    id: Annotated[str, doc("the data set's name on the hub", min_length=1)]
    config: Annotated[str | None, doc("its configuration, where it has several")] = None
    split: Annotated[str, doc("which of its splits")] = "train"
    file: Annotated[
        str | None,
        doc("a file of its repository, read like a local one: for a set that comes with a loading script, which is never run"),
    ] = None
    revision: Annotated[str | None, doc("the hub's revision of it; null: the one in the recipe's lock file")] = None

"""The verbs: every command of Portask's own protocol, one line each.

Both modes take their arguments from this table: text mode as words, in order or as `name=value`, CBOR
mode as the elements of an array, in the same order. HELP and the table in docs/protocol.md are made
from it. Verbs that a codec reads by itself say how they look in `text` and `cbor`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

MAX_NUMBER = (1 << 63) - 1


class Kind(Enum):
    """What an argument may be. The value is its name in error texts."""

    WORD = "text"
    NUMBER = "a whole number from 0 to 2^63-1"
    POSITION = "first, last, next, an offset, @MILLISECONDS or @ISO8601"
    SETTINGS = "settings as name=value"


class _Required(Enum):
    REQUIRED = 0


REQUIRED = _Required.REQUIRED


class Argument(NamedTuple):
    """One argument of a verb."""

    name: str
    kind: Kind = Kind.WORD
    default: Any = REQUIRED
    named: bool = False
    """In text mode only as name=value, never by its place."""
    value: str = "N"
    """How text mode's usage shows the value of a named one."""

    @property
    def form(self) -> str:
        """How text mode's usage shows it."""
        if self.kind is Kind.SETTINGS:
            return "setting=value..." if self.default is REQUIRED else "[setting=value]..."
        form = f"{self.name}={self.value}" if self.named else self.name
        return form if self.default is REQUIRED else f"[{form}]"


class Verb(NamedTuple):
    """One command."""

    name: str
    arguments: tuple[Argument, ...]
    answer: str
    """What text mode says after OK."""
    help: str
    text: str = ""
    """Usage in text mode where it does not follow from the arguments; "-" when the mode has no such command."""
    cbor: str = ""

    @property
    def text_usage(self) -> str:
        """One line of text mode; empty when the mode has no such command."""
        if self.text:
            return self.text.removeprefix("-")
        return " ".join([self.name, *(argument.form for argument in self.arguments)])

    @property
    def cbor_usage(self) -> str:
        """One request of CBOR mode; empty when the mode has no such command."""
        if self.cbor:
            return self.cbor.removeprefix("-")
        return "[" + ", ".join([f'"{self.name}"', "c", *(argument.name for argument in self.arguments)]) + "]"


_TOPIC = Argument("topic")
_GROUP = Argument("group", default="default")
_ANY_GROUP = Argument("group")
_PAIRS = Argument("settings", Kind.SETTINGS)
_VIRTUAL_HOST = Argument("virtual_host", default=None)

DEFAULT_PREFETCH = 100
DEFAULT_READ_MESSAGES = 1000
DEFAULT_READ_BYTES = 1024 * 1024
DEFAULT_SCHEDULED_MESSAGES = 1000

TABLE = (
    Verb(
        "PUBLISH",
        (),
        "topic/partition/offset",
        "store one message: the rest of the line; answered when it is safe",
        text="PUBLISH topic payload",
        cbor='["PUBLISH", c, topic, [record, ...], partition]',
    ),
    Verb(
        "PUBLISHB",
        (),
        "topic/partition/offset",
        'store one message: exactly length bytes after this line; length "-" is a null payload',
        text="PUBLISHB topic length [key=K] [h.NAME=V]... [timestamp=MS] [properties=P] [partition=N]",
        cbor="-",
    ),
    Verb(
        "MPUBLISH",
        (),
        "topic/partition/first-last...",
        "store count messages: each a line `length [key=K] ...` and its bytes",
        text="MPUBLISH topic count [partition=N]",
        cbor="-",
    ),
    Verb(
        "SUBSCRIBE",
        (
            _TOPIC,
            _GROUP,
            Argument("prefetch", Kind.NUMBER, DEFAULT_PREFETCH),
            Argument("start", Kind.POSITION, "first", named=True, value="first|last|next|OFFSET|@TIME"),
        ),
        "topic group",
        "have the group's messages delivered here, at most prefetch unsettled at a time (0: any number);"
        " start counts for a new group only",
    ),
    Verb(
        "UNSUBSCRIBE",
        (_TOPIC, _GROUP),
        "",
        "end that; what was delivered here and is not settled goes back",
    ),
    Verb(
        "ACK",
        (),
        "count",
        "settle messages that were delivered here; answered when that is safe",
        text="ACK topic/partition/offset[-last]... [group=GROUP]",
        cbor='["ACK", c, topic, group, partition, [[first, last], ...]]',
    ),
    Verb(
        "NACK",
        (),
        "count",
        "give messages back, to be delivered again at their place",
        text="NACK topic/partition/offset[-last]... [group=GROUP]",
        cbor='["NACK", c, topic, group, partition, [[first, last], ...]]',
    ),
    Verb(
        "READ",
        (
            _TOPIC,
            Argument("partition", Kind.NUMBER),
            Argument("offset", Kind.POSITION),
            Argument("max", Kind.NUMBER, DEFAULT_READ_MESSAGES),
            Argument("wait", Kind.NUMBER, 0, named=True, value="MS"),
            Argument("max_bytes", Kind.NUMBER, DEFAULT_READ_BYTES, named=True),
        ),
        "count next_offset=N high_watermark=N log_start_offset=N",
        "messages from a position on, settling nothing; at the end wait that many milliseconds for the next",
    ),
    Verb(
        "CREATE",
        (_TOPIC, Argument("partitions", Kind.NUMBER, None, named=True), _PAIRS._replace(default={})),
        "",
        "make a topic",
    ),
    Verb("ALTER", (_TOPIC, _PAIRS), "", "change a topic's settings; an empty value takes one back to the default"),
    Verb("DELETE", (_TOPIC,), "", "delete a topic with its messages and groups"),
    Verb("TOPICS", (), "count", "all topics, each a line of JSON"),
    Verb("TOPIC", (_TOPIC,), "JSON", "one topic"),
    Verb("GROUPS", (_TOPIC._replace(default=None),), "count", "the groups of one topic or of all, each a line of JSON"),
    Verb("GROUP", (_TOPIC, _ANY_GROUP), "JSON", "one group with its positions and its lag"),
    Verb("DROP", (_TOPIC, _ANY_GROUP), "", "delete a group; refused while it has consumers"),
    Verb(
        "DEFINITIONS",
        (_VIRTUAL_HOST,),
        "JSON",
        "RabbitMQ's definitions of all that is declared, or of one virtual host",
    ),
    Verb(
        "DEFINE",
        (Argument("definitions"), _VIRTUAL_HOST),
        "JSON",
        "have all that such definitions, as JSON, declare: what is imported, what failed and why, what is ignored",
    ),
    Verb("POLICIES", (), "count", "all policies and operator policies, each a line of JSON"),
    Verb(
        "DROPPOLICY",
        (Argument("name"), Argument("virtual_host", default="/"), Argument("kind", default="policy")),
        "",
        'delete a policy, or with the kind "operator" an operator policy',
    ),
    Verb(
        "SCHEDULED",
        (Argument("after", default=""), Argument("max", Kind.NUMBER, DEFAULT_SCHEDULED_MESSAGES)),
        "count",
        "delayed messages that wait, each a line of JSON: those that follow the one with the id after, about in the"
        " order of their times",
    ),
    Verb("CANCEL", (Argument("id"),), "", "take a delayed message away; answered when that is safe"),
    Verb("INFO", (), "JSON", "what the server is and does"),
    Verb("RELOAD", (), "JSON", "read the configuration again: what was applied and what needs a restart"),
    Verb("PING", (), "PONG", "do nothing"),
    Verb("HELP", (), "count", "these lines"),
    Verb(
        "HELLO",
        (Argument("mode"), Argument("name", default="", named=True, value="NAME")),
        "JSON",
        "speak text or cbor from here on; name is for the server's log",
    ),
    Verb("QUIT", (), "BYE", "answer what came before, then close"),
)
VERBS = {verb.name: verb for verb in TABLE}


def help_lines() -> list[str]:
    """What HELP answers in text mode."""
    return [f"{verb.text_usage} -> OK {verb.answer}".rstrip() + f": {verb.help}" for verb in TABLE]


def markdown_table() -> str:
    """The table of verbs in docs/protocol.md."""
    rows = ["| Text mode | CBOR mode | after OK | |", "|---|---|---|---|"]
    for verb in TABLE:
        forms = (
            f"`{form}`".replace("|", "\\|") if form else "-" for form in (verb.text_usage, verb.cbor_usage, verb.answer)
        )
        rows.append("| " + " | ".join([*forms, verb.help]) + " |")
    return "\n".join(rows) + "\n"

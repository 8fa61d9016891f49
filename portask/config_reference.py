"""What can be configured, written out from the declarations: the annotated file and the documentation's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from portask.options import Option
from portask.topic import SETTINGS

_WIDTH = 100
_HEAD = """\
# Portask's configuration: every option, at its default. Written by `make reference`.
#
# Remove the # before an option to set it. A flag goes before an environment variable, that before
# this file: data_dir in [server] is also --data-dir and PORTASK_DATA_DIR.
"""


def annotated_toml(options: Sequence[Option]) -> str:
    """A configuration file that names every one of *options* and sets none."""
    parts = [_HEAD]
    for section, members in _sections(options):
        parts.append(f"[{section}]\n")
        parts += [_annotate(option) for option in members]
    return "\n".join(parts)


def markdown_table(options: Sequence[Option]) -> str:
    """The options as tables in Markdown, one for each section."""
    lines: list[str] = []
    for section, members in _sections(options):
        lines += [f"### [{section}]", "", "| key | flag | default | takes | reload | what it does |", "|" + "---|" * 6]
        for option in members:
            cells = (
                f"`{option.key}`",
                f"`{option.flag}`",
                f"`{option.in_toml(option.default)}`",
                option.allowed(),
                "yes" if option.reloadable else "no",
                option.text,
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def settings_table() -> str:
    """The settings of a topic as a table in Markdown."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    for setting in SETTINGS.values():
        default = "the server's" if setting.default is None else f"`{setting.default}`"
        lines.append(f"| `{setting.name}` | {default} | {setting.text} |")
    return "\n".join(lines) + "\n"


def _sections(options: Sequence[Option]) -> Iterator[tuple[str, list[Option]]]:
    order = list(dict.fromkeys(option.section for option in options))
    arranged = sorted(options, key=lambda option: order.index(option.section))
    for section, members in groupby(arranged, key=lambda option: option.section):
        yield section, list(members)


def _annotate(option: Option) -> str:
    default = option.in_toml(option.default)
    allowed = option.allowed()
    change = "A reload takes it over." if option.reloadable else "A change needs a restart."
    facts = f"{allowed[0].upper()}{allowed[1:]}. Default: {default}. {change}"
    comment = "\n".join(f"# {line}" for text in (option.text, facts) for line in wrap(text, _WIDTH - 2))
    return f"{comment}\n#{option.key} = {default}\n"

"""Write what follows from declarations and files.

From the options: etc/portask.toml and the table in docs/configuration.md. From the commands and errors of
Portask's own protocol, the settings of a topic, and the programs in docs/examples: their places in docs/protocol.md.
From what is served of Kafka's, its topic configs, and kafka-python's own tests that are left out: their places
in docs/kafka.md. From the lists of what is left out of py-amqp's, kombu's and Celery's tests: its place in
docs/amqp.md.
"""

from __future__ import annotations

import sys
from configparser import ConfigParser
from importlib.metadata import EntryPoint
from pathlib import Path

from handlers.kafka import served, topic_configs
from handlers.native import errors, verbs
from portask.config_reference import annotated_toml, markdown_table, settings_table
from portask.core_options import CORE_OPTIONS
from portask.options import Option

ROOT = Path(__file__).resolve().parent.parent
GROUP = "portask.handlers"
EXAMPLES = ROOT / "docs" / "examples"
LEFT_OUT = ROOT / "tests" / "clients" / "kafka_python_suite" / "left_out.txt"
FOREIGN_SUITES = ROOT / "tests" / "clients" / "foreign_suites"
SUITES = {"py_amqp": "py-amqp", "kombu": "kombu", "celery_rpc": "Celery, rpc", "celery_redis": "Celery, Redis"}
LANGUAGES = {".sh": "bash", ".py": "python", ".go": "go"}


def all_options() -> tuple[Option, ...]:
    """The core's options and those of every handler in setup.cfg, whatever else is installed."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    # By name, in the order in which the server finds them.
    lines = sorted(setup["options.entry_points"][GROUP].split("\n"))
    values = [line.partition("=")[2].strip() for line in lines if line]
    handlers = [EntryPoint(name="", value=value, group=GROUP).load() for value in values]
    return CORE_OPTIONS + tuple(option for handler in handlers for option in handler.options)


def fill(page: Path, parts: dict[str, str]) -> str:
    """The text of *page* with each of *parts* between the marks that have its name."""
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} begin -->\n", f"<!-- {name} end -->\n"
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def left_out_table() -> str:
    """kafka-python's own tests that are not run, with the reason for each."""
    rows = [line.split("\t") for line in LEFT_OUT.read_text().splitlines()]
    body = (f"| `{test.removeprefix('test/integration/')}` | {reason} |\n" for test, reason in rows)
    return "| Test | Reason |\n|---|---|\n" + "".join(body)


def left_out_of_suites() -> str:
    """What is not run of the tests of py-amqp, kombu and Celery, with the reason for each."""
    rows = []
    for name, suite in SUITES.items():
        for line in (FOREIGN_SUITES / f"{name}.txt").read_text().splitlines():
            test, _, reason = line.partition("\t")
            skips, _, quoted = test.partition("skips:")
            shown = f"skips: {quoted.strip()}" if not skips else f"`{test.removeprefix('t/integration/')}`"
            rows.append(f"| {suite} | {shown} | {reason} |\n")
    return "| Suite | Test | Reason |\n|---|---|---|\n" + "".join(rows)


def generated() -> dict[Path, str]:
    """Every generated file with the content that it should have."""
    options = all_options()
    configuration = ROOT / "docs" / "configuration.md"
    protocol = ROOT / "docs" / "protocol.md"
    kafka = ROOT / "docs" / "kafka.md"
    amqp = ROOT / "docs" / "amqp.md"
    examples = {
        f"example {file.name}": f"```{LANGUAGES[file.suffix]}\n{file.read_text()}```\n"
        for file in sorted(EXAMPLES.iterdir())
        if file.suffix in LANGUAGES
    }
    return {
        ROOT / "etc" / "portask.toml": annotated_toml(options),
        configuration: fill(configuration, {"options": markdown_table(options)}),
        kafka: fill(
            kafka,
            {
                "apis": served.markdown_table(),
                "topic configs": topic_configs.markdown_table(),
                "left out": left_out_table(),
            },
        ),
        amqp: fill(amqp, {"left out": left_out_of_suites()}),
        protocol: fill(
            protocol,
            {
                "verbs": verbs.markdown_table(),
                "settings": settings_table(),
                "errors": errors.markdown_table(),
                **examples,
            },
        ),
    }


def main() -> int:
    for path, content in generated().items():
        path.write_text(content)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

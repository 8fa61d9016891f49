"""Write what follows from the declarations of options: etc/portask.toml and the tables in docs/configuration.md."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from importlib.metadata import EntryPoint
from pathlib import Path

from portask.config_reference import annotated_toml, markdown_table
from portask.core_options import CORE_OPTIONS
from portask.options import Option

ROOT = Path(__file__).resolve().parent.parent
GROUP = "portask.handlers"
BEGIN = "<!-- options begin -->\n"
END = "<!-- options end -->\n"


def all_options() -> tuple[Option, ...]:
    """The core's options and those of every handler in setup.cfg, whatever else is installed."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    # By name, in the order in which the server finds them.
    lines = sorted(setup["options.entry_points"][GROUP].split("\n"))
    values = [line.partition("=")[2].strip() for line in lines if line]
    handlers = [EntryPoint(name="", value=value, group=GROUP).load() for value in values]
    return CORE_OPTIONS + tuple(option for handler in handlers for option in handler.options)


def generated() -> dict[Path, str]:
    """Every generated file with the content that it should have."""
    options = all_options()
    page = ROOT / "docs" / "configuration.md"
    head, _, rest = page.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    return {
        ROOT / "etc" / "portask.toml": annotated_toml(options),
        page: f"{head}{BEGIN}\n{markdown_table(options)}\n{END}{tail}",
    }


def main() -> int:
    for path, content in generated().items():
        path.write_text(content)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

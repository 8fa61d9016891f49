"""The configuration of a server: where each value comes from, and what a reload may change.

A flag goes before an environment variable, that before the file, that before the default. Whatever
names no option, or has a value that the option doesn't take, raises ConfigError with the place and
the nearest valid name, so that a misspelt setting is never silently a default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import configargparse

from portask.config_file import TomlFile, nearest
from portask.core_options import CORE_OPTIONS
from portask.errors import ConfigError
from portask.options import VARIABLE_PREFIX, Kind, Option, Value

__all__ = ["CORE_OPTIONS", "Option", "ReloadResult", "Settings", "build_parser", "load_settings"]

CONFIG_VARIABLE = VARIABLE_PREFIX + "CONFIG"
"""Names the configuration file, like the flag --config."""
HIDDEN = "********"
_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]*)@")

_METAVARS: dict[Kind, str] = {
    "int": "NUMBER",
    "float": "NUMBER",
    "str": "TEXT",
    "bool": "true|false",
    "choice": "WORD",
    "size": "SIZE",
    "duration": "NUMBER",
}

Subscriber = Callable[[Any], None]


class ReloadResult(NamedTuple):
    """Names of the options whose value differs from the running one."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Settings:
    """The value of every option, as an attribute of its name."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        options: Sequence[Option],
        values: dict[str, Value],
        sources: dict[str, str],
    ) -> None:
        self._argv = tuple(argv)
        self._environ = dict(environ)
        self._options = tuple(options)
        self._values = values
        self._sources = sources
        self._subscribers: dict[str, list[Subscriber]] = {}
        self.generation = 0
        """Grows with every reload that changed something, for whoever keeps what follows from several values."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"there is no option {name}") from None

    @property
    def options(self) -> tuple[Option, ...]:
        """All options, the core's and the handlers'."""
        return self._options

    def source(self, name: str) -> str:
        """Where the value of *name* comes from: "default", "file:line", the variable, or the flag."""
        return self._sources[name]

    def effective(self) -> dict[str, Value]:
        """Every value by name, fit to be shown: secrets and passwords inside URLs are hidden."""
        return {option.name: self._public(option) for option in self._options}

    def _public(self, option: Option) -> Value:
        value = self._values[option.name]
        if option.secret and value != option.default:
            return HIDDEN
        return _PASSWORD.sub(rf"\1:{HIDDEN}@", value) if isinstance(value, str) else value

    def on_change(self, name: str, callback: Subscriber) -> None:
        """Have *callback* called with the new value of *name* whenever a reload changes it."""
        if name not in self._values:
            raise ValueError(f"there is no option {name}")
        self._subscribers.setdefault(name, []).append(callback)

    def reload(self) -> ReloadResult:
        """Read everything again, take over what a running server can, and name what it cannot.

        Flags and environment are those of the start; the file is read anew. Raises ConfigError and
        changes nothing when what is read is not valid. Subscribers are called when all values stand.
        """
        fresh = _load(self._argv, self._environ, self._options)
        applied, needs_restart = [], []
        for option in self._options:
            name = option.name
            value = getattr(fresh, name)
            if value != self._values[name]:
                if not option.reloadable:
                    needs_restart.append(name)
                    continue
                applied.append(name)
                self._values[name] = value
            self._sources[name] = fresh.source(name)
        self.generation += bool(applied)
        for name in applied:
            for callback in self._subscribers.get(name, ()):
                callback(self._values[name])
        return ReloadResult(tuple(applied), tuple(needs_restart))


def load_settings(argv: Sequence[str], environ: Mapping[str, str], handler_options: Sequence[Option] = ()) -> Settings:
    """The settings that the flags *argv*, the variables *environ* and the file that one of them names add up to.

    Raises ConfigError for anything that is not valid. Prints help and exits when *argv* asks for it.
    """
    return _load(argv, environ, (*CORE_OPTIONS, *handler_options))


def build_parser(options: Sequence[Option], file: TomlFile, prog: str = "portask serve") -> Any:
    """A configargparse parser that knows the flag, the variable and the file's key of every option."""
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [--config FILE] [--OPTION VALUE]...",
        description="Start the server.",
        allow_abbrev=False,
        add_config_file_help=False,
        add_env_var_help=False,
        config_file_parser_class=file,
        config_file_open_func=_open,
        epilog=f"Each option can also be set in the configuration file or by a variable {VARIABLE_PREFIX}NAME.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        is_config_file_arg=True,
        env_var=CONFIG_VARIABLE,
        help=f"configuration file (variable {CONFIG_VARIABLE})",
    )
    groups: dict[str, Any] = {}
    for option in options:
        if option.section not in groups:
            groups[option.section] = parser.add_argument_group(option.section)
        default = option.in_toml(option.default).strip('"')
        groups[option.section].add_argument(
            option.flag,
            dest=option.name,
            env_var=option.variable,
            metavar="|".join(option.choices) or _METAVARS[option.kind],
            nargs="?" if option.kind == "bool" else None,
            const="true" if option.kind == "bool" else None,
            help=f"{option.text} (default: {default})".replace("%", "%%"),
        )
    return parser


# configargparse ships no types, so its classes are Any.
class _Parser(configargparse.ArgumentParser):  # type: ignore[misc]
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _open(path: str) -> Any:
    # Not left to configargparse: it would read the file in the locale's encoding, and TOML is UTF-8.
    return Path(path).open(encoding="utf-8")


def _load(argv: Sequence[str], environ: Mapping[str, str], options: Sequence[Option]) -> Settings:
    # An empty variable is one that is not set, as in most programs that are started by scripts.
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX) and value.strip()}
    known = {CONFIG_VARIABLE, *(option.variable for option in options)}
    for variable in variables:
        if variable not in known:
            raise ConfigError(f"unknown environment variable {variable}{nearest(variable, known)}")
    file = TomlFile(options)
    parser = build_parser(options, file)
    namespace, unknown = parser.parse_known_args(list(argv), env_vars=variables)
    if unknown:
        word = unknown[0].partition("=")[0]
        if not word.startswith("-"):
            raise ConfigError(f"unexpected argument {word}; every setting is a flag, such as --host 127.0.0.1")
        raise ConfigError(f"unknown flag {word}{nearest(word, [option.flag for option in options] + ['--config'])}")
    origins = parser.get_source_to_settings_dict()
    from_file = {key for origin, settings in origins.items() if origin.startswith("config_file") for key in settings}
    values: dict[str, Value] = {}
    sources: dict[str, str] = {}
    for option in options:
        text = getattr(namespace, option.name)
        if text is None:
            values[option.name], sources[option.name] = option.default, "default"
            continue
        if option.variable in origins.get("environment_variables", ()):
            sources[option.name] = option.variable
        elif option.flag.removeprefix("--") in from_file:
            sources[option.name] = file.places[option.name]
        else:
            sources[option.name] = option.flag
        try:
            values[option.name] = option.parse(text)
        except ValueError as error:
            shown = "" if option.secret else f", not {text}"
            raise ConfigError(f"{sources[option.name]} {error}{shown}") from error
    _check_together(values, sources)
    return Settings(argv, environ, options, values, sources)


def _check_together(values: Mapping[str, Value], sources: Mapping[str, str]) -> None:
    """Raise ConfigError for values that are valid alone and not together."""
    host = str(values["host"])
    if not (values["allow_remote"] or _is_loopback(host)):
        raise ConfigError(
            f"host is {host} ({sources['host']}), which other machines can reach, and there are no users yet: "
            "everybody could read and write everything; set allow_remote = true if that is meant, else 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

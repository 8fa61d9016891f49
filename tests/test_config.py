"""The configuration: precedence, complaints, reloading, and what is generated from the declarations."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from portask.config import CORE_OPTIONS, HIDDEN, Option, load_settings
from portask.config_reference import annotated_toml, markdown_table
from portask.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PORT = Option("native_port", "int", 7672, "native", "Port; 0 turns it off.", minimum=0, maximum=65535)
TOKEN = Option("http_token", "str", "", "http", "What a caller must show.", secret=True)
RATIO = Option("http_ratio", "float", 0.5, "http", "A share.", minimum=0, maximum=1)
EXTRA = (PORT, TOKEN, RATIO)


@pytest.fixture
def write(tmp_path):
    """A function that writes the configuration file and returns its path."""

    def write_file(text):
        path = tmp_path / "portask.toml"
        path.write_text(text)
        return str(path)

    return write_file


def load(*argv, environ=None):
    return load_settings(argv, environ or {}, EXTRA)


def complaint(*argv, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(*argv, environ=environ)
    return str(caught.value)


def test_every_option_has_its_default_when_nothing_is_set():
    settings = load()

    assert {option.name: getattr(settings, option.name) for option in settings.options} == {
        option.name: option.default for option in (*CORE_OPTIONS, *EXTRA)
    }


def test_every_default_is_within_its_own_range():
    for option in CORE_OPTIONS:
        assert option.check(option.default) == option.default


def test_names_and_keys_of_options_are_unique():
    assert len({option.name for option in CORE_OPTIONS}) == len(CORE_OPTIONS)
    assert len({(option.section, option.key) for option in CORE_OPTIONS}) == len(CORE_OPTIONS)


def test_file_goes_before_default(write):
    assert load("--config", write("[native]\nport = 1\n")).native_port == 1


def test_environment_goes_before_file(write):
    path = write("[native]\nport = 1\n")

    assert load("--config", path, environ={"PORTASK_NATIVE_PORT": "2"}).native_port == 2


def test_flag_goes_before_environment():
    assert load("--native-port", "3", environ={"PORTASK_NATIVE_PORT": "2"}).native_port == 3


def test_file_can_be_named_by_a_variable(write):
    assert load(environ={"PORTASK_CONFIG": write("[native]\nport = 1\n")}).native_port == 1


def test_empty_variable_counts_as_not_set():
    assert load(environ={"PORTASK_NATIVE_PORT": ""}).source("native_port") == "default"


def test_variables_of_other_programs_are_left_alone():
    assert load(environ={"PORT": "1", "MY_PORTASK_X": "2"}).native_port == 7672


def test_source_says_where_each_value_came_from(write):
    path = write('\n[batching]\nbatch_bytes = "2MB"\n')
    settings = load("--config", path, "--linger-ms", "5", environ={"PORTASK_SYNC": "never"})

    assert [settings.source(name) for name in ("batch_bytes", "linger_ms", "sync", "host")] == [
        f"{path}:3",
        "--linger-ms",
        "PORTASK_SYNC",
        "default",
    ]


def test_dotted_key_is_found_on_its_line(write):
    path = write("batching.linger_ms = 1\nnative.port = 2\n")

    assert load("--config", path).source("native_port") == f"{path}:2"


def test_inline_table_is_read(write):
    path = write("\nnative = {port = 2}\n")

    assert load("--config", path).source("native_port") == f"{path}:2"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("64kB", 64000),
        ("64KB", 64000),
        ("1MB", 10**6),
        ("1_024B", 1024),
    ],
)
def test_size_may_have_a_unit(text, size):
    assert load("--batch-bytes", text).batch_bytes == size


@pytest.mark.parametrize("text", ["1 Mb", "MB", "1.5MB", "", "1e6", "12 parsecs"])
def test_anything_else_is_no_size(text):
    assert complaint(f"--batch-bytes={text}").startswith("--batch-bytes must be a size such as")


def test_size_in_the_file_may_be_a_number(write):
    assert load("--config", write("[batching]\nbatch_bytes = 65536\n")).batch_bytes == 65536


def test_negative_value_is_read_from_a_flag():
    assert load("--retention-bytes", "-1").retention_bytes == -1


@pytest.mark.parametrize("text", ["true", "yes", "ON", "1"])
def test_truth_has_several_words(text):
    assert load(environ={"PORTASK_ALLOW_REMOTE": text}).allow_remote is True


def test_flag_alone_means_true():
    assert load("--allow-remote").allow_remote is True


def test_flag_can_say_false():
    assert load("--auto-create-topics", "false").auto_create_topics is False


def test_whole_number_will_do_for_a_fraction(write):
    assert load("--config", write("[http]\nratio = 1\n")).http_ratio == 1.0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[native]\nprot = 1\n", 2, "unknown key prot in [native]; did you mean port?"),
        ("[native]\nnative_port = 1\n", 2, "unknown key native_port in [native]; did you mean port?"),
        ("\n[nativ]\nport = 1\n", 2, "unknown section [nativ]; did you mean native?"),
        ("[server]\nport = 1\n", 2, "unknown key port in [server]; did you mean port in [native]?"),
        ("[server]\nlinger_sm = 1\n", 2, "unknown key linger_sm in [server]; did you mean linger_ms in [batching]?"),
        ("[server]\nxyzzyq = 1\n", 2, "unknown key xyzzyq in [server]"),
        ("port = 1\n", 1, "port stands outside of a section; did you mean port in [native]?"),
        ("hots = 1\n", 1, "hots stands outside of a section; did you mean host in [server]?"),
        ('[native]\nport = "1"\n', 2, 'port in [native] must be a whole number from 0 to 65535, not "1"'),
        ("[native]\nport = true\n", 2, "port in [native] must be a whole number from 0 to 65535, not true"),
        ("[native]\nport = [1]\n", 2, "port in [native] must be a whole number from 0 to 65535, not list"),
        ("[native]\nport = 65536\n", 2, "port in [native] must be a whole number from 0 to 65535, not 65536"),
        ("[batching]\nzstd_level = 23\n", 2, "zstd_level in [batching] must be a whole number from 1 to 22, not 23"),
        ("[http]\nratio = 1.5\n", 2, "ratio in [http] must be a number from 0 to 1, not 1.5"),
        ("[http]\nratio = nan\n", 2, "ratio in [http] must be a number from 0 to 1, not nan"),
        ("[http]\ntoken = 1\n", 2, "token in [http] must be text, not the value given"),
        ('[storage]\nsync = "nevr"\n', 2, 'sync in [storage] must be one of always, interval, never, not "nevr"'),
        ('[storage]\nstorage = "disk"\n', 2, 'storage in [storage] must be local, memory or a URL, not "disk"'),
        ("[topics]\nretention_bytes = -2\n", 2, 'size such as 65536, "64KiB" or "1MB" of at least -1, not -2'),
        ("[native]\nport =\n", 2, "not valid TOML: Invalid value"),
        ("[native]\nport = 1\nport = 2\n", 3, "not valid TOML: Cannot overwrite a value"),
    ],
)
def test_error_in_the_file_is_named_with_its_line(write, text, line, words):
    path = write(text)

    message = complaint("--config", path)

    assert message.startswith(f"{path}:{line}: ")
    assert words in message


def test_error_in_the_file_counts_even_where_a_flag_goes_before_it(write):
    assert "not 65536" in complaint("--config", write("[native]\nport = 65536\n"), "--native-port", "1")


def test_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "portask.toml"
    path.write_bytes(b"\xff\xfe\x00")

    assert complaint("--config", str(path)).startswith(f"{path}:1: cannot be read")


def test_file_that_is_not_there_is_refused(tmp_path):
    assert "No such file" in complaint("--config", str(tmp_path / "missing.toml"))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--natve-port", "1"], "unknown flag --natve-port; did you mean --native-port?"),
        (["--native-port=x"], "--native-port must be a whole number from 0 to 65535, not x"),
        (["--native-port"], "argument --native-port: expected one argument"),
        (["--native", "1"], "unknown flag --native"),
        (["start"], "unexpected argument start; every setting is a flag, such as --host 127.0.0.1"),
        (["--http-ratio", "nan"], "--http-ratio must be a number from 0 to 1, not nan"),
    ],
)
def test_error_in_the_flags_is_named(argv, words):
    assert complaint(*argv).startswith(words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "PORTASK_NATIVE_PROT",
            "1",
            "unknown environment variable PORTASK_NATIVE_PROT; did you mean PORTASK_NATIVE_PORT?",
        ),
        ("PORTASK_NATIVE_PORT", "-1", "PORTASK_NATIVE_PORT must be a whole number from 0 to 65535, not -1"),
        ("PORTASK_ALLOW_REMOTE", "perhaps", "PORTASK_ALLOW_REMOTE must be true or false, not perhaps"),
    ],
)
def test_error_in_the_environment_is_named(name, value, words):
    assert complaint(environ={name: value}) == words


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_permission(host):
    assert load("--host", host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "broker.example"])
def test_other_hosts_stop_the_start(host):
    assert "everybody could read and write everything; set allow_remote = true" in complaint("--host", host)


def test_other_hosts_are_taken_when_allowed():
    assert load("--host", "0.0.0.0", "--allow-remote").host == "0.0.0.0"


def test_unknown_attribute_is_no_option():
    with pytest.raises(AttributeError, match="there is no option colour"):
        getattr(load(), "colour")  # noqa: B009 - asking is the point


def test_secrets_are_hidden():
    assert load("--http-token", "hunter2").effective()["http_token"] == HIDDEN


def test_secret_that_is_not_set_is_shown_as_such():
    assert not load().effective()["http_token"]


def test_password_in_a_url_is_hidden():
    settings = load("--storage", "redis://user:hunter2@db:6379/0")

    assert settings.effective()["storage"] == f"redis://user:{HIDDEN}@db:6379/0"


def test_secret_is_not_repeated_in_a_complaint():
    strict = Option("http_token", "str", "", "http", "Text.", secret=True, pattern="[a-z]*", form="small letters")

    with pytest.raises(ConfigError) as caught:
        load_settings(["--http-token", "Hunter2"], {}, [strict])

    assert str(caught.value) == "--http-token must be small letters"


def test_reload_takes_over_what_it_can_and_names_the_rest(write):
    path = write("[batching]\nlinger_ms = 1\n[native]\nport = 1\n")
    settings = load("--config", path)
    write("[batching]\nlinger_ms = 2\n[native]\nport = 2\n")

    assert settings.reload() == (("linger_ms",), ("native_port",))
    assert (settings.linger_ms, settings.native_port) == (2, 1)


def test_reload_without_a_change_does_nothing(write):
    settings = load("--config", write("[batching]\nlinger_ms = 1\n"))

    assert settings.reload() == ((), ())


def test_reload_follows_a_value_that_moved(write):
    settings = load("--config", write("[batching]\nlinger_ms = 1\n"))
    path = write("\n\n[batching]\nlinger_ms = 1\n")
    settings.reload()

    assert settings.source("linger_ms") == f"{path}:4"


def test_reload_of_an_invalid_file_changes_nothing(write):
    settings = load("--config", write("[batching]\nlinger_ms = 1\n"))
    write("[batching]\nlinger_ms = 2\nzstd_level = 99\n")

    with pytest.raises(ConfigError, match="zstd_level"):
        settings.reload()
    assert settings.linger_ms == 1


def test_subscribers_hear_of_changes_when_all_values_stand(write):
    settings = load("--config", write(""))
    heard = []
    settings.on_change("linger_ms", lambda value: heard.append((value, settings.log_level)))
    settings.on_change("zstd_level", heard.append)
    write('[batching]\nlinger_ms = 2\n[log]\nlevel = "debug"\n')
    settings.reload()

    assert heard == [(2, "debug")]


def test_nobody_subscribes_to_what_is_no_option():
    with pytest.raises(ValueError, match="there is no option colour"):
        load().on_change("colour", print)


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        load("--help")

    text = capsys.readouterr().out
    assert all(option.flag in text for option in (*CORE_OPTIONS, *EXTRA))


def test_annotated_file_sets_nothing(write):
    settings = load("--config", write(annotated_toml((*CORE_OPTIONS, *EXTRA))))

    assert {settings.source(option.name) for option in settings.options} == {"default"}


def test_annotated_file_says_the_defaults(write):
    lines = annotated_toml((*CORE_OPTIONS, *EXTRA)).splitlines()
    path = write("\n".join(re.sub(r"^#(?=\w+ = )", "", line) for line in lines))
    settings = load("--config", path)

    assert all(settings.source(option.name).startswith(path) for option in settings.options)
    assert load().effective() == settings.effective()


def test_annotated_file_names_every_option_once():
    tables = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", annotated_toml(CORE_OPTIONS)))

    assert sum(len(table) for table in tables.values()) == len(CORE_OPTIONS)


def test_documentation_table_has_a_row_for_every_option():
    rows = [line for line in markdown_table(CORE_OPTIONS).splitlines() if line.startswith("| `")]

    assert len(rows) == len(CORE_OPTIONS)


def test_loading_the_configuration_loads_nothing_heavy():
    code = "import sys, portask.config; print(*sorted(sys.modules))"
    # Measuring coverage in the new process would load gevent there.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    ).stdout

    assert not {"gevent", "cbor2", "zstandard", "redis", "rich", "falcon", "asyncio"} & set(loaded.split())

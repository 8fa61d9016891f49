"""What the tests with clients of other languages need, fetched and built once.

A toolchain is the programs that must be installed, the files that say what to build, and how. What it makes is
kept beside the packages of the Python that runs, and made anew when one of its files has changed:

    clients/go/{franz,sarama,kafkago,amqp091,streadway}    clients/node/node_modules
    clients/{java,java_amqp}/{libs,classes}
    clients/kafka_python_suite/{kafka,test}
    clients/{py_amqp,kombu,celery}_suite/{source,packages}

`python -m tests.clients.toolchain` makes what can be made and says what it leaves out. A test whose toolchain is
not installed is skipped with the reason; with ALL_CLIENTS=1 in the environment leaving out is a failure.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = Path(sys.prefix) / "clients"
FETCHING_S = 600


def leave_out(reason):
    """Skip the running test, or fail it where everything must be there."""
    if os.environ.get("ALL_CLIENTS") == "1":
        pytest.fail(f"left out: {reason}", pytrace=False)
    pytest.skip(f"left out: {reason}")


class Toolchain:
    """One of them: *needs* names each program with the least version that will do, *build* makes *directory*."""

    def __init__(self, name, needs, build):
        self.name = name
        self.needs = needs
        self.build = build
        self.sources = HERE / name
        self.directory = CACHE / name

    def lacks(self):
        """Why it cannot be used, or None."""
        for program, (question, least) in self.needs.items():
            if shutil.which(program) is None:
                return f"{program} is not installed"
            done = subprocess.run(
                [program, *question.split()], cwd=self.sources, capture_output=True, text=True, timeout=60, check=False
            )
            found = re.search(r"(?<![\[\d])\d+(\.\d+)*", done.stdout)  # Maven colours what it says: \033[1m
            if done.returncode or found is None or version(found.group()) < version(least):
                return f"{program} is older than {least}"
        return None

    def ready(self):
        """Make what its tests need, unless that was done before, and return the directory."""
        stamp = self.directory / ".made"
        files = sorted(path for path in self.sources.rglob("*") if path.is_file() and path.suffix != ".pyc")
        wanted = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            self.build(self.sources, self.directory)
            stamp.write_text(wanted)
        return self.directory

    def require(self):
        """The directory with what it made; the running test is left out where programs are missing."""
        if reason := self.lacks():
            leave_out(reason)
        return self.ready()


def version(text):
    """A version that can be compared."""
    return tuple(map(int, text.split(".")))


def run(*command, cwd=None):
    """Run a command that must succeed; its output is shown when it does not."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=FETCHING_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def build_go(sources, directory):
    """Compile the Go programs."""
    run("go", "build", "-o", f"{directory}/", "./...", cwd=sources)


def build_node(sources, directory):
    """Install what package-lock.json names."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(sources / name, directory)
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=directory)


def build_java(sources, directory):
    """Fetch the jars of a client and its tools, and compile the program that uses them."""
    shutil.copy(sources / "pom.xml", directory)
    (directory / "classes").mkdir()
    for settings in sources.glob("logback.xml"):
        shutil.copy(settings, directory / "classes")
    run("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", cwd=directory)
    run("javac", "-Xlint:all", "-Werror", "-cp", "libs/*", "-d", "classes", *sources.glob("*.java"), cwd=directory)


def build_kafka_python(sources, directory):
    """Fetch the source distribution of kafka-python, whose tests need two files that it does not hold."""
    fetch = ("-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "kafka-python", "--dest", directory)
    run(sys.executable, *fetch, KAFKA_PYTHON_RELEASE)
    (archive,) = directory.glob("*.tar.gz")
    run("tar", "-xzf", archive, "--strip-components=1", cwd=directory)
    (directory / "test" / "__init__.py").touch()
    shutil.copy(sources / "service.py", directory / "test")


def build_suite(distribution):
    """A function that fetches the sources of the release that requirements.txt pins, with its tests, and all pins."""

    def build(sources, directory):
        requirements = sources / "requirements.txt"
        (release,) = (pin for pin in requirements.read_text().split() if pin.startswith(f"{distribution}=="))
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "download", "--no-deps", "--no-binary", distribution, "--dest", directory, release)
        (archive,) = directory.glob("*.tar.gz")
        (directory / "source").mkdir()
        run("tar", "-xzf", archive, "--strip-components=1", "-C", directory / "source")
        run(*pip, "install", "--no-deps", "--target", directory / "packages", "--requirement", requirements)

    return build


def java_command(directory, *words):
    """The command line of a Java program; a small heap and no compiler that takes long to pay."""
    jvm = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    return ["java", *jvm, "-cp", f"{directory}/classes:{directory}/libs/*", *map(str, words)]


# go.mod names the same version; `go version` asks for no flag.
GO = Toolchain("go", {"go": ("version", "1.24")}, build_go)
NODE = Toolchain("node", {"node": ("--version", "14"), "npm": ("--version", "7")}, build_node)
KAFKA_PYTHON_RELEASE = "kafka-python==3.0.12"
JAVA = Toolchain("java", {"javac": ("--version", "17"), "mvn": ("--version", "3")}, build_java)
JAVA_AMQP = Toolchain("java_amqp", JAVA.needs, build_java)
KAFKA_PYTHON = Toolchain("kafka_python_suite", {}, build_kafka_python)
PY_AMQP = Toolchain("py_amqp_suite", {}, build_suite("amqp"))
KOMBU = Toolchain("kombu_suite", {}, build_suite("kombu"))
CELERY = Toolchain("celery_suite", {}, build_suite("celery"))
TOOLCHAINS = (GO, NODE, JAVA, JAVA_AMQP, KAFKA_PYTHON, PY_AMQP, KOMBU, CELERY)


def main():
    """Make everything; the exit code is 1 when something that must be there is not."""
    code = 0
    for toolchain in TOOLCHAINS:
        if reason := toolchain.lacks():
            print(f"left out: the clients of {toolchain.name}: {reason}", file=sys.stderr)
            code = int(os.environ.get("ALL_CLIENTS") == "1") or code
        else:
            toolchain.ready()
    return code


if __name__ == "__main__":
    sys.exit(main())

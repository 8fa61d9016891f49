"""docs/protocol.md says what the server does."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from handlers.native.errors import CODES
from handlers.native.verbs import TABLE, help_lines

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
TRANSCRIPTS = re.findall(r"^```portask\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(FRAMES,) = re.findall(r"^```frames\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_every_code_is_used_once():
    codes = [code for code, _ in CODES.values()]
    assert len(set(codes)) == len(codes)


def test_help_names_every_verb_with_what_it_does():
    assert [line.split()[0] for line in help_lines()] == [verb.name for verb in TABLE]


def matches(shown, line):
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), line)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.split("\n")[0][3:])
def test_a_transcript_happens_as_it_is_shown(text, transcript):
    for is_answer, lines in groupby(transcript.splitlines(), lambda line: line.startswith("S: ")):
        if is_answer:
            check(text, [line[3:] for line in lines])
        else:
            text.send(*map(sent, lines))


def sent(line):
    """The bytes of a line that the client sends; a bar at the end of one of a body stands for no line end."""
    if line.startswith("C| ") and line.endswith("|"):
        return line[3:-1].encode()
    return line[3:].encode() + b"\n"


def check(peer, shown):
    """Read as many lines as are *shown*. A message may come before the answer or after it."""
    got = [peer.file.readline().decode().rstrip("\n") for _ in shown]
    for line in shown:
        found = [candidate for candidate in got if matches(line, candidate)]
        assert found, (line, got)
        got.remove(found[0])


def test_the_frames_happen_as_they_are_shown(text):
    for line in FRAMES.splitlines():
        kind, shown = line[:3], line[3:]
        if kind == "S: " and shown.startswith("OK "):
            assert matches(shown, text.file.readline().decode().rstrip("\n"))
        elif kind.strip():
            data = bytes.fromhex(re.match(r"(?:[0-9a-f]{2,}(?: |$))+", shown)[0])
            if kind == "C: ":
                text.send(data)
            else:
                assert text.file.read(len(data)) == data

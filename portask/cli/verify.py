"""`portask verify`: check a data directory for damage while no broker runs on it."""

from __future__ import annotations

import argparse

from portask.cli.outcome import Exit
from portask.cli.output import Format, add_output, print_object, print_rows
from portask.cli.progress import progress
from portask.storage.local.check import Finding, Report, verify

EXAMPLE = "portask verify /var/lib/portask --output json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("directory", metavar="DIR", help="the broker's --data-dir")
    add_output(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with progress("verify", None, is_bytes=True) as show:
        report = verify(arguments.directory, show)
    print_report(
        report, arguments.output, "is sound" if report.is_sound else "is damaged; set that aside with 'repair'"
    )
    return Exit.OK if report.is_sound else Exit.DAMAGED


def print_report(report: Report, form: Format, verdict: str) -> None:
    """Print what a check has found."""
    if form != "table":
        print_object(report.to_dict(), form)
        return
    print(f"{report.directory} {verdict}")
    print(f"{report.files} files, {report.bytes} bytes, {report.rounds} rounds, {report.frames} frames checked")
    if report.findings:
        print()
        print_rows(map(_row, report.findings), ("file", "position", "kind", "lost", "detail"), form)
    if report.aside:
        print()
        print("set aside: " + ", ".join(report.aside))


def _row(finding: Finding) -> dict[str, object]:
    lost = ", ".join(f"log {lost.log}: {lost.first_offset} to {lost.last_offset}" for lost in finding.lost)
    return {
        "file": finding.file,
        "position": finding.position,
        "kind": finding.kind,
        "lost": lost or "-",
        "detail": finding.detail,
    }

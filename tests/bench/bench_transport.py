"""Pickup to Drop, durable, beside Postfix on the same files: `make bench`.

Both servers run before the clock starts. fcweb's clock runs from the first file moved into Pickup to the last one
in the Drop directory with its row settled; Postfix's from the first connection of 8 SMTP sessions to the last file
in the Maildir. Rounds alternate. The first series starts after a pause without deletions, in the second as many
files are made and deleted before each round (churn): ext4 steps over recently deleted inodes one by one.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import postfix_peer
from mail_mix import write_mix
from process_meter import Meter

ROOT = Path(__file__).resolve().parents[2]


class Fcweb:
    """The transport of a fresh installation below `home`."""

    def __init__(self, home: Path, *, processes: list[list[str]]) -> None:
        self._home = home
        self._processes = processes
        self._env = {key: value for key, value in os.environ.items() if not key.startswith(("FCWEB_", "DJANGO_"))} | {
            "FCWEB_DATA_DIR": str(home),
            "FCWEB_NODE": "bench.test",
        }
        subprocess.run(
            [sys.executable, "manage.py", "setup"], cwd=ROOT, env=self._env, check=True, stdout=subprocess.DEVNULL
        )

    def deliver(self, files: list[Path]) -> tuple[float, float, float]:
        """Move all files into Pickup; return seconds until all are settled, CPU seconds, peak MB."""
        started = [
            subprocess.Popen([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self._env)
            for arguments in self._processes
        ]
        try:
            while len(list((self._home / "run").glob("*.heartbeat"))) < len(started):
                time.sleep(0.05)
            time.sleep(1.5)
            meter = Meter(*(process.pid for process in started))
            began = time.perf_counter()
            pickup = self._home / "pickup"
            for path in files:
                path.rename(pickup / path.name)
            self._wait_for(len(files))
            seconds = time.perf_counter() - began
            cpu, peak = meter.stop()
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)
        return seconds, cpu, peak

    def _wait_for(self, count: int) -> None:
        drop = self._home / "drop" / "Fax"
        while len(os.listdir(drop)) < count:
            time.sleep(0.05)
        database = sqlite3.connect(f"file:{self._home / 'fcweb.sqlite3'}?mode=ro", uri=True)
        while database.execute("SELECT count(*) FROM connectors_message WHERE state = 'done'").fetchone()[0] < count:
            time.sleep(0.02)
        database.close()


def churn(directory: Path, count: int) -> None:
    """Make and delete as many files as a round moves."""
    directory.mkdir()
    for number in range(count):
        (directory / str(number)).write_bytes(b"x" * 2000)
    shutil.rmtree(directory)


def one_round(work: Path, name: str, count: int, *, peer: str, processes: list[list[str]]) -> tuple[float, ...]:
    """Run one peer on fresh files; return messages/s, CPU seconds per 1000 messages, peak MB."""
    source = work / f"{name}-files"
    source.mkdir()
    write_mix(source, count, recipient="IMCEAFAX-%d@fcweb.test")
    files = sorted(source.iterdir())
    if peer == "fcweb":
        server = Fcweb(work / name, processes=processes)
        os.sync()
        seconds, cpu, peak = server.deliver(files)
    else:
        with postfix_peer.Postfix(work / name) as postfix:
            os.sync()
            seconds, cpu, peak = postfix.deliver(files)
    return count / seconds, cpu * 1000 / count, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=int, default=300, help="seconds without deletions before the first series")
    parser.add_argument("--series", choices=["calm", "churn", "both"], default="both")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="directory on the disk to measure")
    parser.add_argument("--processes", type=int, choices=[1, 2], default=2)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="fcweb-bench-", dir=options.disk))
    work.chmod(0o755)  # Postfix has users of its own
    layout = {1: [["transport"]], 2: [["transport", "--only", half] for half in ("intake", "delivery")]}
    peers = ["fcweb"] + (["postfix"] if postfix_peer.is_installed() else [])
    if len(peers) == 1:
        print("Postfix is not installed or this is not root: fcweb alone")
    for series in ("calm", "churn") if options.series == "both" else (options.series,):
        if series == "calm":
            print(f"pause of {options.pause} s without deletions")
            time.sleep(options.pause)
        results: dict[str, list[tuple[float, ...]]] = {peer: [] for peer in peers}
        for number in range(options.rounds):
            for peer in peers:
                if series == "churn":
                    churn(work / "churn", options.count)
                figures = one_round(
                    work,
                    f"{series}-{number}-{peer}",
                    options.count,
                    peer=peer,
                    processes=layout[options.processes],
                )
                results[peer].append(figures)
                rate, cpu, peak = figures
                print(
                    f"{series} {number} {peer:8} {rate:7.0f} messages/s {cpu:6.2f} CPU s/1000 {peak:5.0f} MB"
                    f"  load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        for peer, rows in results.items():
            medians = [statistics.median(column) for column in zip(*rows, strict=True)]
            rates = [row[0] for row in rows]
            print(
                f"{series}   {peer:8} median {medians[0]:.0f} [{min(rates):.0f}..{max(rates):.0f}] messages/s, "
                f"{medians[1]:.2f} CPU s/1000, {medians[2]:.0f} MB"
            )
        if len(peers) == 2:
            ratio = statistics.median(
                ours[0] / theirs[0] for ours, theirs in zip(results["fcweb"], results["postfix"], strict=True)
            )
            print(f"{series}   fcweb / Postfix = {ratio:.2f}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()

"""Search at size: fill a tracking store, ask it as the pages do, beside grep over the same rows as CSV.

    .venv/bin/python tests/bench/bench_search.py [messages] [queries]

Defaults: 200,000 messages (about 800,000 events over 30 days), 60 queries a kind. Times are of `search.page`, that is
plan, rows and recipients, without the template; p50 and p95 in ms, warm cache, one client. grep scans the whole file
(its output is piped: into /dev/null it would stop at the first hit). The store is SQLite, or what FCWEB_DATABASE_URL
names:

    sh tests/servers/on_postgresql.sh .venv/bin/python tests/bench/bench_search.py
"""

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 31, tzinfo=UTC)
DAYS = 30
WORDS = "invoice order devis fax report delivery contract reminder offer answer été straße account monthly".split()
BATCH = 2000


def fill(count, csv_path):
    """Insert messages with RECEIVE, sometimes DEFER, then SEND or FAIL (and a DSN), by the product's own bulk writer."""
    from django.db import transaction

    from fcweb import bulk
    from tracking import exchange_log, record
    from tracking.fold import address_key, subject_key
    from tracking.models import AddressName, EventRecipient, TrackedMessage, TrackingEvent

    rng = random.Random(7)
    senders = [f"user{n:05}@dept{n % 40}.example.test" for n in range(max(50, count // 100))]
    faxes = [f"IMCEAFAX-{rng.randrange(10**9):09}@fcweb.test" for _n in range(max(100, count // 10))]
    names = [(address_key(name), name.rpartition("@")[2]) for name in {*senders, *faxes}]
    with transaction.atomic():
        bulk.insert(AddressName, ("key", "domain"), names)
    message_key = event_key = recipient_key = 0
    began = time.perf_counter()
    with csv_path.open("w", newline="") as csv:
        csv.write(exchange_log.header(NOW - timedelta(days=DAYS)))
        for start in range(0, count, BATCH):
            messages, events, recipients = [], [], []
            for number in range(start, min(start + BATCH, count)):
                message_key += 1
                at = NOW - timedelta(days=DAYS) * (1 - number / count)
                sender, fax = rng.choice(senders), rng.choice(faxes)
                common = rng.choice(WORDS)
                subject = f"{common.title()} {rng.randrange(10**7):07} for {rng.choice(WORDS)}"
                fails = rng.random() < 0.02
                message_id = f"<{number:08x}.{rng.randrange(2**32):08x}@example.test>"
                guid = uuid.UUID(int=rng.getrandbits(128))
                messages.append(
                    (message_key, message_key, guid, message_id, sender, address_key(sender), sender, subject,
                     subject_key(subject), 2048, "Originating", "PICKUP", "failed" if fails else "transferred",
                     1, 0 if fails else 1, int(fails), at, at)
                )  # fmt: skip
                kinds = [("RECEIVE", "PICKUP", "To"), ("RESOLVE", "ROUTING", "")]
                if rng.random() < 0.5 or fails:
                    kinds.append(("DEFER", "GATEWAY", "452 4.3.1 Drop directory quota reached"))
                kinds += [("DSN", "DSN", ""), ("FAIL", "QUEUE", "550 4.4.7 QUEUE.Expired; message expired")] if fails else [
                    ("TRANSFER", "ROUTING", ""), ("SEND", "GATEWAY", "250 2.1.5 Recipient OK")]  # fmt: skip
                for step, (kind, source, status) in enumerate(kinds):
                    event_key += 1
                    recipient_key += 1
                    moment = at + timedelta(milliseconds=200 * step)
                    connector = "Fax" if source == "GATEWAY" else ""
                    log_id = uuid.UUID(int=rng.getrandbits(128))
                    events.append((event_key, message_key, log_id, moment, kind, source, connector, "order.eml",
                                   "", "", "", "", "fc1", "", "", "", 1))  # fmt: skip
                    recipients.append((recipient_key, event_key, fax, address_key(fax), status, moment))
                    csv.write(f"{record.iso(moment)},,fc1,,,order.eml,{connector},{source},{kind},{message_key},{message_id},"
                              f"{guid},{fax},{status},2048,1,,,{subject},{sender},{sender},,Originating,,,,S:fc.logid={log_id}\r\n")  # fmt: skip
            with transaction.atomic():
                bulk.insert(TrackedMessage, record._MESSAGE_FIELDS, messages)
                bulk.insert(TrackingEvent, record._EVENT_FIELDS, events)
                fields = ("id", "event", "address", "address_key", "status", "at")
                bulk.insert(EventRecipient, fields, recipients)
    return event_key, time.perf_counter() - began


def questions(rng):
    """Return {kind: function giving (search box text, grep pattern)}; patterns find the same rows."""
    from tracking.models import EventRecipient, TrackedMessage

    newest = TrackedMessage.objects.order_by("-pk").first().pk
    last = EventRecipient.objects.order_by("-pk").first().pk

    def message():
        return TrackedMessage.objects.get(pk=rng.randint(1, newest))

    def fax():
        return EventRecipient.objects.get(pk=rng.randint(1, last)).address

    def message_id():
        value = message().message_id
        return f"id:{value}", value

    def recipient():
        value = fax()
        return f"to:{value}", value

    def wildcard():
        value = fax()[9:17]
        return f"to:*{value}*", value

    def prefix():
        value = message().sender[:8]
        return f"from:{value}*", f",{value}"

    def domain():
        value = f"@dept{rng.randrange(40)}.example.test"
        return f"from:{value}", value

    def rare():
        value = message().subject.split()[1]
        return f"subject:{value}", f" {value} for"

    def common():
        value = rng.choice(WORDS)
        return f"subject:{value}", value

    def word():
        value = message().subject.split()[1]
        return value, value

    def hour():
        start = NOW - timedelta(hours=rng.randint(2, DAYS * 24 - 2))
        return f"event:FAIL since:{start:%Y-%m-%dT%H:%MZ} before:{start + timedelta(hours=1):%Y-%m-%dT%H:%MZ}", (
            f"^{start:%Y-%m-%dT%H}.*,FAIL,"
        )

    def short():
        return "subject:zq", "zq"

    return {
        "message-id": message_id,
        "recipient": recipient,
        "recipient, wildcard both sides": wildcard,
        "sender prefix": prefix,
        "sender @domain": domain,
        "subject, rare": rare,
        "subject, common": common,
        "free word, rare": word,
        "1 h + FAIL": hour,
        "2 letters, none (24 h)": short,
    }


def timed(work):
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def spread(times):
    times = sorted(times)
    return f"{statistics.median(times):8.2f} / {times[max(0, round(len(times) * 0.95) - 1)]:8.2f}"


def deep_edge(rng):
    from tracking.models import TrackingEvent

    event = TrackingEvent.objects.get(pk=rng.randint(1000, TrackingEvent.objects.order_by("-pk").first().pk))
    return f"{int(event.at.timestamp()) * 1_000_000 + event.at.microsecond}_{event.pk}"


def measure(queries, csv_path):
    from tracking import search
    from tracking.query import SearchQuery, parse
    from tracking.search import Listing

    rng = random.Random(11)
    tool = shutil.which("rg") or shutil.which("grep")
    print(f"{'p50 / p95 in ms':32} {'messages':>19} {'events':>19} {Path(tool).name + ' (x5)':>19}")
    for kind, ask in questions(rng).items():
        columns = {Listing.MESSAGES: [], Listing.EVENTS: []}
        patterns = []
        for _number in range(queries):
            text, pattern = ask()
            patterns.append(pattern)
            query = parse(text, now=NOW)
            assert not query.problems, text
            for listing, times in columns.items():
                times.append(timed(lambda q=query, by=listing: search.page(q, now=NOW, listing=by)))
        scans = [
            timed(lambda p=p: subprocess.run([tool, "-c", p, str(csv_path)], stdout=subprocess.PIPE, check=False))
            for p in patterns[:5]
        ]
        print(
            f"{kind:32} {spread(columns[Listing.MESSAGES])} {spread(columns[Listing.EVENTS])} {spread(scans)}",
            flush=True,
        )
    for listing, size in ((Listing.MESSAGES, 50), (Listing.EVENTS, 50), (Listing.EVENTS, 1000)):
        times = []
        for _number in range(queries):
            edge = deep_edge(rng)
            times.append(
                timed(
                    lambda e=edge, s=size, by=listing: search.page(
                        SearchQuery(), now=NOW, older_than=e, limit=s, listing=by
                    )
                )
            )
        print(f"{f'deep page of {size} by {listing}':32} {spread(times)}", flush=True)


def stored_bytes(home):
    """Return the size of the database; PostgreSQL learns how its rows are spread first, as autovacuum would teach it."""
    from django.db import connection

    if connection.vendor == "sqlite":
        return (home / "fcweb.sqlite3").stat().st_size
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT pg_database_size(current_database())")
        return cursor.fetchone()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", nargs="?", type=int, default=200_000)
    parser.add_argument("queries", nargs="?", type=int, default=60)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="fcweb-bench-search-"))
    os.environ |= {"FCWEB_DATA_DIR": str(home), "DJANGO_SETTINGS_MODULE": "fcweb.settings"}
    sys.path.insert(0, str(ROOT))
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        events, seconds = fill(options.messages, home / "events.csv")
        size = stored_bytes(home) / 1e9
        csv_size = (home / "events.csv").stat().st_size / 1e9
        load = os.getloadavg()[0]
        print(f"{options.messages:,} messages, {events:,} events: {size:.2f} GB, {events / seconds:,.0f} events/s filled; "
              f"CSV {csv_size:.2f} GB; load average {load:.1f}", flush=True)  # fmt: skip
        measure(options.queries, home / "events.csv")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()

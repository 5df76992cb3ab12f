"""Child of the crash test: fills a queue (`fill N`), removes it in bulk (`work`), or finishes the job (`finish`)."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
import django

django.setup()
from django.utils import timezone

from connectors import routing_table
from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.models import BulkJob
from connectors.transport import jobs, queue_operations
from connectors.transport.jobs import Order

now = timezone.now()
node = routing_table.local_node()
if sys.argv[1] == "fill":
    from connectors.models import ForeignConnector
    from tests.queue_fixtures import fill

    (queue,) = queue_operations.queues_of(node, ForeignConnector.objects.get(name="Fax"))
    fill(node, queue, int(sys.argv[2]), now=now)
    jobs.start(node, Order(verb=Verb.REMOVE, actor="crash", queue=queue), now=now)
else:
    print("working", flush=True)
    jobs.run_to_end(BulkJob.objects.get(), config=transport_config(), now=now)

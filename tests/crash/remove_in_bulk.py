"""Child of the crash test: fills a queue, of Fax or Submission, and orders its removal (`fill NAME N`); works (`work`)."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
import django

django.setup()
from django.utils import timezone

from connectors import routing_table
from connectors.choices import SUBMISSION_DOMAIN, JobScope, Verb
from connectors.conf import transport_config
from connectors.models import BulkJob
from connectors.transport import jobs, queue_operations
from connectors.transport.jobs import Order

now = timezone.now()
node = routing_table.local_node()
if sys.argv[1] == "fill":
    from connectors.models import ForeignConnector
    from tests.queue_fixtures import fill

    if sys.argv[2] == "Fax":
        (queue,) = queue_operations.queues_of(node, ForeignConnector.objects.get(name="Fax"))
        fill(node, queue, int(sys.argv[3]), now=now)
    else:
        queue = queue_operations.special_queue(node, SUBMISSION_DOMAIN)
        jobs.operate_queue(queue, Verb.SUSPEND, actor="crash", now=now)
        fill(node, None, int(sys.argv[3]), now=now)
    jobs.start(node, Order(verb=Verb.REMOVE, actor="crash", queue=queue), now=now)
else:
    print("working", flush=True)
    job = BulkJob.objects.get(scope=JobScope.MESSAGES)
    jobs.run_to_end(job, config=transport_config(), now=now)

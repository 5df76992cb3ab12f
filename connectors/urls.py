"""Pages of connectors."""

from __future__ import annotations

from django.urls import path

from connectors.views import (
    bad_file_edit,
    bad_files,
    connectors,
    drop_directory,
    message_parts,
    needs,
    notices,
    operations,
    overview,
    queue_exports,
    queues,
    route,
    safety_net,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("queues/", queues.queues, name="queues"),
    path("queues/export.<str:form>", queue_exports.queues, name="queues-export"),
    path("queues/messages/", queues.messages, name="queue-messages"),
    path("queues/messages/export.<str:form>", queue_exports.messages, name="queue-messages-export"),
    path("queues/messages/confirm/", operations.confirm_everywhere, name="queue-messages-confirm"),
    path("queues/<int:pk>/", queues.queue, name="queue"),
    path("queues/<int:pk>/export.<str:form>", queue_exports.messages, name="queue-export"),
    path("queues/submission/operate/", operations.operate_submission, name="submission-operate"),
    path("queues/<int:pk>/operate/", operations.operate, name="queue-operate"),
    path("queues/<int:pk>/confirm/", operations.confirm, name="queue-confirm"),
    path("queues/items/<int:pk>/export/", operations.download, name="item-download"),
    path("operations/<int:pk>/", operations.operation, name="operation"),
    path("operations/<int:pk>/cancel/", operations.cancel, name="operation-cancel"),
    path("safety-net/", safety_net.kept, name="safety-net"),
    path("safety-net/deliver-again/", safety_net.deliver_again, name="deliver-again"),
    path("needs-you/", needs.needs, name="needs"),
    path("bad-files/", bad_files.bad_files, name="bad-files"),
    path("bad-files/<int:pk>/", bad_files.bad_file, name="bad-file"),
    path("bad-files/<int:pk>/resubmit/", bad_files.resubmit, name="bad-file-resubmit"),
    path("bad-files/<int:pk>/split/", bad_files.split, name="bad-file-split"),
    path("bad-files/<int:pk>/edit/", bad_file_edit.edit, name="bad-file-edit"),
    path("bad-files/<int:pk>/check/", bad_file_edit.check, name="bad-file-check"),
    path("bad-files/<int:pk>/resubmit-changed/", bad_file_edit.resubmit_changed, name="bad-file-resubmit-changed"),
    path("connectors/", connectors.connectors, name="connectors-list"),
    path("connectors/<int:pk>/directory/", drop_directory.show, name="drop-directory"),
    path("connectors/<int:pk>/directory/test/", drop_directory.test, name="drop-directory-test"),
    path("connectors/<int:pk>/directory/create/", drop_directory.create, name="drop-directory-create"),
    path("message/<int:tracked>/delivery/", message_parts.delivery, name="message-delivery"),
    path("message/<int:tracked>/content/", message_parts.content, name="message-content"),
    path("notices/", notices.notices, name="notices"),
    path("notices/html/", notices.notice_html, name="notice-html"),
    path("route/", route.route, name="route"),
]

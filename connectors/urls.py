"""Pages of connectors."""

from __future__ import annotations

from django.urls import path

from connectors.views import bad_files, connectors, message_parts, notices, overview, queues, route

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("queues/", queues.queues, name="queues"),
    path("queues/<int:pk>/", queues.queue, name="queue"),
    path("bad-files/", bad_files.bad_files, name="bad-files"),
    path("bad-files/<int:pk>/", bad_files.bad_file, name="bad-file"),
    path("bad-files/<int:pk>/resubmit/", bad_files.resubmit, name="bad-file-resubmit"),
    path("bad-files/<int:pk>/split/", bad_files.split, name="bad-file-split"),
    path("connectors/", connectors.connectors, name="connectors-list"),
    path("message/<int:tracked>/delivery/", message_parts.delivery, name="message-delivery"),
    path("message/<int:tracked>/content/", message_parts.content, name="message-content"),
    path("notices/", notices.notices, name="notices"),
    path("notices/html/", notices.notice_html, name="notice-html"),
    path("route/", route.route, name="route"),
]

"""Routes of tracking."""

from __future__ import annotations

from django.urls import path

from tracking import views

urlpatterns = [
    path("live/", views.live, name="live"),
    path("tracking/", views.tracking, name="tracking"),
    path("tracking/export.<str:form>", views.export, name="tracking-export"),
    path("message/<int:pk>/", views.message, name="message"),
]

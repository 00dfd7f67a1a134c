"""Files, signs of life, figures, and the door for webhooks."""

from django.urls import path

from predictions import file_views, views

urlpatterns = [
    path("files/<uuid:file>", file_views.file_detail, name="file_detail"),
    path("health/live", views.live, name="health_live"),
    path("health/ready", views.ready, name="health_ready"),
    path("metrics", views.metrics, name="metrics"),
    path("webhooks/<uuid:prediction>/<str:token>", views.webhook, name="webhook"),
]

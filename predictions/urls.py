"""Files, signs of life, figures, and the door for webhooks."""

from django.urls import path

from predictions import file_views, upload_views, views

urlpatterns = [
    path("files/<uuid:file>", file_views.file_detail, name="file_detail"),
    path("files/<uuid:file>/use/", upload_views.file_use, name="file_use"),
    path("health/live", views.live, name="health_live"),
    path("health/ready", views.ready, name="health_ready"),
    path("health/stream", views.stream, name="health_stream"),
    path("metrics", views.metrics, name="metrics"),
    path("uploads/", upload_views.upload_create, name="upload_create"),
    path("uploads/<uuid:upload>/remove/", upload_views.upload_remove, name="upload_remove"),
    path("webhooks/<uuid:prediction>/<str:token>", views.webhook, name="webhook"),
]

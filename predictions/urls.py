"""Signs of life, and the door for webhooks."""

from django.urls import path

from predictions import views

urlpatterns = [
    path("health/live", views.live, name="health_live"),
    path("health/ready", views.ready, name="health_ready"),
    path("webhooks/<uuid:prediction>/<str:token>", views.webhook, name="webhook"),
]

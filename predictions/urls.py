"""Signs of life."""

from django.urls import path

from predictions import views

urlpatterns = [
    path("live", views.live, name="health_live"),
    path("ready", views.ready, name="health_ready"),
]

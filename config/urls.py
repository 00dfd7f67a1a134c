"""All addresses: the chat, signing in, the admin, health, webhooks."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("chat.urls")),
    path("accounts/", include("chat.people.urls")),
    path("admin/", admin.site.urls),
    path("", include("predictions.urls")),
]

handler500 = "chat.middleware.explain_failure"

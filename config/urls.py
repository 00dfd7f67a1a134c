"""All addresses: the chat, signing in, the admin, health, webhooks."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from chat.views import sign_in

urlpatterns = [
    path("", include("chat.urls")),
    path("accounts/login/", sign_in, name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("", include("predictions.urls")),
]

handler500 = "chat.middleware.explain_failure"

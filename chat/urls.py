"""The chat's addresses."""

from django.urls import path

from chat import views

app_name = "chat"

urlpatterns = [
    path("", views.home, name="home"),
    path("conversations/", views.conversation_create, name="conversation_create"),
    path("conversations/<uuid:conversation>/", views.conversation_detail, name="conversation_detail"),
    path("conversations/<uuid:conversation>/messages/", views.message_create, name="message_create"),
    path("conversations/<uuid:conversation>/move/", views.conversation_move, name="conversation_move"),
    path("messages/<uuid:message>/stop/", views.message_stop, name="message_stop"),
    path("messages/<uuid:message>/retry/", views.message_retry, name="message_retry"),
    path("setup/<str:token>/", views.setup, name="setup"),
]

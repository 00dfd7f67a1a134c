"""The chat's addresses."""

from django.urls import path

from chat import receipt_views, views

app_name = "chat"

urlpatterns = [
    path("", views.home, name="home"),
    path("conversations/", views.conversation_create, name="conversation_create"),
    path("conversations/<uuid:conversation>/", views.conversation_detail, name="conversation_detail"),
    path("conversations/<uuid:conversation>/messages/", views.message_create, name="message_create"),
    path("conversations/<uuid:conversation>/move/", views.conversation_move, name="conversation_move"),
    path("messages/<uuid:message>/stop/", views.message_stop, name="message_stop"),
    path("messages/<uuid:message>/retry/", views.message_retry, name="message_retry"),
    path("messages/<uuid:message>/rate/", views.message_rate, name="message_rate"),
    path("messages/<uuid:message>/details/", receipt_views.receipt_detail, name="receipt_detail"),
    path("messages/<uuid:message>/details.json", receipt_views.receipt_download, name="receipt_download"),
    path("messages/<uuid:message>/again/", receipt_views.receipt_again, name="receipt_again"),
    path("messages/<uuid:message>/keep/", receipt_views.receipt_keep, name="receipt_keep"),
    path("messages/<uuid:message>/diff/", receipt_views.receipt_diff, name="receipt_diff"),
    path("setup/<str:token>/", views.setup, name="setup"),
]

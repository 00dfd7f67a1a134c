"""The socket's address."""

from django.urls import path

from chat.consumers import TabConsumer

websocket_urlpatterns = [path("socket/", TabConsumer.as_asgi())]

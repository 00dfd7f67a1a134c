"""The addresses of the news: the socket, and HTTP for browsers whose sockets do not get through."""

from channels.auth import AuthMiddlewareStack
from django.urls import path

from chat.consumers import TabConsumer
from chat.news_views import tell_news

websocket_urlpatterns = [path("socket/", TabConsumer.as_asgi())]
news = AuthMiddlewareStack(tell_news)

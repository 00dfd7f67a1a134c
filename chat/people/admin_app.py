"""Django’s admin, with a site of our own."""

from django.contrib.admin import apps


class AdminConfig(apps.AdminConfig):
    default_site = "chat.people.admin_site.AdminSite"

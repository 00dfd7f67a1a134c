"""People in the admin; their conversations are their own."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from chat.models import User

admin.site.register(User, UserAdmin)
admin.site.site_header = admin.site.site_title = "Parley"
admin.site.index_title = "Administration"
admin.site.enable_nav_sidebar = False  # the sidebar is Parley’s own

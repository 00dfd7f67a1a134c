"""The chat's addresses."""

from django.urls import path

from chat import (
    block_views,
    branch_views,
    composer_views,
    rating_views,
    receipt_views,
    sidebar_views,
    views,
)

app_name = "chat"

urlpatterns = [
    path("", views.home, name="home"),
    path("conversations/", views.conversation_create, name="conversation_create"),
    path("conversations/<uuid:conversation>/", views.conversation_detail, name="conversation_detail"),
    path("conversations/<uuid:conversation>/messages/", views.message_create, name="message_create"),
    path("conversations/<uuid:conversation>/move/", views.conversation_move, name="conversation_move"),
    path("messages/<uuid:message>/stop/", views.message_stop, name="message_stop"),
    path("messages/<uuid:message>/earlier/", branch_views.earlier_messages, name="earlier_messages"),
    path("messages/<uuid:message>/edit/", branch_views.message_edit, name="message_edit"),
    path("messages/<uuid:message>/continue/", branch_views.message_continue, name="message_continue"),
    path("messages/<uuid:message>/models/", branch_views.message_models, name="message_models"),
    path("messages/<uuid:message>/retry/", views.message_retry, name="message_retry"),
    path("messages/<uuid:message>/delete/", branch_views.message_delete, name="message_delete"),
    path("messages/<uuid:message>/restore/", branch_views.message_restore, name="message_restore"),
    path("messages/<uuid:message>/show/", branch_views.message_show, name="message_show"),
    path("messages/<uuid:message>/rate/", rating_views.message_rate, name="message_rate"),
    path("messages/<uuid:message>/reason/", rating_views.message_reason, name="message_reason"),
    path("messages/<uuid:message>/details/", receipt_views.receipt_detail, name="receipt_detail"),
    path("messages/<uuid:message>/details.json", receipt_views.receipt_download, name="receipt_download"),
    path("messages/<uuid:message>/again/", receipt_views.receipt_again, name="receipt_again"),
    path("messages/<uuid:message>/keep/", receipt_views.receipt_keep, name="receipt_keep"),
    path("messages/<uuid:message>/diff/", receipt_views.receipt_diff, name="receipt_diff"),
    path("search/", sidebar_views.message_search, name="message_search"),
    path("sidebar/", sidebar_views.sidebar_part, name="sidebar_part"),
    path("conversations/older/", sidebar_views.conversation_older, name="conversation_older"),
    path("conversations/archived/", sidebar_views.conversation_archived, name="conversation_archived"),
    path("conversations/<uuid:conversation>/manage/", sidebar_views.conversation_manage, name="conversation_manage"),
    path("conversations/<uuid:conversation>/rename/", sidebar_views.conversation_rename, name="conversation_rename"),
    path("conversations/<uuid:conversation>/pin/", sidebar_views.conversation_pin, name="conversation_pin"),
    path("conversations/<uuid:conversation>/archive/", sidebar_views.conversation_archive, name="conversation_archive"),
    path("conversations/<uuid:conversation>/delete/", sidebar_views.conversation_delete, name="conversation_delete"),
    path("conversations/<uuid:conversation>/restore/", sidebar_views.conversation_restore, name="conversation_restore"),
    path("conversations/<uuid:conversation>/read/", sidebar_views.conversation_read, name="conversation_read"),
    path("conversations/<uuid:conversation>/export.json", sidebar_views.conversation_json, name="conversation_json"),
    path("conversations/<uuid:conversation>/export.md", sidebar_views.conversation_markdown, name="conversation_md"),
    path("files/<uuid:file>", sidebar_views.file_detail, name="file_detail"),
    path("highlight/", block_views.code_highlight, name="code_highlight"),
    path("diagram/", block_views.diagram_frame, name="diagram_frame"),
    path("models/<slug:model>/parameters/", composer_views.model_parameters, name="model_parameters"),
    path("manifest.webmanifest", views.manifest, name="manifest"),
    path("setup/<str:token>/", views.setup, name="setup"),
]

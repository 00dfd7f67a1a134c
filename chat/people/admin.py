"""People, groups and invitations in the admin; what people talk about is their own."""

from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from chat.models import User
from chat.people import departures, mail, ranks, resets, rights
from chat.people.models import EVERYBODY, Invitation, SignIn
from predictions.admin.boxes import BOXES
from predictions.models import Model

LAST_ADMIN = "This is the last admin. Make somebody else one first, or nobody could look after this Parley."
STILL_WRITTEN = (
    "An answer for {0} is still being written. It is being stopped, and {0} is switched off: delete them in a minute. "
    "If that does not help, no worker runs; manage.py doctor says more."
)
GOOD_FOR = timedelta(days=7)  # what an invitation is, unless its maker says otherwise

# What django-allauth shows there of itself is for its own developers.
for model in (EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class PersonForm(UserChangeForm):
    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        stays = cleaned.get("is_active", True) and cleaned.get("is_superuser", True)
        if not stays and ranks.is_last_admin(self.instance, hold=True):
            raise ValidationError(LAST_ADMIN)
        return cleaned

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email and User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise ValidationError("Somebody else has this address already.")
        return email


@admin.register(User)
class PersonAdmin(UserAdmin):
    form = PersonForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_staff", "last_login")
    change_form_template = "admin/chat/user/change_form.html"
    filter_horizontal = ()  # boxes instead
    formfield_overrides = BOXES

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:key>/reset/", self.admin_site.admin_view(require_POST(self.reset)), name="chat_user_reset"),
            path("<int:key>/factors/", self.admin_site.admin_view(require_POST(self.drop)), name="chat_user_drop"),
            path("<int:key>/end/", self.admin_site.admin_view(require_POST(self.end)), name="chat_user_end"),
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        extra = {**(extra_context or {}), "with_passwords": settings.LOCAL_PASSWORDS}
        return super().change_view(request, object_id, form_url, extra)

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            kwargs |= rights.field_for(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let only admins of all make admins of all, or decide what others may do beyond what they may themselves."""
        ranks = ("is_staff", "is_superuser", "groups", "user_permissions")
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if _is_superuser(request) else (*fixed, *ranks)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_handle(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_delete_permission(request, obj) and _may_handle(request, obj)
        return may and not (obj is not None and ranks.is_last_admin(obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """People go one by one, each after a look at what goes with them."""
        return _one_by_one(super().get_actions(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Count what goes, without the titles of conversations, which are nobody else's business."""
        [person] = objs
        conversations = person.conversations.count()
        summary = {"users": 1, "conversations": conversations, "files not sent": person.uploads.count()}
        return [str(person)], summary, set(), []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        person = self.get_object(request, object_id)
        if person is not None and request.method == "POST" and self.has_delete_permission(request, person):
            if not departures.switch_off(person):
                raise PermissionDenied
            if not departures.stop(person):
                messages.warning(request, STILL_WRITTEN.format(person))
                return redirect("admin:chat_user_change", person.pk)
        return super().delete_view(request, object_id, extra_context)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        departures.delete(obj)

    def reset(self, request: HttpRequest, key: int) -> HttpResponse:
        """Make a link with which somebody chooses a new password, and show it once."""
        person = self._person(request, key)
        if not settings.LOCAL_PASSWORDS:
            raise Http404
        url = mail.absolute(request, resets.path_for(person))
        self.log_change(request, person, "Made a link for a new password.")
        words = "Give it to them over a way that you trust. It is good for a day, and once."
        back = (reverse("admin:chat_user_change", args=[key]), str(person))
        return _show_link(request, f"A new password for {person}", words, url, back)

    def drop(self, request: HttpRequest, key: int) -> HttpResponse:
        """Have somebody sign in without the second factors that they have lost."""
        person = self._person(request, key)
        Authenticator.objects.filter(user=person).delete()
        self.log_change(request, person, "Removed the second factors.")
        messages.success(request, f"{person} signs in with a password alone until they set up a new second factor.")
        return redirect("admin:chat_user_change", key)

    def end(self, request: HttpRequest, key: int) -> HttpResponse:
        """Sign somebody out everywhere."""
        person = self._person(request, key)
        SignIn.end_all(person)
        self.log_change(request, person, "Signed out everywhere.")
        messages.success(request, f"{person} is signed out everywhere.")
        return redirect("admin:chat_user_change", key)

    def _person(self, request: HttpRequest, key: int) -> User:
        person = get_object_or_404(User, pk=key)
        if not self.has_change_permission(request, person):
            raise PermissionDenied
        return person


def _may_handle(request: HttpRequest, person: User | None) -> bool:
    """Whether somebody may be handled: who could set the address of another one who enters the admin would be them."""
    return _is_superuser(request) or person is None or person == request.user or not ranks.is_above_others(person)


def _one_by_one(actions: dict[str, Any]) -> dict[str, Any]:
    return {name: action for name, action in actions.items() if name != "delete_selected"}


def _is_superuser(request: HttpRequest) -> bool:
    return bool(isinstance(request.user, User) and request.user.is_superuser)


admin.site.unregister(Group)


@admin.register(Group)
class OwnGroupAdmin(GroupAdmin):
    fields = ("name", "permissions")
    filter_horizontal = ()  # boxes instead

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs |= rights.field_for(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.name != EVERYBODY)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Keep a group without which a model would be for everybody."""
        *found, protected = super().get_deleted_objects(objs, request)
        others = Group.objects.exclude(pk__in=[group.pk for group in objs])
        opened = Model.objects.filter(groups__in=objs).exclude(groups__in=others).distinct()
        return *found, [*protected, *(f"The model {model}, which nobody else may ask" for model in opened)]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return _one_by_one(super().get_actions(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Whoever could change what groups may could give themselves everything.
        return super().has_change_permission(request, obj) and _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and _is_superuser(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name",) if obj is not None and obj.name == EVERYBODY else ()


class InvitationForm(forms.ModelForm):
    class Meta:
        model = Invitation
        fields = ("note", "email", "groups", "uses", "expires_at")

    def clean_uses(self) -> int:
        uses: int = self.cleaned_data["uses"]
        if not 1 <= uses <= 1_000:
            raise ValidationError("An invitation is for 1 to 1,000 people.")
        return uses

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("email") and cleaned.get("uses", 1) != 1:
            raise ValidationError({"uses": "With an address it is for one."})
        return cleaned


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):
    form = InvitationForm
    formfield_overrides = BOXES
    list_display = ("__str__", "standing", "used_of", "expires_at", "created_by", "created_at")
    list_filter = ("expires_at",)
    search_fields = ("note", "email")
    actions = ("revoke",)

    @admin.display(description="used")
    def used_of(self, invitation: Invitation) -> str:
        return f"{invitation.used} of {invitation.uses}"

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"expires_at": timezone.now() + GOOD_FOR, **super().get_changeform_initial_data(request)}

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if "groups" in form.base_fields and isinstance(request.user, User):
            offered = Group.objects.exclude(name=EVERYBODY)
            # Nobody lets others into a group that they are not in themselves.
            choices: Any = form.base_fields["groups"]
            choices.queryset = offered if _is_superuser(request) else offered.filter(user=request.user)
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let only admins of all say whose an address is: by single sign-on its owner comes into the account."""
        fields = super().get_fields(request, obj)
        return fields if _is_superuser(request) or obj is not None else [name for name in fields if name != "email"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return settings.LOCAL_PASSWORDS and super().has_add_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # Whichever button: what comes next is the page that shows the link.
        one_way = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **one_way})

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # who holds the link was told what it is; it is revoked, and another one made

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        obj.created_by = request.user if isinstance(request.user, User) else None
        request.invitation_token = obj.issue_token()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Invitation, post_url_continue: str | None = None) -> HttpResponse:
        token = request.invitation_token  # type: ignore[attr-defined]
        url = mail.absolute(request, reverse("people:invitation_accept", args=[token]))
        places = "one account" if obj.uses == 1 else f"{obj.uses} accounts"
        words = f"Give it to whom it is for. It is good for {places}, until {timezone.localtime(obj.expires_at):%d %B}."
        back = (reverse("admin:people_invitation_changelist"), "Invitations")
        return _show_link(request, "The invitation is made", words, url, back)

    @admin.action(description="Revoke selected invitations", permissions=["delete"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        queryset.revoke()
        messages.success(request, "They are not good any more.")


def _show_link(request: HttpRequest, title: str, words: str, url: str, back: tuple[str, str]) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "words": words, "url": url, "back": back}
    return render(request, "admin/people/link.html", context)

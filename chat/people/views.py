"""Coming in, making an account, and looking after one's own."""

from collections.abc import Callable
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from allauth.account.views import LoginView
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import PasswordResetConfirmView
from django.contrib.sessions.models import Session
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chat.models import User
from chat.people import links, mail, resets
from chat.people.forms import AccountForm, EmailForm, NameForm, NewPasswordForm, PasswordForm, SignInForm
from chat.people.models import Invitation, SignIn
from chat.people.tries import TooSoon, take_mail

NOT_OURS = "Accounts are made here by people whose address ends with {domains}. Ask an admin for an invitation."
NAME_TAKEN = "Somebody else has just taken this name. Choose another."
TAKEN = "There is an account with this address already. Sign in with it."
# Who vouches for people, if anybody: where they are sent from, and what their button says.
VOUCHING = (
    (settings.OIDC_ISSUER, "oidc_begin", settings.OIDC_NAME),
    (settings.SAML_METADATA, "saml_begin", settings.SAML_NAME),
)
SECRET = ("password", "password1", "password2", "old_password", "new_password1", "new_password2")

hide_passwords = sensitive_post_parameters(*SECRET)
reads_and_writes = require_http_methods(["GET", "POST"])

# ---------------------------------------------------------------- coming in


class PasswordSignIn(LoginView):
    form_class = SignInForm
    template_name = "registration/login.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **ways_in(), "next": _next(self.request)}

    def form_invalid(self, form: SignInForm) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)
        if form.too_soon is not None:
            _note_wait(response, form.too_soon)
        return response


@login_not_required
@hide_passwords
@reads_and_writes
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """The sign-in page; before there is anybody who could sign in, say how to begin."""
    if not User.objects.exists():
        return render(request, "chat/not_set_up.html")
    if request.method == "POST" and not settings.LOCAL_PASSWORDS:
        raise Http404
    return PasswordSignIn.as_view()(request)


def ways_in() -> dict[str, Any]:
    """What the sign-in page offers."""
    return {
        "with_password": settings.LOCAL_PASSWORDS,
        "vouching": [{"route": route, "name": name} for is_set, route, name in VOUCHING if is_set],
        "with_reset": settings.LOCAL_PASSWORDS and mail.has_mail(),
        "with_sign_up": settings.LOCAL_PASSWORDS and settings.SIGNUP_DOMAINS,
    }


# ---------------------------------------------------------------- making an account


@login_not_required
@hide_passwords
@reads_and_writes
def invitation_accept(request: HttpRequest, token: str) -> HttpResponseBase:
    """Make an account, for whoever holds an open invitation."""
    invitation = Invitation.objects.held(token).first()
    if invitation is None or not settings.LOCAL_PASSWORDS:
        return render(request, "people/link_gone.html", status=410)
    if invitation.email and links.is_taken(invitation.email):
        return render(request, "people/link_gone.html", {"words": TAKEN}, status=410)

    def make(form: AccountForm) -> User | None:
        return invitation.redeem(form.cleaned_data["username"], form.cleaned_data["password1"])

    return _make_account(request, make, email=invitation.email)


@login_not_required
@reads_and_writes
def sign_up(request: HttpRequest) -> HttpResponseBase:
    """Send whoever has an address at one of the domains a link with which to make an account."""
    if not ways_in()["with_sign_up"]:
        raise Http404
    form = EmailForm(request.POST or None)
    if form.is_valid() and not links.may_sign_up(form.cleaned_data["email"]):
        form.add_error("email", NOT_OURS.format(domains=" or ".join(f"@{name}" for name in settings.SIGNUP_DOMAINS)))
    page = {"title": "Make an account", "button": "Send me a link", "sent": "a link to make your account"}
    return _ask_for_mail(request, form, page, _mail_sign_up)


def _mail_sign_up(request: HttpRequest, email: str) -> None:
    if links.is_taken(email):
        mail.send("account_exists", email, url=mail.absolute(request, reverse("login")))
        return
    path = reverse("people:sign_up_finish", args=[links.seal(links.SIGN_UP, email=email)])
    mail.send("sign_up", email, url=mail.absolute(request, path))


@login_not_required
@hide_passwords
@reads_and_writes
def sign_up_finish(request: HttpRequest, token: str) -> HttpResponseBase:
    """Make an account, for whoever got the link that was sent to an address."""
    said = links.unseal(links.SIGN_UP, token)
    if said is None or not (ways_in()["with_sign_up"] and links.may_sign_up(said["email"])):
        return render(request, "people/link_gone.html", status=410)
    if links.is_taken(said["email"]):
        return render(request, "people/link_gone.html", {"words": TAKEN}, status=410)

    def make(form: AccountForm) -> User | None:
        return links.make_account(form.cleaned_data["username"], form.cleaned_data["password1"], said["email"])

    return _make_account(request, make, email=said["email"])


def _make_account(request: HttpRequest, make: Callable[[AccountForm], User | None], *, email: str) -> HttpResponseBase:
    if request.user.is_authenticated:
        return render(request, "people/link_for_another.html", status=409)
    form = AccountForm(request.POST or None)
    if form.is_valid():
        try:
            return _welcome(request, make(form))
        except IntegrityError:  # since the form has looked, somebody else took it
            form.add_error("username", NAME_TAKEN)
    context = {"form": form, "email": email}
    return render(request, "people/account_make.html", context, status=422 if form.is_bound else 200)


def _welcome(request: HttpRequest, user: User | None) -> HttpResponseBase:
    if user is None:
        return render(request, "people/link_gone.html", status=410)
    record_authentication(request, user, method="password")
    return perform_login(request, Login(user=user))


# ---------------------------------------------------------------- a forgotten password


@login_not_required
@reads_and_writes
def password_reset(request: HttpRequest) -> HttpResponseBase:
    """Send a link with which to choose a new password, if there is such an account; say the same if there is none."""
    if not ways_in()["with_reset"]:
        raise Http404
    page = {
        "title": "Forgot your password?",
        "button": "Send me a link",
        "sent": "a link to choose a new password",
    }
    return _ask_for_mail(request, EmailForm(request.POST or None), page, _mail_reset)


def _mail_reset(request: HttpRequest, email: str) -> None:
    # Who comes in by single sign-on alone, or whose password an admin has taken away, gets none by this.
    for user in filter(User.has_usable_password, User.objects.filter(email__iexact=email, is_active=True)[:3]):
        mail.send("password_reset", user.email, url=mail.absolute(request, resets.path_for(user)), user=user)


@method_decorator([login_not_required, hide_passwords, reads_and_writes], name="dispatch")
class PasswordReset(PasswordResetConfirmView):
    """Choose a new password, for whoever holds a link from a message or an admin."""

    form_class = NewPasswordForm
    template_name = "people/password_reset.html"
    success_url = reverse_lazy("login")

    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.LOCAL_PASSWORDS:
            raise Http404
        return super().dispatch(*args, **kwargs)


def _ask_for_mail(
    request: HttpRequest, form: EmailForm, page: dict[str, str], send: Callable[[HttpRequest, str], None]
) -> HttpResponse:
    """Ask for an address, have something sent there, and say so, whatever was."""
    if form.is_valid():
        email = form.cleaned_data["email"]
        try:
            take_mail(request, email)
        except TooSoon as error:
            form.add_error(None, error)
            return _note_wait(render(request, "people/mail_ask.html", {"form": form, **page}), error)
        send(request, email)
        return render(request, "people/mail_sent.html", {"email": email, **page})
    return render(request, "people/mail_ask.html", {"form": form, **page}, status=422 if form.is_bound else 200)


# ---------------------------------------------------------------- one's own account


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    return _show_account(request)


@require_POST
def account_name(request: HttpRequest) -> HttpResponse:
    form = NameForm(request.POST, instance=_person(request))
    if not form.is_valid():
        return _show_account(request, name_form=form)
    form.save()
    return redirect("people:account")


@reads_and_writes
@reauthentication_required(enabled=lambda _: mail.has_mail(), allow_get=True)  # what goes there opens the account
def account_email(request: HttpRequest) -> HttpResponse:
    """Send a link to a new address: it is theirs as soon as they open it."""
    if not mail.has_mail():
        raise Http404
    if request.method == "GET":  # loaded again after the password was asked for
        return redirect("people:account")
    form = EmailForm(request.POST)
    if not form.is_valid():
        return _show_account(request, email_form=form)
    email = form.cleaned_data["email"]
    try:
        take_mail(request, email)
    except TooSoon as error:
        form.add_error("email", error)
        return _note_wait(_show_account(request, email_form=form), error)
    sealed = links.seal(links.ADDRESS, user=_person(request).pk, old=_person(request).email, new=email)
    mail.send("address", email, url=mail.absolute(request, reverse("people:account_address", args=[sealed])))
    return _show_account(request, sent_to=email)


@reads_and_writes
def account_address(request: HttpRequest, token: str) -> HttpResponse:
    """Take the address that a link was sent to, for whoever asked for it."""
    said = links.unseal(links.ADDRESS, token)
    user = _person(request)
    if said is None or (said["user"], said["old"]) != (user.pk, user.email):
        return render(request, "people/link_gone.html", status=410)
    if User.objects.filter(email__iexact=said["new"]).exclude(pk=user.pk).exists():
        return render(request, "people/link_gone.html", {"words": TAKEN}, status=410)
    if request.method == "GET":
        return render(request, "people/address_confirm.html", {"email": said["new"]})
    user.email = said["new"]
    user.save(update_fields=["email"])
    return redirect("people:account")


@hide_passwords
@reads_and_writes
def password_change(request: HttpRequest) -> HttpResponse:
    """Choose another password, and be signed out everywhere else."""
    user = _person(request)
    if not (settings.LOCAL_PASSWORDS and user.has_usable_password()):
        raise Http404
    form = PasswordForm(user, request.POST or None)
    if form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        return redirect("people:account")
    return render(request, "people/password_change.html", {"form": form}, status=422 if form.is_bound else 200)


@require_POST
def session_end(request: HttpRequest, sign_in: int) -> HttpResponse:
    """Sign a browser out."""
    ended = get_object_or_404(SignIn.objects.filter(user=_person(request)), pk=sign_in)
    if ended.session_id == request.session.session_key:
        raise Http404  # this one signs out by the button for that
    Session.objects.filter(pk=ended.session_id).delete()
    return redirect(reverse("people:account") + "#sessions")


@require_POST
def sessions_end(request: HttpRequest) -> HttpResponse:
    """Sign all other browsers out."""
    SignIn.end_all(_person(request), but=request.session.session_key)
    return redirect(reverse("people:account") + "#sessions")


def _show_account(request: HttpRequest, **context: Any) -> HttpResponse:
    user = _person(request)
    status = 422 if {"name_form", "email_form"} & context.keys() else 200
    kinds = list(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    about = {
        "name_form": NameForm(instance=user),
        "email_form": EmailForm(),
        "with_mail": mail.has_mail(),
        "with_password": settings.LOCAL_PASSWORDS and user.has_usable_password(),
        "with_app": Authenticator.Type.TOTP in kinds,
        "passkeys": kinds.count(Authenticator.Type.WEBAUTHN),
        "sign_ins": SignIn.objects.filter(user=user)[:100],
        "session_key": request.session.session_key,
        "groups": user.groups.order_by("name"),
    }
    return render(request, "people/account.html", {**about, **context}, status=status)


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - LoginRequiredMiddleware sees to it
    return request.user


def _next(request: HttpRequest) -> str:
    return request.POST.get("next") or request.GET.get("next") or ""


def _note_wait(response: HttpResponse, error: TooSoon) -> HttpResponse:
    response.status_code = 429
    response.headers["Retry-After"] = str(int(error.wait.total_seconds()) + 1)
    return response

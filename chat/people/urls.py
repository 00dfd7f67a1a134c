"""The addresses of accounts. The names without `people:` are those that django-allauth asks for."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import import_string

from chat.people import second_factors, views

View = Callable[..., HttpResponseBase]


def later(name: str, *, public: bool = False) -> View:
    """Return a view of django-allauth that is imported when it is first asked for: some bring much along."""

    @views.reads_and_writes
    @second_factors.in_words
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = import_string(f"allauth.{name}")(request, *args, **kwargs)
        return response

    return login_not_required(view) if public else view


sign_out = login_not_required(LogoutView.as_view(http_method_names=["post"]))  # also for whoever is half-way in

own: list[URLPattern | URLResolver] = [
    path("", views.account, name="account"),
    path("name/", views.account_name, name="account_name"),
    path("email/", views.account_email, name="account_email"),
    path("email/<str:token>/", views.account_address, name="account_address"),
    path("sessions/end/", views.sessions_end, name="sessions_end"),
    path("sessions/<int:sign_in>/end/", views.session_end, name="session_end"),
    path("invitation/<str:token>/", views.invitation_accept, name="invitation_accept"),
    path("signup/", views.sign_up, name="sign_up"),
    path("signup/<str:token>/", views.sign_up_finish, name="sign_up_finish"),
    path("password/reset/", views.password_reset, name="password_reset"),
    path("password/reset/<str:uidb64>/<str:token>/", views.PasswordReset.as_view(), name="password_choose"),
]

factors = [
    path("", later("mfa.base.views.index"), name="mfa_index"),
    path("code/", later("mfa.base.views.authenticate", public=True), name="mfa_authenticate"),
    path("again/", later("mfa.base.views.reauthenticate"), name="mfa_reauthenticate"),
    path("app/add/", later("mfa.totp.views.activate_totp"), name="mfa_activate_totp"),
    path("app/remove/", later("mfa.totp.views.deactivate_totp"), name="mfa_deactivate_totp"),
    path("codes/", later("mfa.recovery_codes.views.view_recovery_codes"), name="mfa_view_recovery_codes"),
    path("codes/new/", later("mfa.recovery_codes.views.generate_recovery_codes"), name="mfa_generate_recovery_codes"),
    path(
        "codes/download/", later("mfa.recovery_codes.views.download_recovery_codes"), name="mfa_download_recovery_codes"
    ),
    path("passkeys/", later("mfa.webauthn.views.list_webauthn"), name="mfa_list_webauthn"),
    path("passkeys/add/", later("mfa.webauthn.views.add_webauthn"), name="mfa_add_webauthn"),
    path("passkeys/again/", later("mfa.webauthn.views.reauthenticate_webauthn"), name="mfa_reauthenticate_webauthn"),
    path("passkeys/<int:pk>/name/", later("mfa.webauthn.views.edit_webauthn"), name="mfa_edit_webauthn"),
    path("passkeys/<int:pk>/remove/", later("mfa.webauthn.views.remove_webauthn"), name="mfa_remove_webauthn"),
]

if settings.LOCAL_PASSWORDS:
    login_by_passkey = later("mfa.webauthn.views.login_webauthn", public=True)
    factors.append(path("passkeys/login/", login_by_passkey, name="mfa_login_webauthn"))

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", views.sign_in, name="login"),
    path("login/", views.sign_in, name="account_login"),
    path("logout/", sign_out, name="logout"),
    path("logout/", sign_out, name="account_logout"),
    path("password/", views.password_change, name="account_change_password"),
    path("again/", later("account.views.reauthenticate"), name="account_reauthenticate"),
    path("factors/", include(factors)),
    path("", include((own, "people"))),
]

if settings.OIDC_ISSUER:
    from chat.people import oidc_views

    urlpatterns += [
        path("oidc/login/", oidc_views.begin, name="oidc_begin"),
        path("oidc/login/callback/", oidc_views.finish, {"provider_id": "oidc"}, name="openid_connect_callback"),
        path("oidc/cancelled/", oidc_views.cancelled, name="socialaccount_login_cancelled"),
    ]

if settings.SAML_METADATA:
    from chat.people import saml_views

    urlpatterns += [
        path("saml/login/", saml_views.begin, name="saml_begin"),
        path("saml/acs/", saml_views.receive, name="saml_receive"),
        path("saml/finish/<str:token>/", saml_views.finish, name="saml_finish"),
        path("saml/metadata/", saml_views.metadata, name="saml_metadata"),
    ]

"""What people send about themselves."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from django import forms
from django.contrib.auth.forms import SetPasswordForm, UserCreationForm, UsernameField
from django.http import HttpRequest, HttpResponse

from chat.models import User
from chat.people.tries import TooSoon

NOT_RIGHT = "This name, or this password, is not right. Look at both, and try again."


class SignInForm(forms.Form):
    """A username or an e-mail address, and a password. It never says which of them was wrong."""

    username = UsernameField(
        label="Username or e-mail", max_length=254, widget=forms.TextInput(attrs={"autofocus": True})
    )
    password = forms.CharField(
        strip=False, max_length=4_096, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, *args: Any, request: HttpRequest | None = None, **kwargs: Any) -> None:  # those of forms.Form
        super().__init__(*args, **kwargs)
        self._request = request
        self.user: User | None = None

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            self.user = get_adapter().authenticate(self._request, **self.cleaned_data)
            if self.user is None:
                raise forms.ValidationError(NOT_RIGHT)
        return self.cleaned_data

    @property
    def too_soon(self) -> TooSoon | None:
        """What keeps this form from being tried now, if anything does."""
        errors = self.errors.get("__all__")
        found = errors.as_data() if errors else []
        return next((error for error in found if isinstance(error, TooSoon)), None)

    def login(self, request: HttpRequest, redirect_url: str | None = None) -> HttpResponse:
        """Sign in, unless a second factor comes first."""
        login = Login(user=self.user, redirect_url=redirect_url)
        return perform_password_login(request, {"username": self.cleaned_data["username"]}, login)


class AccountForm(UserCreationForm):
    """A new account, for whoever holds a link."""

    class Meta:
        model = User
        fields = ("username",)
        help_texts = {"username": "Letters, digits and . + - _"}

    def clean_username(self) -> str:
        username: str = super().clean_username()
        if "@" in username:  # or somebody could be called as another one's address is
            raise forms.ValidationError("Leave out the @. You can sign in with your e-mail address anyway.")
        return username


class NameForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name")

    def save(self, commit: bool = True) -> User:
        """Save the names alone: somebody may be switched off, or lose a rank, at this very moment."""
        user: User = super().save(commit=False)
        user.save(update_fields=self.Meta.fields)
        return user


class EmailForm(forms.Form):
    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.strip()


class NewPasswordForm(SetPasswordForm):
    """A new password, for whoever holds a link."""

    def save(self, commit: bool = True) -> User:
        """Save the password alone, for the same reason as a name."""
        user: User = super().save(commit=False)
        user.save(update_fields=["password"])
        return user


class PasswordForm(NewPasswordForm):
    """A new password, for whoever knows the old one."""

    old_password = forms.CharField(
        label="Your password now",
        strip=False,
        max_length=4_096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )
    field_order = ["old_password", "new_password1", "new_password2"]

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if not get_adapter().reauthenticate(self.user, password):
            raise forms.ValidationError("This is not your password. Try again.")
        return password

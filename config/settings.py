"""Every setting, read from the environment; `docs/settings.md` has the table."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import telemetry
from config.environment import Environment, make_folder, make_key, read_or_make, secret
from config.forwarded import OURS_AND_PRIVATE, networks
from config.logs import LEVELS, RENDERERS, logging_config
from config.saml import identity_provider

env = Environment()

BASE_DIR = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------- where things are kept

DATA_DIR = (BASE_DIR / (env.str("PARLEY_DATA_DIR", "") or "var")).resolve()
make_folder(DATA_DIR, "PARLEY_DATA_DIR")

MEDIA_ROOT = DATA_DIR / "media"
STATIC_ROOT = Path(env.str("PARLEY_STATIC_DIR", "") or DATA_DIR / "static").resolve()
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# WhiteNoise warns of a missing folder, and a new data folder has none before the first collectstatic.
make_folder(STATIC_ROOT, "PARLEY_STATIC_DIR")

SECRET_KEY = secret("SECRET_KEY") or read_or_make(DATA_DIR / "secret-key")
# The first encrypts what the database must not tell, all of them decrypt; separated by commas.
ENCRYPTION_KEYS = (secret("PARLEY_ENCRYPTION_KEY") or read_or_make(DATA_DIR / "encryption-key", make_key)).split(",")

# ---------------------------------------------------------------- address

HOST = env.str("PARLEY_HOST", "127.0.0.1")
PORT = env.int("PARLEY_PORT", 8000)
DEBUG = env.bool("PARLEY_DEBUG", False)
# The names of this machine itself always work; a team's own names are listed by whoever hosts it.
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.list("PARLEY_ALLOWED_HOSTS", default=[])]
if HOST not in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
    ALLOWED_HOSTS.append(HOST)
CSRF_TRUSTED_ORIGINS = env.list("PARLEY_TRUSTED_ORIGINS", default=[])
BEHIND_TLS = env.bool("PARLEY_BEHIND_TLS", False)
# Whose `X-Forwarded-…` is believed; of nobody's where there is no proxy.
PROXIES = networks(env.list("PARLEY_PROXIES", default=OURS_AND_PRIVATE if BEHIND_TLS else []))
# Where the world reaches this site: hosts of models send their webhooks there.
PUBLIC_URL = env.str("PARLEY_PUBLIC_URL", "").rstrip("/")
if PUBLIC_URL:
    if not (PUBLIC_URL.startswith("https://") and (public_host := urlsplit(PUBLIC_URL).hostname)):
        raise ImproperlyConfigured(
            "PARLEY_PUBLIC_URL must be an https address such as https://chat.example.org: webhooks go to no other."
        )
    ALLOWED_HOSTS.append(public_host)

# ---------------------------------------------------------------- application

INSTALLED_APPS = [
    "chat.people.admin_app.AdminConfig",  # Django's admin, with our way in
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "predictions",
    "chat",
    "chat.people",
]

MIDDLEWARE = [
    "chat.walls.closed_doors",  # these three first: what answers further down, static files too, has their headers
    "django.middleware.security.SecurityMiddleware",
    "chat.walls.PolicyMiddleware",
    "config.storage.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "chat.walls.own_forms",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "chat.people.middleware.WatchSessions",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "chat.middleware.private_pages",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chat.theme.chosen",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["config.formats"]
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---------------------------------------------------------------- database

SQLITE_OPTIONS = {
    # Writers queue instead of failing half-way, readers never wait: 1.8 ms a commit instead of 13.9 ms.
    "transaction_mode": "IMMEDIATE",
    "timeout": 10,  # seconds a writer waits for its turn
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
}

DATABASES = {"default": env.db_url_config(secret("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if not DATABASES["default"].get("ENGINE"):
    raise ImproperlyConfigured(
        "DATABASE_URL is no address of a database. One looks like postgres://user:password@host/name"
    )
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = SQLITE_OPTIONS
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # A database that is away is told within seconds and noticed soon after it is back; a process that was stopped in
    # the middle of a transaction does not hold up the others.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 3,  # seconds
        "tcp_user_timeout": 10_000,  # milliseconds without a sign from the other host
        "options": "-c idle_in_transaction_session_timeout=10s -c lock_timeout=10s",
        **DATABASES["default"].get("OPTIONS", {}),
        "pool": {"min_size": 1, "max_size": 20, "timeout": 4, "reconnect_timeout": 2},  # seconds
    }

REDIS_URL = secret("REDIS_URL")

# ---------------------------------------------------------------- people

AUTH_USER_MODEL = "chat.User"
AUTHENTICATION_BACKENDS = ["chat.people.backend.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOCAL_PASSWORDS = env.bool("PARLEY_LOCAL_PASSWORDS", True)
SECOND_FACTOR = env.str("PARLEY_SECOND_FACTOR", "optional")  # for whoever enters the admin
if SECOND_FACTOR not in {"optional", "admins"}:
    raise ImproperlyConfigured(f"PARLEY_SECOND_FACTOR is {SECOND_FACTOR!r}; it may be optional or admins.")
SESSION_IDLE = timedelta(hours=env.float("PARLEY_SESSION_IDLE", 336))
SESSION_LIMIT = timedelta(hours=env.float("PARLEY_SESSION_LIMIT", 2160))
if not timedelta() < SESSION_IDLE <= SESSION_LIMIT:
    raise ImproperlyConfigured("PARLEY_SESSION_IDLE must be hours above 0, and at most those of PARLEY_SESSION_LIMIT.")
SESSION_COOKIE_AGE = int(SESSION_IDLE.total_seconds())
PASSWORD_RESET_TIMEOUT = 24 * 3600  # seconds; also of the links that admins make
SIGNUP_DOMAINS = [domain.strip().lower() for domain in env.list("PARLEY_SIGNUP_DOMAINS", default=[])]

EMAIL_URL = secret("EMAIL_URL")
if EMAIL_URL:
    vars().update(env.email_url_config(EMAIL_URL))
EMAIL_TIMEOUT = 10  # seconds that a person waits for a mail server
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("PARLEY_MAIL_FROM", "Parley <parley@localhost>")
if SIGNUP_DOMAINS and not EMAIL_URL:
    raise ImproperlyConfigured("PARLEY_SIGNUP_DOMAINS needs EMAIL_URL: addresses are checked by mail.")

# The rising waits (chat/people/tries.py) and the links by which accounts are made are Parley's own.
ACCOUNT_ADAPTER = "chat.people.adapters.AccountAdapter"
ACCOUNT_RATE_LIMITS = False
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900  # seconds for which a password that was typed is good for changes of the account
MFA_ADAPTER = "chat.people.adapters.MFAAdapter"
MFA_RATE_LIMITS = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = LOCAL_PASSWORDS  # else the issuer alone decides who comes in
MFA_WEBAUTHN_USER_VERIFICATION = "required"  # a key that somebody found opens nothing by a touch, nor after a password
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Parley"
MFA_TOTP_TOLERANCE = 1  # steps of 30 seconds that a telephone's clock may be wrong
MFA_FORMS = {
    "authenticate": "chat.people.second_factors.AuthenticateForm",
    "reauthenticate": "chat.people.second_factors.ReauthenticateForm",
    "login_webauthn": "chat.people.passkeys.LoginForm",
    "authenticate_webauthn": "chat.people.passkeys.AuthenticateForm",
    "reauthenticate_webauthn": "chat.people.passkeys.ReauthenticateForm",
    "add_webauthn": "chat.people.passkeys.AddForm",
}

OIDC_ISSUER = env.str("PARLEY_OIDC_ISSUER", "").rstrip("/")
OIDC_NAME = env.str("PARLEY_OIDC_NAME", "single sign-on")
# Beside the issuer's own: where some have their tokens, or what they know about people.
OIDC_HOSTS = env.list("PARLEY_OIDC_HOSTS", default=[])
OIDC_GROUPS_CLAIM = env.str("PARLEY_OIDC_GROUPS_CLAIM", "")
OIDC_ADMIN_GROUP = env.str("PARLEY_OIDC_ADMIN_GROUP", "")
SAML_METADATA = env.str("PARLEY_SAML_METADATA", "")
SAML_NAME = env.str("PARLEY_SAML_NAME", "single sign-on")
# Always the same, whatever address Parley is reached at: an assertion for another site is none for this one.
SAML_ENTITY_ID = env.str("PARLEY_SAML_ENTITY_ID", "") or (PUBLIC_URL and f"{PUBLIC_URL}/accounts/saml/metadata/")
SAML_TRUST_EMAIL = env.bool("PARLEY_SAML_TRUST_EMAIL", False)
SAML_GROUPS_ATTRIBUTE = env.str("PARLEY_SAML_GROUPS_ATTRIBUTE", "")
SAML_ADMIN_GROUP = env.str("PARLEY_SAML_ADMIN_GROUP", "")
SOCIALACCOUNT_ADAPTER = "chat.people.vouching.SocialAccountAdapter"
SOCIALACCOUNT_PROVIDERS = {}
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = True  # the page's CSP would stop a form that leads elsewhere
if OIDC_ISSUER:
    issuer = urlsplit(OIDC_ISSUER)
    if issuer.scheme != "https" and issuer.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ImproperlyConfigured(
            "PARLEY_OIDC_ISSUER must be an https address such as https://login.example.org/team."
        )
    INSTALLED_APPS.append("allauth.socialaccount.providers.openid_connect")
    oidc = {"provider_id": "oidc", "name": OIDC_NAME, "settings": {"server_url": OIDC_ISSUER}}
    oidc |= {"client_id": env.str("PARLEY_OIDC_CLIENT_ID"), "secret": secret("PARLEY_OIDC_CLIENT_SECRET")}
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {"APPS": [oidc], "OAUTH_PKCE_ENABLED": True}
if SAML_METADATA:
    if not SAML_ENTITY_ID:
        raise ImproperlyConfigured(
            "PARLEY_SAML_METADATA needs PARLEY_SAML_ENTITY_ID, what this Parley is called at the provider,"
            " or PARLEY_PUBLIC_URL, which it is called after otherwise."
        )
    SAML_PROVIDER = identity_provider(Path(SAML_METADATA))
    INSTALLED_APPS.append("allauth.socialaccount.providers.saml")
    saml = {"provider_id": SAML_PROVIDER.entity_id, "client_id": "saml", "name": SAML_NAME}
    read = ("uid", "email", "username", "first_name", "last_name")  # as chat/people/saml.py calls them already
    SOCIALACCOUNT_PROVIDERS["saml"] = {"APPS": [saml | {"settings": {"attribute_mapping": {n: n for n in read}}}]}
if not (LOCAL_PASSWORDS or OIDC_ISSUER or SAML_METADATA):
    raise ImproperlyConfigured(
        "PARLEY_LOCAL_PASSWORDS is false, and neither PARLEY_OIDC_ISSUER nor PARLEY_SAML_METADATA is set:"
        " nobody could sign in."
    )

# ---------------------------------------------------------------- walls

DEFAULT_EXCEPTION_REPORTER_FILTER = "chat.walls.ReportFilter"  # of the pages that PARLEY_DEBUG shows

SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # No other site under the same domain can set these.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    SECURE_HSTS_SECONDS = 31_536_000  # a year
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^health/", "^metrics$"]  # asked from within the machine or its network
# Whether browsers are told of a domain ahead of all visits is for whoever owns it to say.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "media-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-src": ["'self'"],  # diagrams; what is in that frame has no origin and a policy of its own
        "manifest-src": ["'self'"],
        "object-src": ["'none'"],
        "worker-src": ["'none'"],  # it would fall back to `script-src`
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        # Text becomes nodes in two places: static/js/markup.js, and DOMPurify.
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["parley", "dompurify"],
        "upgrade-insecure-requests": BEHIND_TLS,
    },
}

# ---------------------------------------------------------------- models and their hosts

ENVIRONMENT = env.str("PARLEY_ENVIRONMENT", "production")  # whose pins count: production, staging, development
REPLICATE_API_TOKEN = secret("REPLICATE_API_TOKEN")
REPLICATE_BASE_URL = env.str("PARLEY_REPLICATE_URL", "https://api.replicate.com/v1")
REPLICATE_MODELS = env.list(
    "PARLEY_REPLICATE_MODELS",
    default=["meta/meta-llama-3-8b-instruct", "meta/meta-llama-3-70b-instruct"],
)
# Where `urls.stream` may point: these hosts and what is under them.
REPLICATE_STREAM_HOSTS = env.list("PARLEY_REPLICATE_STREAM_HOSTS", default=["replicate.com", "replicate.net"])
# Where files that models made may be fetched from: these hosts and what is under them.
REPLICATE_FILE_HOSTS = env.list(
    "PARLEY_REPLICATE_FILE_HOSTS", default=["replicate.delivery", "replicate.com", "replicate.net"]
)
FILE_LIMIT = env.int("PARLEY_FILE_LIMIT", 100_000_000)  # bytes of one file, of a question or an answer
MESSAGE_LIMIT = env.int("PARLEY_MESSAGE_LIMIT", 32_000)  # characters of one question
# What one person may ask; 0 is no limit. Those of a day, and the switch, are set in the admin.
MESSAGES_PER_MINUTE = env.int("PARLEY_MESSAGES_PER_MINUTE", 30)
ANSWERS_AT_ONCE = env.int("PARLEY_ANSWERS_AT_ONCE", 10)
COG_SERVERS = env.dict("PARLEY_COG_SERVERS", default={})  # name=url, comma separated

# ---------------------------------------------------------------- files served, logs, figures

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.storage.ModuleStaticFilesStorage"},
}

LOG_FORMAT = env.str("PARLEY_LOG_FORMAT", "text")
if LOG_FORMAT not in RENDERERS:
    raise ImproperlyConfigured(f"PARLEY_LOG_FORMAT is {LOG_FORMAT!r}; it may be {' or '.join(RENDERERS)}.")
LOG_LEVEL = env.str("PARLEY_LOG_LEVEL", "").upper()
if LOG_LEVEL not in {"", *LEVELS}:
    raise ImproperlyConfigured(f"PARLEY_LOG_LEVEL is {LOG_LEVEL!r}; it may be {', '.join(LEVELS)}.")
LOGGING = logging_config(LOG_FORMAT, level=LOG_LEVEL or "WARNING", own_level=LOG_LEVEL or "INFO")
SENTRY_DSN = secret("SENTRY_DSN")
OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "")
telemetry.set_up_sentry(SENTRY_DSN, environment=ENVIRONMENT)
telemetry.set_up_tracing(OTLP_ENDPOINT)
METRICS_TOKEN = secret("PARLEY_METRICS_TOKEN")  # what Prometheus shows to read `/metrics`

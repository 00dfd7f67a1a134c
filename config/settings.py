"""Every setting, read from the environment; `docs/settings.md` has the table."""

from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from config import telemetry
from config.environment import make_key, read_or_make, secret
from config.forwarded import OURS_AND_PRIVATE, networks
from config.logs import RENDERERS, logging_config

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------- where things are kept

DATA_DIR = (BASE_DIR / env.str("PARLEY_DATA_DIR", "var")).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

MEDIA_ROOT = DATA_DIR / "media"
STATIC_ROOT = Path(env.str("PARLEY_STATIC_DIR", str(DATA_DIR / "static"))).resolve()
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# WhiteNoise warns of a missing folder, and a new data folder has none before the first collectstatic.
STATIC_ROOT.mkdir(exist_ok=True)

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
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "predictions",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
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

# ---------------------------------------------------------------- walls

SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

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
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
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
COG_SERVERS = env.dict("PARLEY_COG_SERVERS", default={})  # name=url, comma separated

# ---------------------------------------------------------------- files served, logs, figures

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.storage.ModuleStaticFilesStorage"},
}

LOG_FORMAT = env.str("PARLEY_LOG_FORMAT", "text")
if LOG_FORMAT not in RENDERERS:
    raise ImproperlyConfigured(f"PARLEY_LOG_FORMAT is {LOG_FORMAT!r}; it may be {' or '.join(RENDERERS)}.")
LOGGING = logging_config(
    LOG_FORMAT,
    level=env.str("PARLEY_LOG_LEVEL", "WARNING"),
    own_level=env.str("PARLEY_LOG_LEVEL", "INFO"),
)
SENTRY_DSN = secret("SENTRY_DSN")
OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "")
telemetry.set_up_sentry(SENTRY_DSN, environment=ENVIRONMENT)
telemetry.set_up_tracing(OTLP_ENDPOINT)
METRICS_TOKEN = secret("PARLEY_METRICS_TOKEN")  # what Prometheus shows to read `/metrics`

"""Settings of the whole house; everything an operator may change is read from the environment here."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from deepfake import environment as env
from deepfake.keys import new_secret_key, read_or_create

BASE_DIR = Path(__file__).resolve().parent.parent
TESTING = "pytest" in sys.modules
DEBUG = env.boolean("DEBUG", False)

# Data directory -------------------------------------------------------------------------------------------------------
# Database, encrypted media, keys and spooled uploads. Tests never touch the one of an installation.
DATA_DIR = env.directory(
    "DATA_DIR", Path(tempfile.gettempdir()) / f"deepfake-tests-{os.getpid()}" if TESTING else BASE_DIR / "var"
)
KEYS_DIR = DATA_DIR / "keys"
MASTER_KEY_FILE = Path(env.text("MASTER_KEY_FILE", str(KEYS_DIR / "master.key")))
# Blank: report_signing.pem and report_public_keys/ in DATA_DIR/keys, made by reports.signing at the first report.
REPORT_SIGNING_KEY_FILE = env.text("REPORT_SIGNING_KEY_FILE")
REPORT_PUBLIC_KEYS_DIR = env.text("REPORT_PUBLIC_KEYS_DIR")
SPOOL_DIR = DATA_DIR / "tmp"
STATIC_ROOT = DATA_DIR / "static"
for _folder in (KEYS_DIR, SPOOL_DIR, STATIC_ROOT):
    _folder.mkdir(mode=0o700, exist_ok=True)

# Server ---------------------------------------------------------------------------------------------------------------
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, low=1, high=65535)
HTTPS = env.boolean("HTTPS", False)  # whether browsers reach us over TLS, ended by a proxy in front
TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, low=0, high=5)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", "testserver"])
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
PUBLIC_URL = env.text("PUBLIC_URL", f"http://{HOST}:{PORT}").rstrip("/")  # in links that leave in callbacks
SECRET_KEY = env.text("SECRET_KEY") or read_or_create(KEYS_DIR / "secret_key", new_secret_key).decode()
STOP_GRACE_S = env.integer("STOP_GRACE_S", 7, low=0, high=600)  # how long a running job may go on after SIGTERM
ROOT_URLCONF = "deepfake.urls"
ASGI_APPLICATION = "deepfake.asgi.application"

# Uploads --------------------------------------------------------------------------------------------------------------
MAX_UPLOAD_BYTES = env.integer("MAX_UPLOAD_BYTES", 500_000_000, low=1_000_000, high=10_000_000_000)
MAX_BODY_BYTES = 12_000_000  # bodies that are not multipart: JSON, forms without files
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 100
FILE_UPLOAD_TEMP_DIR = SPOOL_DIR
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# Analysis -------------------------------------------------------------------------------------------------------------
WORKER_THREADS = env.integer("WORKER_THREADS", 1, low=1, high=32)
ENGINE_THREADS = env.integer("ENGINE_THREADS", 0, low=0, high=256)  # 0: as many as the machine has cores
MAX_DURATION_S = env.integer("MAX_DURATION_S", 600, low=1, high=36_000)
FETCH_ALLOW_PRIVATE = env.boolean("FETCH_ALLOW_PRIVATE", False)  # for tests: lets URL fetch reach private addresses
FETCH_PORTS = [int(port) for port in env.names("FETCH_PORTS", ["80", "443"]) if port.isdigit()]
FETCH_TIMEOUT_S = env.integer("FETCH_TIMEOUT_S", 120, low=1, high=3600)
MAX_IMAGE_BYTES = env.integer("MAX_IMAGE_BYTES", 20_000_000, low=1_000_000, high=1_000_000_000)
JOB_DEADLINE_S = env.integer("JOB_DEADLINE_S", 600, low=10, high=36_000)

# Apps -----------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_q",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "deepfake",
    "accounts",
    "detection",
    "review",
    "reports",
]
MIDDLEWARE = [
    "deepfake.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "deepfake.middleware.PermissionsPolicyMiddleware",
    "deepfake.middleware.BodyLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "deepfake.middleware.DomainErrorMiddleware",
]
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
            ],
        },
    },
]
# SQLite cannot enforce that shipped threshold profiles (no organisation) have unique names; one migration writes them.
SILENCED_SYSTEM_CHECKS = ["models.W047"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Database, cache, channels --------------------------------------------------------------------------------------------
DATABASES = {"default": env.database("DATABASE_URL", DATA_DIR)}
REDIS_URL = env.redis_url("REDIS_URL")
CHANNEL_LAYERS: dict[str, Any]
CACHES: dict[str, Any]
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}},
    }
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# Queue ----------------------------------------------------------------------------------------------------------------
# The queue is a bell (deepfake/worker.py): `retry` is when a bell that a killed worker took rings again.
Q_CLUSTER = {
    "name": "deepfake",
    "orm": "default",
    "workers": WORKER_THREADS,
    "timeout": 60,
    "retry": 90,
    "bulk": 1,
    "poll": 0.2,
    "catch_up": False,
    "max_attempts": 3,
}

# Files ----------------------------------------------------------------------------------------------------------------
# Everything written here is encrypted by deepfake.storage. Wrapped keys lie apart from the objects they open, so that
# backups of media can leave them out.
OBJECT_STORE = env.object_store("STORAGE_URL")
if OBJECT_STORE:
    _s3 = {"default_acl": None, "file_overwrite": False, "querystring_auth": True, **OBJECT_STORE}
    _objects: dict[str, Any] = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": _s3}
else:
    _objects = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "objects"}}
STORAGES = {
    "default": _objects,
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING or DEBUG
        else "deepfake.staticfiles.HashedStaticFilesStorage",
    },
}
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = TESTING or DEBUG

# Accounts and sign-in -------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "detection:analyses"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "20/m/ip,5/5m/key"}
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

# Browser security -----------------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "media-src": [SELF, "blob:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "worker-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
PERMISSIONS_POLICY = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "deepfake.error_views.csrf_failure"
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# API ------------------------------------------------------------------------------------------------------------------
API_READS_PER_MINUTE = env.integer("API_READS_PER_MINUTE", 1200, low=1, high=1_000_000)  # per key or member
API_WRITES_PER_MINUTE = env.integer("API_WRITES_PER_MINUTE", 600, low=1, high=1_000_000)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.MemberSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.MultiPartParser",
        "rest_framework.parsers.FormParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "deepfake.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "deepfake.api_errors.problem_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Deepfake detection API",
    "DESCRIPTION": "Analyses pictures, video and voice recordings and says how likely they were manipulated, and why.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Language, time, logs -------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "deepfake.request_id.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # every passing scanner; answered with 400
        "PIL": {"level": "WARNING"},
        "fontTools": {"level": "WARNING"},
        "weasyprint": {"level": "ERROR"},
    },
}

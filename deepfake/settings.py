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
# Instead of the file: 32 bytes in base64, and those before it, separated by commas, until rotate_master_key has passed.
MASTER_KEY = env.text("MASTER_KEY")
MASTER_KEYS_OLD = env.names("MASTER_KEYS_OLD", [])
MASTER_KEY_KMS = env.text("MASTER_KEY_KMS")  # dotted path of a class that wraps the master key; see docs/privacy.md
# Blank: report_signing.pem and report_public_keys/ in DATA_DIR/keys, made by deepfake.signing at the first signature.
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
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
# In whatever leaves the house: e-mails, callbacks, reports, the ways of single sign-on.
PUBLIC_URL = env.text("PUBLIC_URL", f"http://{HOST}:{PORT}").rstrip("/")
SECRET_KEY = env.text("SECRET_KEY") or read_or_create(KEYS_DIR / "secret_key", new_secret_key).decode()
STOP_GRACE_S = env.integer("STOP_GRACE_S", 7, low=0, high=600)  # how long a running job may go on after SIGTERM
ROOT_URLCONF = "deepfake.urls"
ASGI_APPLICATION = "deepfake.asgi.application"

# Uploads --------------------------------------------------------------------------------------------------------------
MAX_UPLOAD_BYTES = env.integer("MAX_UPLOAD_BYTES", 500_000_000, low=1_000_000, high=10_000_000_000)
MAX_BODY_BYTES = 12_000_000  # bodies without a file where files or long lists are taken: JSON, forms
MAX_OTHER_BODY_BYTES = 2_000_000  # everywhere else, and of whoever names neither key nor session
# Bodies that this process receives at the same time, all together; also never more than half of the free disk.
MAX_RECEIVING_BYTES = env.integer("MAX_RECEIVING_BYTES", 5_000_000_000, low=1_000_000, high=10_000_000_000_000)
HEAD_WITHIN_S = 20  # the head of a request comes within this time
# A body comes at this rate at least, over each such span after the first; whatever is slower is cut off.
BODY_RATE_BYTES_PER_S = 1000
BODY_RATE_OVER_S = 30
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

# Webhooks -------------------------------------------------------------------------------------------------------------
WEBHOOK_LOG_DAYS = env.integer("WEBHOOK_LOG_DAYS", 30, low=1, high=3650)
WEBHOOK_OFF_AFTER_DAYS = env.integer("WEBHOOK_OFF_AFTER_DAYS", 5, low=1, high=365)  # of nothing but failures

# Apps -----------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "deepfake.admin_site.HouseAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "django_q",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "allauth.mfa",
    "allauth.idp.oidc",
    "deepfake",
    "accounts",
    "detection",
    "review",
    "reports",
]
BROWSER_MIDDLEWARE = [  # what it tells browsers, the server's own answers tell them, too (deepfake.browser_headers)
    "deepfake.middleware.BrowserSecurityMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MIDDLEWARE = [
    "deepfake.middleware.RequestIdMiddleware",
    "deepfake.observing.ObservingMiddleware",
    *BROWSER_MIDDLEWARE,
    "deepfake.middleware.StaticFilesMiddleware",
    "accounts.cors.CorsMiddleware",
    "deepfake.middleware.BodyLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sign_in_middleware.SignInMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "deepfake.middleware.NoNulMiddleware",
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
DATABASE_POOL = env.integer("DATABASE_POOL", 20, low=4, high=1000)  # connections to PostgreSQL that one process holds
DATABASES = {"default": env.database("DATABASE_URL", DATA_DIR, pool=0 if TESTING else DATABASE_POOL)}
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
WHITENOISE_ALLOW_ALL_ORIGINS = False  # no other site needs them
WHITENOISE_USE_FINDERS = TESTING or DEBUG

# Accounts and sign-in -------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.MemberBackend"]
# By OWASP ASVS 5, 6.2: length, a list of stolen passwords, words of the context; no rules about kinds of characters.
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "accounts.sign_in_passwords.LongestPasswordValidator"},
    {"NAME": "accounts.sign_in_passwords.ContextWordsValidator"},
    {"NAME": "accounts.sign_in_passwords.CommonPasswordValidator"},
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
# Failed sign-ins are counted by accounts.sign_in_throttle, in the database; these limits bound the load besides.
ACCOUNT_RATE_LIMITS = {"login": "120/m/ip", "login_failed": "120/m/ip,30/5m/key"}
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT
MFA_ADAPTER = "accounts.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # administrators enter the addresses
MFA_TOTP_TOLERANCE = 1  # a clock may be half a minute off
MFA_RECOVERY_CODE_DIGITS = 10
MFA_FORMS = {
    "authenticate": "accounts.sign_in_forms.CodeForm",
    "reauthenticate": "accounts.sign_in_forms.ReauthenticateCodeForm",
    "activate_totp": "accounts.sign_in_forms.ActivateAppForm",
    "authenticate_webauthn": "accounts.sign_in_forms.PasskeyForm",
    "login_webauthn": "accounts.sign_in_forms.PasskeySignInForm",
    "reauthenticate_webauthn": "accounts.sign_in_forms.ReauthenticatePasskeyForm",
    "add_webauthn": "accounts.sign_in_forms.AddPasskeyForm",
    "edit_webauthn": "accounts.sign_in_forms.RenamePasskeyForm",
}

# E-mail ---------------------------------------------------------------------------------------------------------------
# Unset: e-mails are printed where the server prints.
globals().update(env.email("EMAIL_URL"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "Deepfake Detection <no-reply@localhost>")
EMAIL_TIMEOUT = 10

# Audit ----------------------------------------------------------------------------------------------------------------
# Signed notes of where the audit chain stands lie in DATA_DIR/checkpoints; best also in a folder on another machine.
AUDIT_CHECKPOINT_DIR = env.text("AUDIT_CHECKPOINT_DIR")
AUDIT_HEADS = "reports.services.audit_heads"  # accounts must not import reports, which print the chain's head
AUDIT_CHECKPOINT_ROWS = env.integer("AUDIT_CHECKPOINT_ROWS", 1000, low=1, high=1_000_000)

# Single sign-on -------------------------------------------------------------------------------------------------------
SOCIALACCOUNT_ADAPTER = "accounts.sso.adapter.SsoAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = False
SOCIALACCOUNT_STORE_TOKENS = False
# Accounts must not import detection, where the SSRF-safe client lies; it is told here where to find it.
OUTGOING_REQUESTS = "detection.fetch.ask"

# OAuth 2 and OpenID Connect, as provider ------------------------------------------------------------------------------
IDP_OIDC_ADAPTER = "accounts.oauth.adapter.ProviderAdapter"
IDP_OIDC_ACCESS_TOKEN_FORMAT = "jwt"  # noqa: S105
IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN = env.integer("OAUTH_ACCESS_TOKEN_S", 900, low=60, high=86_400)
IDP_OIDC_REFRESH_TOKEN_EXPIRES_IN = env.integer("OAUTH_REFRESH_TOKEN_DAYS", 30, low=1, high=365) * 86_400
IDP_OIDC_ROTATE_REFRESH_TOKEN = True
OAUTH_GRANT_DAYS = env.integer("OAUTH_GRANT_DAYS", 180, low=1, high=3650)  # however often its tokens were exchanged

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
        **({"upgrade-insecure-requests": True} if HTTPS else {}),
    },
}
SECURITY_CONTACT = env.contact("SECURITY_CONTACT")  # where weaknesses are reported: /.well-known/security.txt
PERMISSIONS_POLICY = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()"
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = (
    7 * 24 * 3600
)  # the longest that an organisation may choose; accounts.sign_in ends sessions earlier
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True  # scripts take the token from the form
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    # By this prefix browsers hold a cookie to TLS, this very host and all paths: no neighbour can plant one.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
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
# Per key or member, by family of routes (detection/api_limits.py); an organisation's own numbers lie in its row.
API_READS_PER_MINUTE = env.integer("API_READS_PER_MINUTE", 1200, low=1, high=1_000_000)
API_WRITES_PER_MINUTE = env.integer("API_WRITES_PER_MINUTE", 600, low=1, high=1_000_000)
API_SUBMISSIONS_PER_MINUTE = env.integer("API_SUBMISSIONS_PER_MINUTE", 300, low=1, high=1_000_000)
API_REPORTS_PER_MINUTE = env.integer("API_REPORTS_PER_MINUTE", 60, low=1, high=1_000_000)
API_BURST_S = env.integer("API_BURST_S", 20, low=1, high=3600)  # what may come at once: this many seconds' worth
API_ORGANIZATION_FACTOR = env.integer("API_ORGANIZATION_FACTOR", 4, low=1, high=1000)  # all its callers together
# Jobs that may wait, of everybody and of one organisation; more are refused with the time to come again.
QUEUE_MAX_WAITING = env.integer("QUEUE_MAX_WAITING", 5000, low=1, high=1_000_000)
QUEUE_MAX_WAITING_PER_ORGANIZATION = env.integer("QUEUE_MAX_WAITING_PER_ORGANIZATION", 2500, low=1, high=1_000_000)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.oauth.authentication.AccessTokenAuthentication",
        "accounts.authentication.MemberSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "deepfake.parsers.ShallowJSONParser",
        "rest_framework.parsers.MultiPartParser",
        "rest_framework.parsers.FormParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "deepfake.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "deepfake.openapi.HouseSchema",
    "EXCEPTION_HANDLER": "deepfake.api_errors.problem_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,  # `format` is a parameter like any other
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Deepfake detection API",
    "DESCRIPTION": "Analyses pictures, video and voice recordings and says how likely they were manipulated, and why.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "deepfake.openapi.complete"],
    "ENUM_NAME_OVERRIDES": {
        "JobStatusEnum": "detection.models.JobStatus",
        "BatchStatusEnum": "detection.models.BatchStatus",
        "ReviewStateEnum": "detection.models.ReviewState",
        "UploadStateEnum": "detection.models.UploadState",
        "DeliveryStateEnum": "detection.api_webhooks.STATES",
        "KeyStateEnum": "detection.api_keys.STATES",
    },
}

# Metrics and traces ---------------------------------------------------------------------------------------------------
METRICS_TOKEN = env.text("METRICS_TOKEN")  # blank: /metrics answers this machine alone
METRICS_PORT = env.integer("METRICS_PORT", 0, low=0, high=65535)  # of `serve --role worker`, which has no web server
# The other OTEL_… variables are read by OpenTelemetry itself, where it is installed (requirements-telemetry.txt).
OTEL_EXPORTER_OTLP_ENDPOINT = "" if TESTING else env.text("OTEL_EXPORTER_OTLP_ENDPOINT")
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME", "deepfake-detection")

# Language, time, logs -------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOG_HIDES_IPS = env.boolean("LOG_HIDES_IPS", False)
LOG_FORMAT = env.choice("LOG_FORMAT", "line", ["line", "json"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "context": {"()": "deepfake.logs.ContextFilter"},
        "privacy": {"()": "deepfake.log_privacy.PrivacyFilter", "hides_ips": LOG_HIDES_IPS},
    },
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
        "json": {"()": "deepfake.logs.JsonLines"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["context", "privacy"],
        }
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": "INFO"},  # its own, of DEBUG, would print the same lines uncleaned
        "django-q": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        # One line per request: the server's own as text; as JSON the one from inside the request, which knows the ids.
        "deepfake.access": {"level": "WARNING" if LOG_FORMAT == "json" else "NOTSET"},
        "deepfake.request": {"level": "NOTSET" if LOG_FORMAT == "json" else "WARNING"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # every passing scanner; answered with 400
        "PIL": {"level": "WARNING"},
        "fontTools": {"level": "WARNING"},
        "weasyprint": {"level": "ERROR"},
    },
}

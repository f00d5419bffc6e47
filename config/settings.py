"""All settings, from the environment, with defaults that run the whole market on one machine.

Every name read here stands in `docs/settings.md`; a test compares the two.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    """A text setting; `NAME_FILE` names a file that holds it (container secrets)."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text().strip() if file else os.environ.get(name, default)


def env_bool(name: str, default: bool) -> bool:
    value = env(name, "1" if default else "0").lower()
    if value not in {"0", "1", "true", "false", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {value!r}")
    return value in {"1", "true", "yes"}


def env_int(name: str, default: int) -> int:
    value = env(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}") from None


def env_amounts(name: str, default: str) -> tuple[float, ...]:
    value = env(name, default)
    try:
        amounts = tuple(float(each) for each in value.split(",") if each.strip())
    except ValueError:
        amounts = (-1.0,)
    if not all(0 <= each < float("inf") for each in amounts):
        raise ImproperlyConfigured(f"{name} must be amounts with commas between them, none negative, not {value!r}")
    return amounts


def database_from(url: str) -> dict[str, Any]:
    """A `postgresql://user:password@host:port/name?option=value` URL as Django's dictionary."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://")
    options: dict[str, Any] = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    pooled = env_int("GRIDFARE_DATABASE_POOL", 0)
    if pooled:
        options["pool"] = {"min_size": min(2, pooled), "max_size": pooled, "timeout": 10}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(options.pop("host", parts.hostname or "")),
        "PORT": str(options.pop("port", parts.port or "")),
        "CONN_MAX_AGE": 0 if pooled else None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
        "TEST": {"NAME": env("TEST_DATABASE_NAME") or None},
    }


DATA_DIR = Path(env("GRIDFARE_DATA", str(BASE_DIR / ".gridfare")))
DATABASE_URL = env("DATABASE_URL")
REDIS_URL = env("REDIS_URL")
if not (DATABASE_URL and REDIS_URL):
    # Without servers of the operator's own, the embedded ones are found, or started, beside the data.
    from core.embedded import ensure

    _urls = ensure(DATA_DIR)
    DATABASE_URL, REDIS_URL = DATABASE_URL or _urls.database_url, REDIS_URL or _urls.redis_url

DEBUG = env_bool("GRIDFARE_DEBUG", False)
PRODUCTION = env_bool("GRIDFARE_PRODUCTION", False)
SECRET_KEY = env("GRIDFARE_SECRET_KEY", "" if PRODUCTION else "a-key-for-one-machine-only-" + "0" * 40)
if not SECRET_KEY:
    raise ImproperlyConfigured("GRIDFARE_SECRET_KEY must be set in production")
BASE_URL = env("GRIDFARE_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env("GRIDFARE_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver").split(",")
CSRF_TRUSTED_ORIGINS = [BASE_URL]

INSTALLED_APPS = [
    "config.admin_app.OperatorsConfig",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "marketplace",
    "scheduler",
    "metering",
    "billing",
    "index",
    "console",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.who",
            ]
        },
    }
]

DATABASES = {"default": database_from(DATABASE_URL)}
AUTH_USER_MODEL = "marketplace.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [str(one) for one in (BASE_DIR / "console/assets/public",) if one.is_dir()]  # requirements/assets.py
WHITENOISE_USE_FINDERS = not PRODUCTION
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

# Artifacts: a folder by default, any S3-compatible store by setting.
ARTIFACT_DIR = Path(env("GRIDFARE_ARTIFACT_DIR", str(DATA_DIR / "artifacts")))
ARTIFACT_BUCKET = env("GRIDFARE_S3_BUCKET")
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(ARTIFACT_DIR)}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
if ARTIFACT_BUCKET:
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": ARTIFACT_BUCKET,
            "endpoint_url": env("GRIDFARE_S3_ENDPOINT") or None,
            "access_key": env("GRIDFARE_S3_ACCESS_KEY") or None,
            "secret_key": env("GRIDFARE_S3_SECRET_KEY") or None,
            "region_name": env("GRIDFARE_S3_REGION") or None,
        },
    }
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024  # a batch of 20,000 reports is about 6 MiB

# Limits of the market.
JOIN_TOKEN_MINUTES = 15
LEASE_SECONDS = env_int("GRIDFARE_LEASE_SECONDS", 60)  # of the quickest pools; others in scheduler/lease_times.py
HEARTBEATS_PER_SECOND = env_int("GRIDFARE_HEARTBEATS_PER_SECOND", 500)  # beyond that leases grow with the fleet
LONG_POLL_SECONDS = min(25, LEASE_SECONDS // 3)  # an answer at the end of a wait must find its leases young
REGION = env("GRIDFARE_REGION")
PROBE_INTERVAL_S = env_int("GRIDFARE_PROBE_SECONDS", 600)
PROBE_BYTES = env_int("GRIDFARE_PROBE_BYTES", 1_000_000)  # that one probe of one endpoint may move
RECLAIM_NOTICE_SECONDS = env_int("GRIDFARE_RECLAIM_NOTICE_SECONDS", 300)  # programs hear of maintenance this early
ROUND_SECONDS = 0.05  # matching rounds are at least this far apart
CHUNK = 20_000  # rows that one statement of a background step moves
PLATFORM_FEE_BASIS_POINTS = env_int("GRIDFARE_PLATFORM_FEE_BASIS_POINTS", 500)
CURRENCY = "CNY"
CREDIT_LIMIT = env_int("GRIDFARE_CREDIT_LIMIT", 10_000)  # in whole units of the currency, without a contract that says otherwise
LEAST_HOLD_MICROS = env_int("GRIDFARE_LEAST_HOLD_MICROS", 100_000)  # for a task of which neither a price nor a cap is known
GRACE_DAYS = env_int("GRIDFARE_GRACE_DAYS", 3)  # a month's invoice stays a draft so long, for late usage
DUE_DAYS = env_int("GRIDFARE_DUE_DAYS", 14)  # from an invoice's issue until it is overdue
PAYOUT_HOLD_DAYS = env_int("GRIDFARE_PAYOUT_HOLD_DAYS", 7)  # shares wait so long after the customer paid
PAYOUT_MINIMUM = env_int("GRIDFARE_PAYOUT_MINIMUM", 10)  # in whole units of the currency; less waits for the next run
PAYOUT_GUARANTEED = env_bool("GRIDFARE_PAYOUT_GUARANTEED", False)  # payees do not wait for customers to pay
PAYOUT_GATEWAY = "sandbox"
PAYOUT_RESERVE_BPS = env_int("GRIDFARE_PAYOUT_RESERVE_BPS", 0)  # kept back of payouts, for payees without terms of their own
PAYOUT_RESERVE_DAYS = env_int("GRIDFARE_PAYOUT_RESERVE_DAYS", 90)  # until that is released
if not (0 <= PAYOUT_RESERVE_BPS <= 9000 and 0 <= PAYOUT_RESERVE_DAYS <= 3650):
    raise ImproperlyConfigured("GRIDFARE_PAYOUT_RESERVE_BPS is from 0 to 9000, GRIDFARE_PAYOUT_RESERVE_DAYS from 0 to 3650")
DISPUTE_DAYS = env_int("GRIDFARE_DISPUTE_DAYS", 60)  # so long after it was made a charge can be disputed
DISPUTE_ANSWER_DAYS = env_int("GRIDFARE_DISPUTE_ANSWER_DAYS", 14)  # a dispute nobody answers is then decided for the customer
SANDBOX_REFUSES = frozenset((env("GRIDFARE_SANDBOX_REFUSES") or "").split())  # payees to whom the sandbox sends nothing
INVOICE_ISSUER = env("GRIDFARE_INVOICE_ISSUER") or "GF"  # begins the numbers of invoices: GF-2026-000001
LOOK_BACK_MONTHS = env_int("GRIDFARE_LOOK_BACK_MONTHS", 2)  # late usage of older months waits for an operator's word
EXPORT_DAYS = env_int("GRIDFARE_EXPORT_DAYS", 7)  # an export's file is kept so long
EXPORT_AT_ONCE_ROWS = env_int("GRIDFARE_EXPORT_AT_ONCE_ROWS", 5_000)  # up to so many, the request that asks writes the file itself
INDEX_MAP_BYTES = env_int("GRIDFARE_INDEX_MAP_BYTES", 10 * 1024**2)  # of a map of borders that an operator brings
ISSUER_NAME = env("GRIDFARE_ISSUER_NAME") or "Gridfare"  # who invoices, in exports; ASCII
ISSUER = {  # as it stands on invoices, in the language of their readers
    "name": env("GRIDFARE_ISSUER_LEGAL_NAME") or ISSUER_NAME,
    "address": env("GRIDFARE_ISSUER_ADDRESS") or "",
    "tax_number": env("GRIDFARE_ISSUER_TAX_NUMBER") or "",
}
USAGE_ZONE = env("GRIDFARE_USAGE_ZONE") or "Asia/Shanghai"  # whose days the rollups of usage are of
STORE_REGION = env("GRIDFARE_STORE_REGION") or ""  # where the market's store is; transfers are then counted from there
PLANNER_TIME_BOX_S = float(env("GRIDFARE_PLANNER_TIME_BOX_S") or 2.0)  # for the optimum; then greedy
PLANNER_AGE_BOUND_S = env_int("GRIDFARE_PLANNER_AGE_BOUND_S", 259_200)  # a unit that waited longer goes first
MAX_ARTIFACT_BYTES = env_int("GRIDFARE_MAX_ARTIFACT_BYTES", 20 * 1024**3)
DEFAULT_QUOTA_BYTES = env_int("GRIDFARE_DEFAULT_QUOTA_BYTES", 100 * 1024**3)
REPLICA_DAYS = env_int("GRIDFARE_REPLICA_DAYS", 30)  # a copy in a region that nobody pins goes after so long
LARGE_BYTES = env_int("GRIDFARE_LARGE_BYTES", 100_000_000)  # smaller inputs follow the work wherever it goes
WEBHOOK_DAYS = env_int("GRIDFARE_WEBHOOK_DAYS", 30)  # events, deliveries and their log are kept so long
WEBHOOK_PRIVATE = env_bool("GRIDFARE_WEBHOOK_PRIVATE", False)  # endpoints may be private addresses, and http
AUTO_ACTIVATE_POOLS = env_bool("GRIDFARE_AUTO_ACTIVATE_POOLS", False)
COMMUNITY_PROVEN_LEVEL = env_int("GRIDFARE_COMMUNITY_PROVEN_LEVEL", 3)  # below, a community pool's results are compared
LEVEL_WORTH = env_amounts("GRIDFARE_LEVEL_WORTH", "10,100,1000")  # of a unit: what is dearer is compared on pools of levels 0, 1, 2

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # a message may be lost; one acknowledged after Redis restarted would end the worker (kombu)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_PUBLISH_RETRY = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 0}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
}
CELERY_DB_REUSE_MAX = 1_000_000  # without it every job makes a connection of its own; config/celery.py checks it
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_TIME_LIMIT = 300
CELERY_BEAT_SCHEDULE = {
    # Each sweep expires before the next is sent: a backlog never doubles itself.
    "match": {"task": "scheduler.match", "schedule": timedelta(seconds=1), "options": {"expires": 1}},
    "sweep": {"task": "scheduler.sweep", "schedule": timedelta(seconds=2), "options": {"expires": 2}},
    "expire": {"task": "scheduler.expire_leases", "schedule": timedelta(seconds=3), "options": {"expires": 3}},
    "measure": {"task": "metering.sweep", "schedule": timedelta(seconds=3), "options": {"expires": 3}},
    "rollup": {"task": "metering.rollup", "schedule": timedelta(seconds=30), "options": {"expires": 30}},
    "charge": {"task": "billing.sweep", "schedule": timedelta(seconds=3), "options": {"expires": 3}},
    "seal": {"task": "billing.seal", "schedule": timedelta(seconds=30), "options": {"expires": 30}},
    "close": {"task": "billing.close", "schedule": crontab(minute=10), "options": {"expires": 3000}},
    "payout": {"task": "billing.payout", "schedule": timedelta(hours=1), "options": {"expires": 3000}},
    "disputes": {"task": "billing.disputes", "schedule": crontab(minute=40), "options": {"expires": 3000}},
    "sla": {"task": "billing.sla", "schedule": crontab(minute=5), "options": {"expires": 3000}},
    "prove": {"task": "billing.prove", "schedule": crontab(hour=3, minute=0), "options": {"expires": 3600}},
    "export": {"task": "billing.export", "schedule": timedelta(seconds=10), "options": {"expires": 10}},
    "preview": {"task": "billing.preview", "schedule": crontab(hour=2, minute=0), "options": {"expires": 3600}},
    "index_preview": {"task": "index.preview", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "count": {"task": "index.count", "schedule": crontab(hour=1, minute=30), "options": {"expires": 3600}},
    "housekeep": {"task": "marketplace.housekeep", "schedule": timedelta(minutes=10), "options": {"expires": 600}},
    "replicate": {"task": "marketplace.replicate", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    "webhooks": {"task": "marketplace.send_webhooks", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    "tidy-webhooks": {"task": "marketplace.tidy_webhooks", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "levels": {"task": "scheduler.review_levels", "schedule": timedelta(hours=1), "options": {"expires": 3600}},
    "forget": {"task": "scheduler.housekeep", "schedule": timedelta(minutes=10), "options": {"expires": 600}},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "marketplace.auth.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["marketplace.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["core.http.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.http.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "core.schema.ProblemSchema",
    "DEFAULT_PAGINATION_CLASS": "core.http.KeysetPages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "EXCEPTION_HANDLER": "core.http.problem_of",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "PAGE_SIZE": 50,
    "URL_FORMAT_OVERRIDE": None,  # what is answered is asked for by Accept alone
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Gridfare",
    "DESCRIPTION": "A marketplace for computing power as a service: submit a task, get its result, pay afterwards.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "BenchmarkEnum": "marketplace.models.Pool.Benchmark",
        "HoldStateEnum": "marketplace.models.Hold.State",
        "ExportKindEnum": ["accelerators", "apel", "charges", "focus", "ledger", "statements", "usage"],
        "ExportStateEnum": "billing.models.Export.State",
        "ChargeKindEnum": "billing.models.Charge.Kind",
        "PayerEnum": "billing.models.Charge.Payer",
        "PeriodPayerEnum": "billing.models.PeriodCharge.Payer",
        "PoolKindEnum": "marketplace.models.Pool.Kind",
        "TaskKindEnum": "marketplace.models.Task.Kind",
        "PoolStateEnum": "marketplace.models.Pool.State",
        "TaskStateEnum": "marketplace.models.Task.State",
        "InvoiceStateEnum": "billing.models.Invoice.State",
        "BankLineStateEnum": "billing.models.BankLine.State",
        "GatewayPaymentStateEnum": "billing.models.GatewayPayment.State",
        "PayoutStateEnum": "billing.models.Payout.State",
        "PayoutAttemptStateEnum": "billing.models.PayoutAttempt.State",
        "DisputeStateEnum": "billing.models.Dispute.State",
        "SLAKindEnum": "billing.models.SLATerms.Kind",
        "DisputeReasonEnum": "billing.models.Dispute.Reason",
        "DisputeOutcomeEnum": "billing.models.Dispute.Outcome",
        "DisputePositionEnum": "billing.models.Dispute.Position",
        "DisputedChargeStateEnum": "billing.models.DisputedCharge.State",
        "VersionStateEnum": "marketplace.models.CapabilityVersion.State",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
}
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Gridfare",
    "SITE_HEADER": "Gridfare",
    "SITE_SUBHEADER": "for operators 平台方",
    "SITE_SYMBOL": "grid_view",
    "SITE_URL": "/",
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "config.dashboard.environment",
    "DASHBOARD_CALLBACK": "config.dashboard.first_page",
    "BORDER_RADIUS": "8px",
    "COLORS": {
        # The front door's teal.
        "primary": {
            "50": "#effbfa",
            "100": "#d3f3f0",
            "200": "#a8e6e1",
            "300": "#75d2cc",
            "400": "#45b6b1",
            "500": "#299a96",
            "600": "#0b7c7a",
            "700": "#0b6e6e",
            "800": "#0e5353",
            "900": "#114545",
            "950": "#04292b",
        }
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "config.admin_site.navigation"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env("GRIDFARE_LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # scanners; a traceback for each would hide everything else
    },
}

if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

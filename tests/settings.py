"""The settings of the tests: those of the project, in a data folder of their own."""

import atexit
import os
import shutil
import tempfile

scratch = tempfile.mkdtemp(prefix="parley-tests-")
atexit.register(shutil.rmtree, scratch, ignore_errors=True)

# What the shell that runs the tests has set is not the tests'; DATABASE_URL and REDIS_URL are, see tests/services.py.
for name in [name for name in os.environ if name.startswith(("PARLEY_", "REPLICATE_"))]:
    if not name.startswith("PARLEY_TEST_"):
        del os.environ[name]
os.environ["PARLEY_DATA_DIR"] = scratch

from config.settings import *  # noqa: E402, F403
from config.settings import DATA_DIR, DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: worker, journal and pages have connections of their own, as in life.
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}
elif os.environ.get("PARLEY_TEST_IS_MIGRATED"):  # the database that the environment names
    DATABASES["default"]["TEST"] = {"TEMPLATE": DATABASES["default"]["NAME"]}
MESSAGES_PER_MINUTE = ANSWERS_AT_ONCE = 0  # a test asks quicker than people do
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

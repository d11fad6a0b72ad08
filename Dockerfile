# The same process as `make run`, installed by the same script.
FROM python:3.11-slim-bookworm

RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt requirements-nodeps.txt ./
COPY deploy/setup.sh deploy/setup.sh
COPY detection/__init__.py detection/__init__.py
COPY detection/engine/ detection/engine/
ENV PYTHON=/usr/local/bin/python3 PYTHONUNBUFFERED=1
RUN deploy/setup.sh

COPY . .
RUN useradd --create-home --uid 10001 app \
    && install -d -o app -g app /data \
    && DATA_DIR=/tmp/build .venv/bin/python manage.py collectstatic --noinput \
    && rm -rf /tmp/build
USER app
ENV DATA_DIR=/data HOST=0.0.0.0 PORT=8000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD [".venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v1/health/live', timeout=2)"]
# Migrations, keys and the first sign-in are made by `prepare`; it does nothing when they exist.
CMD [".venv/bin/python", "manage.py", "serve", "--prepare"]

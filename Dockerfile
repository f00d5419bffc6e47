# One image for every process of the platform, and for the provider's agent.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/server.txt requirements/agent.txt /tmp/
RUN python -m venv /opt/gridfare && /opt/gridfare/bin/pip install --require-hashes -r /tmp/server.txt -r /tmp/agent.txt

FROM ${PYTHON_IMAGE} AS assets
COPY requirements/assets.py requirements/node.txt /srv/requirements/
COPY console/assets /srv/console/assets
RUN python /srv/requirements/assets.py

FROM ${PYTHON_IMAGE}
# bubblewrap is the agent's sandbox; without it the agent says so and takes trusted capabilities only.
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap libpango-1.0-0 libpangoft2-1.0-0 fontconfig fonts-noto-cjk \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home gridfare \
 && install -d -o gridfare -g gridfare /data /data/artifacts /data/static /data/run /tokens /agent
COPY --from=packages /opt/gridfare /opt/gridfare
WORKDIR /srv/gridfare
COPY . .
COPY --from=assets /srv/console/assets/public console/assets/public
ENV PATH=/opt/gridfare/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings GRIDFARE_DATA=/data
USER gridfare
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-access-log", "--lifespan", "off", "--timeout-graceful-shutdown", "5"]

# An image that trains, studies and evaluates.
#
#   docker build --build-arg DEVICE=cuda12 --tag=vaetx .
#   docker run --init --gpus=all vaetx vaetx_jax.main --config=ptb --workdir=gs://BUCKET/ptb
#
# DEVICE is cpu, cuda12, cuda13 or tpu; EXTRAS are extras of pyproject.toml, with commas. The versions
# are those of the file of constraints that fits PYTHON.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim

ARG DEVICE=cpu
ARG EXTRAS=gcs,s3

ENV PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    VAETX_CACHE=/var/cache/vaetx \
    VAETX_METRICS_PORT=9100

RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/vaetx vaetx \
    && install -d -o vaetx /var/cache/vaetx

WORKDIR /opt/vaetx
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE constraints-3.11.txt constraints-3.13.txt ./
COPY configs configs
COPY vaetx_jax vaetx_jax
RUN pins=$(python -c 'import sys; print(11 if sys.version_info < (3, 12) else 13)') \
    && if [ "$DEVICE" = cpu ]; then extras=$EXTRAS; else extras=$DEVICE,$EXTRAS; fi \
    && pip install --no-cache-dir --constraint "constraints-3.$pins.txt" ".[$extras]" \
    && rm -rf build

USER vaetx
WORKDIR /var/lib/vaetx

# The page of numbers of main and study answers; other commands have none and are healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s \
    CMD ["python", "-m", "vaetx_jax.runtime.health"]

# A stop signal makes a run save its state and leave with 75: give it --stop-timeout, and --init, since
# Linux keeps signals from a container's first process.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m"]
CMD ["vaetx_jax.main", "--help"]

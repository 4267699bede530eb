ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_CACHE_DIR=/pip-cache PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv --without-pip /opt/driftbell
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN --mount=type=cache,target=/pip-cache \
    python3 -m pip --python /opt/driftbell/bin/python install -c constraints.txt '.[serve,evidently,parquet,postgres,archive,notifications,otel,oidc,onnx]' \
    # the tests of these libraries are a tenth of its size (Evidently's folder of that name is none)
    && find /opt/driftbell -regextype posix-extended -type d \
       -regex '.*/site-packages/(numpy|pandas|pyarrow|scipy|sklearn|statsmodels)(/.*)?/tests' -prune -exec rm -r {} +

FROM ${BASE_IMAGE}
# /data and /data/reports exist with their owner, so that new volumes mounted there belong to the service
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin driftbell \
    && mkdir -p /data/reports && chown -R driftbell:driftbell /data
COPY --from=build /opt/driftbell /opt/driftbell
ENV PATH=/opt/driftbell/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    DRIFTBELL_DATA_DIR=/data DRIFTBELL_SERVER__HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["driftbell"]
CMD ["up"]

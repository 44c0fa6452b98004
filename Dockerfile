# Images of pgts: docs/guide/kubernetes.md describes their use.
#
#   docker build --tag pgts .
#   docker build --tag postgres-pgts --target postgres .     PostgreSQL, with pgts for archive_command
ARG POSTGRES=17

# The packages, from this directory.
FROM node:24-bookworm AS build
WORKDIR /src
COPY . .
RUN npm ci --no-audit --no-fund && npm run --silent package -- --only=deb --out=/packages

FROM postgres:${POSTGRES}-bookworm AS postgres
RUN --mount=type=bind,from=build,source=/packages,target=/packages \
  apt-get update \
  && apt-get install --yes --no-install-recommends /packages/pgts_*.deb /packages/pgts-pgbackrest_*.deb \
  && rm -rf /var/lib/apt/lists/*

FROM debian:bookworm-slim AS pgts
LABEL org.opencontainers.image.title="pgts" \
  org.opencontainers.image.description="Backup and restore for PostgreSQL, in the repository format of pgBackRest" \
  org.opencontainers.image.licenses="MIT"
# The numbers of the user in the image of PostgreSQL, because both read the same data directory.
RUN groupadd --gid 999 postgres \
  && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres
RUN --mount=type=bind,from=build,source=/packages,target=/packages \
  apt-get update \
  && apt-get install --yes --no-install-recommends tini /packages/pgts_*.deb /packages/pgts-pgbackrest_*.deb \
  && rm -rf /var/lib/apt/lists/*
# A number, so that Kubernetes can check runAsNonRoot.
USER 999:999
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/pgts"]
CMD ["help"]

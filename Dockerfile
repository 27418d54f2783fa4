# The farm's images, one target a role: `docker build --target control|rag|worker .`
#
# Nothing here runs as root: every role is user 65532. A role's settings come from its environment (`patchfarm config show`).

FROM rust:1.95-bookworm AS rust
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# Only the manifests, with empty crates around them: this stage comes out the same until a dependency changes.
FROM rust AS manifests
COPY . .
RUN mkdir /stub \
    && cp --parents Cargo.toml Cargo.lock crates/*/Cargo.toml /stub \
    && for crate in crates/*; do \
           mkdir "/stub/$crate/src" && touch "/stub/$crate/src/lib.rs" || exit 1; \
       done \
    && rm /stub/crates/patchfarm/src/lib.rs \
    && echo 'fn main() {}' >/stub/crates/patchfarm/src/main.rs \
    && echo 'fn main() {}' >/stub/crates/farm-wire/build.rs

# The dependencies are a layer of their own, and the slow one.
FROM rust AS builder
COPY --from=manifests /stub .
RUN cargo build --release --locked --package patchfarm
COPY . .
# The sources may be older than the empty crates that were just built; cargo goes by time.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package patchfarm \
    && install -s target/release/patchfarm /patchfarm

FROM debian:bookworm-slim AS base
# What the binary loads beside libc, zlib and libgcc, which the image has. Debian's stable keeps versions; pinning them
# would only keep security updates out.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --user-group --home-dir /var/lib/patchfarm --shell /usr/sbin/nologin patchfarm \
    && install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/patchfarm /var/cache/patchfarm
# The defaults listen on loopback, which nobody outside of a container reaches.
ENV PATCHFARM_METRICS_LISTEN=0.0.0.0:9600 \
    PATCHFARM_LOG_FORMAT=json
WORKDIR /var/lib/patchfarm
ENTRYPOINT ["patchfarm"]
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s CMD ["patchfarm", "health"]

FROM base AS rag
ENV PATCHFARM_RAG_LISTEN=0.0.0.0:9100
COPY --from=builder /patchfarm /usr/local/bin/
USER 65532:65532
EXPOSE 9100 9600
CMD ["rag"]

FROM base AS control
# Control integrates and pushes: git, and ssh for remotes that want it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/*
ENV PATCHFARM_CONTROL_STORE=/var/lib/patchfarm/patchfarm.db \
    PATCHFARM_CONTROL_CACHE_DIR=/var/lib/patchfarm/cache \
    PATCHFARM_CONTROL_GRPC_LISTEN=0.0.0.0:9090 \
    PATCHFARM_CONTROL_HTTP_LISTEN=0.0.0.0:8080
COPY --from=builder /patchfarm /usr/local/bin/
USER 65532:65532
EXPOSE 8080 9090 9600
CMD ["control"]

FROM base AS worker
# Checks run contained by bubblewrap, with the programs that stand here. For more, name Debian packages:
# `--build-arg CHECK_PACKAGES="cargo golang-go"`.
ARG CHECK_PACKAGES=""
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git openssh-client \
        diffutils make patch python3 python3-pytest ${CHECK_PACKAGES} \
    && rm -rf /var/lib/apt/lists/*
ENV PATCHFARM_WORKER_CACHE_DIR=/var/cache/patchfarm
COPY --from=builder /patchfarm /usr/local/bin/
USER 65532:65532
EXPOSE 9600
CMD ["worker"]
